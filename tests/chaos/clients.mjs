/** Clients that each push a script, in Node.js or in a page. The test sets their horizon and collects the results. */
const TICK_MS = 20;
const MAX_BURST = 16;
const FRESH_JOINS = 2;
/** How long the last pushes may take. */
const LAST_PUSHES_MS = 30_000;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The memory of a client that survives reloads of the page. */
class Memory {
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

/**
 * One client: `push` returns a promise, `drop` cuts the connection, `recovery` dispatches "outcome", "lost", "reply",
 * "missed" and what is pushed: "told", each time with the next number.
 */
class ScriptedClient {
  settled = 0;
  #next;
  #burst = 1;
  #memory;

  constructor({ push, drop, recovery }, script, random, memory) {
    Object.assign(this, { push, drop, recovery, script, random });
    this.#memory = memory;
    this.#next = memory.get("next") ?? 0;
    this.problems = memory.get("problems") ?? [];
    this.replies = script.map((_, number) => memory.get(number));
    this.heard = memory.get("heard") ?? 0;
    this.missed = memory.get("missed") ?? 0;
    this.mayMiss = memory.get("mayMiss") ?? false;
    this.settled = this.replies.filter((reply) => reply !== null).length;
    recovery.addEventListener("lost", ({ detail }) => this.#report(`${detail.reason}: ${JSON.stringify(detail.events)}`));
    recovery.on("told", ({ n }) => this.#hear(n));
    recovery.on("missed", () => this.#miss());
    recovery.addEventListener("reply", ({ detail: { payload, status, response } }) =>
      this.#settle(payload.number - 1, { status, response }),
    );
  }

  /** Push a burst of events up to the horizon. */
  pushEvents(horizon) {
    const allowed = Math.ceil(horizon * this.script.length);
    const waiting = this.#next - this.settled;
    if (waiting === 0) this.#burst = 1 + Math.floor(this.random() * MAX_BURST);
    while (this.#next < allowed && this.#next - this.settled < this.#burst) this.#push(this.#next++);
  }

  #push(number) {
    const { event, payload } = this.script[number];
    this.push(event, payload).then(
      (response) => this.#settle(number, { status: "ok", response }),
      (error) => {
        if (error.name === "EventRefused") return this.#settle(number, { status: "error", response: error.response });
        this.settled++;
        this.#report(`event ${number}: ${error}`);
      },
    );
    this.#memory.set("next", this.#next);
  }

  #settle(number, reply) {
    if (this.replies[number]) this.#report(`event ${number} has two replies`);
    else this.settled++;
    this.replies[number] = reply;
    this.#memory.set(number, reply);
  }

  /** See that this is the next push, unless some are known to be gone. */
  #hear(number) {
    const gone = number - this.heard - 1;
    if (gone < 0) this.#report(`push ${number} came after push ${this.heard}`);
    if (gone > 0 && !this.mayMiss) this.#report(`${gone} pushes are missing before push ${number}`);
    this.heard = number;
    this.#memory.set("heard", number);
    this.#setMayMiss(false);
  }

  #miss() {
    this.missed++;
    this.#memory.set("missed", this.missed);
    this.#setMayMiss(true);
  }

  #setMayMiss(mayMiss) {
    this.mayMiss = mayMiss;
    this.#memory.set("mayMiss", mayMiss);
  }

  /** Wait for the pushes of a state. Return what is wrong in the end. */
  async lastPushes({ told }) {
    for (const end = Date.now() + LAST_PUSHES_MS; this.heard < told && Date.now() < end; ) await wait(50);
    return this.heard < told ? [`the last push of ${told} was ${this.heard}`] : [];
  }

  #report(problem) {
    this.problems.push(problem);
    this.#memory.set("problems", this.problems);
  }

  /** Join again until the response has the state with all events. */
  async state() {
    let response = {};
    for (let joins = 0; joins < FRESH_JOINS; ) {
      const joined = new Promise((resolve) => this.recovery.addEventListener("outcome", resolve, { once: true }));
      this.drop();
      const { detail } = await joined;
      if (detail.outcome !== "recovered") continue;
      response = detail.response;
      joins++;
      await wait(300);
    }
    return response;
  }
}

/** Return a random number generator with a seed. Source: Marsaglia, "Xorshift RNGs". */
function seededRandom(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export class ScriptedClients {
  #horizon = 0;
  #clients;
  #timer;

  /** @param make returns the first argument of ScriptedClient, by the number of the client */
  constructor(scripts, seed, make) {
    this.#clients = scripts.map(
      (script, number) => new ScriptedClient(make(number), script, seededRandom(seed + number), new Memory(`client ${number}`)),
    );
    this.#timer = setInterval(() => this.#clients.forEach((client) => client.pushEvents(this.#horizon)), TICK_MS);
  }

  /** Set the horizon, as a share of the script; return how many events are settled. */
  go(horizon) {
    this.#horizon = horizon;
    return this.#clients.reduce((sum, { settled }) => sum + settled, 0);
  }

  /** Return how many have joined. */
  joined() {
    return this.#clients.filter(({ recovery }) => recovery.outcome !== null).length;
  }

  /** Return the problems so far. */
  problems() {
    return this.#clients.flatMap(({ problems }, number) => problems.map((problem) => `client ${number}: ${problem}`));
  }

  async finish() {
    clearInterval(this.#timer);
    return Promise.all(
      this.#clients.map(async (client) => {
        const state = await client.state();
        const problems = [...client.problems, ...(await client.lastPushes(state))];
        return { replies: client.replies, problems, state, pushes: client.heard, missed: client.missed };
      }),
    );
  }
}
