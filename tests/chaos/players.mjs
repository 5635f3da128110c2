/**
 * Clients that each push a script, in Node.js or in a page. The test says how far they may go (`go`), and has what
 * came of it at the end (`finish`).
 */
const TICK_MS = 20;
const MAX_AT_ONCE = 16;
const FRESH_JOINS = 2;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One client: `push` promises a reply, `drop` cuts its connection, `recovery` tells "outcome" and "lost". */
class Player {
  replies = [];
  problems = [];
  settled = 0;
  #next = 0;
  #atOnce = 1;

  constructor({ push, drop, recovery }, script, dice) {
    Object.assign(this, { push, drop, recovery, script, dice });
    recovery.addEventListener("lost", ({ detail }) => this.problems.push(`${detail.reason}: ${JSON.stringify(detail.events)}`));
  }

  /** Push what may be pushed now, in bursts. */
  feed(horizon) {
    const allowed = Math.ceil(horizon * this.script.length);
    const waiting = this.#next - this.settled;
    if (waiting === 0) this.#atOnce = 1 + Math.floor(this.dice() * MAX_AT_ONCE);
    while (this.#next < allowed && this.#next - this.settled < this.#atOnce) this.#push(this.#next++);
  }

  #push(number) {
    const { event, payload } = this.script[number];
    this.push(event, payload)
      .then((response) => (this.replies[number] = { status: "ok", response }))
      .catch((error) => {
        if (error.name === "EventRefused") this.replies[number] = { status: "error", response: error.response };
        else this.problems.push(`event ${number}: ${error}`);
      })
      .finally(() => this.settled++);
  }

  /** Join anew, until the state that comes back has everything that was kept until then. */
  async state() {
    let response = {};
    for (let joins = 0; joins < FRESH_JOINS; ) {
      const told = new Promise((resolve) => this.recovery.addEventListener("outcome", resolve, { once: true }));
      this.drop();
      const { detail } = await told;
      if (detail.outcome !== "recovered") continue;
      response = detail.response;
      joins++;
      await wait(300);
    }
    return response;
  }
}

/** A random number generator with a seed. Source: Marsaglia, "Xorshift RNGs". */
function makeDice(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export class Players {
  #horizon = 0;
  #players;
  #timer;

  /** @param make gives client 0, 1, 2, … as a Player takes it */
  constructor(scripts, seed, make) {
    this.#players = scripts.map((script, number) => new Player(make(number), script, makeDice(seed + number)));
    this.#timer = setInterval(() => this.#players.forEach((player) => player.feed(this.#horizon)), TICK_MS);
  }

  /** Let the clients go so far, as a share of the script, and say how many events are settled. */
  go(horizon) {
    this.#horizon = horizon;
    return this.#players.reduce((sum, { settled }) => sum + settled, 0);
  }

  async finish() {
    clearInterval(this.#timer);
    return Promise.all(
      this.#players.map(async (player) => {
        const state = await player.state();
        const replies = player.script.map((_, number) => player.replies[number] ?? null);
        return { replies, problems: player.problems, state };
      }),
    );
  }
}
