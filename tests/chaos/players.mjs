/**
 * Clients that each push a script, in Node.js or in a page. The test says how far they may go (`go`), and has what
 * came of it at the end (`finish`).
 */
const TICK_MS = 20;
const MAX_AT_ONCE = 16;
const FRESH_JOINS = 2;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a client has to know after a reload of the page, which may come between any two of its tasks. */
class Notes {
  #name;

  constructor(name) {
    this.#name = name;
  }

  set(key, value) {
    globalThis.sessionStorage?.setItem(`${this.#name} ${key}`, JSON.stringify(value));
  }

  get(key) {
    return JSON.parse(globalThis.sessionStorage?.getItem(`${this.#name} ${key}`) ?? null);
  }
}

/** One client: `push` promises a reply, `drop` cuts its connection, `recovery` tells "outcome", "lost" and "reply". */
class Player {
  settled = 0;
  #next;
  #atOnce = 1;
  #notes;

  constructor({ push, drop, recovery }, script, dice, notes) {
    Object.assign(this, { push, drop, recovery, script, dice });
    this.#notes = notes;
    this.#next = notes.get("next") ?? 0;
    this.problems = notes.get("problems") ?? [];
    this.replies = script.map((_, number) => notes.get(number));
    this.settled = this.replies.filter((reply) => reply !== null).length;
    recovery.addEventListener("lost", ({ detail }) => this.#complain(`${detail.reason}: ${JSON.stringify(detail.events)}`));
    recovery.addEventListener("reply", ({ detail: { payload, status, response } }) =>
      this.#settle(payload.number - 1, { status, response }),
    );
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
    this.push(event, payload).then(
      (response) => this.#settle(number, { status: "ok", response }),
      (error) => {
        if (error.name === "EventRefused") return this.#settle(number, { status: "error", response: error.response });
        this.settled++;
        this.#complain(`event ${number}: ${error}`);
      },
    );
    this.#notes.set("next", this.#next);
  }

  #settle(number, reply) {
    if (this.replies[number]) this.#complain(`event ${number} is answered twice`);
    else this.settled++;
    this.replies[number] = reply;
    this.#notes.set(number, reply);
  }

  #complain(problem) {
    this.problems.push(problem);
    this.#notes.set("problems", this.problems);
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
    this.#players = scripts.map(
      (script, number) => new Player(make(number), script, makeDice(seed + number), new Notes(`client ${number}`)),
    );
    this.#timer = setInterval(() => this.#players.forEach((player) => player.feed(this.#horizon)), TICK_MS);
  }

  /** Let the clients go so far, as a share of the script, and say how many events are settled. */
  go(horizon) {
    this.#horizon = horizon;
    return this.#players.reduce((sum, { settled }) => sum + settled, 0);
  }

  /** Say what went wrong so far. */
  problems() {
    return this.#players.flatMap(({ problems }, number) => problems.map((problem) => `client ${number}: ${problem}`));
  }

  async finish() {
    clearInterval(this.#timer);
    return Promise.all(
      this.#players.map(async (player) => {
        const state = await player.state();
        return { replies: player.replies, problems: player.problems, state };
      }),
    );
  }
}
