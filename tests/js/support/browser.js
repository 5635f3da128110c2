/** The parts of a browser that recovery.js uses: tabs, their storage, and Web Locks between them. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { WebSocket } from "ws";
import { TIMEOUT_MS } from "./server.js";

const NAME = process.env.RECOVERY_JS ?? "recovery.js";
export const FILE = fileURLToPath(new URL(`../../../recovery_app/static/recovery_app/${NAME}`, import.meta.url));
export const SOURCE = readFileSync(FILE, "utf8");

export class FakeStorage {
  constructor(items = []) {
    this.items = new Map(items);
  }

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, String(value));
  }

  removeItem(key) {
    this.items.delete(key);
  }
}

/** A storage with room for so many characters, keys included: as in browsers, a shorter value always fits. */
export class SmallStorage extends FakeStorage {
  maxChars = Infinity;

  get chars() {
    return [...this.items].flat().join("").length;
  }

  setItem(key, value) {
    const before = this.items.get(key)?.length ?? -key.length;
    const added = value.length - before;
    if (added > 0 && this.chars + added > this.maxChars) throw new DOMException("full", "QuotaExceededError");
    super.setItem(key, value);
  }

  /** Leave room for so many more characters. */
  leave(chars) {
    this.maxChars = this.chars + chars;
  }
}

/** A storage that is full or forbidden. */
export class BrokenStorage {
  getItem() {
    throw new DOMException("denied", "SecurityError");
  }

  setItem() {
    throw new DOMException("full", "QuotaExceededError");
  }

  removeItem() {
    throw new DOMException("denied", "SecurityError");
  }
}

/** The Web Locks of one browser, exclusive only: https://w3c.github.io/web-locks/ */
export class FakeLocks {
  #lines = new Map();

  of(tab) {
    return {
      request: (name, { ifAvailable = false, signal }, callback) =>
        new Promise((resolve, reject) => {
          const line = this.#lines.get(name) ?? [];
          this.#lines.set(name, line);
          if (ifAvailable && line.length > 0) return resolve(callback(null));
          const start = () => Promise.resolve(callback({ name })).then(resolve).then(() => this.#leave(turn));
          const turn = { tab, line, start };
          signal?.addEventListener("abort", () => {
            if (line.indexOf(turn) > 0) this.#leave(turn), reject(signal.reason);
          });
          if (line.push(turn) === 1) start();
        }),
    };
  }

  /** Release the locks of a closed tab. */
  closed(tab) {
    for (const line of this.#lines.values()) line.filter((turn) => turn.tab === tab).forEach((turn) => this.#leave(turn));
  }

  #leave(turn) {
    const place = turn.line.indexOf(turn);
    if (place < 0) return;
    turn.line.splice(place, 1);
    if (place === 0) turn.line[0]?.start();
  }
}

/** Timers that only advance with `tick`. Those of node:test 20 lose one when another that has fired is cleared. */
export class FakeClock {
  #now = 0;
  #timers = new Set();

  performance = { now: () => this.#now };

  setTimeout = (callback, ms) => {
    const timer = { callback, at: this.#now + ms };
    this.#timers.add(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers.delete(timer);
  };

  tick(ms) {
    const end = this.#now + ms;
    for (let timer; (timer = this.#nextUntil(end)); timer.callback()) {
      this.#timers.delete(timer);
      this.#now = timer.at;
    }
    this.#now = end;
  }

  #nextUntil(end) {
    return [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}

/** One browser, with the state that its tabs share. */
export class FakeBrowser {
  localStorage = new FakeStorage();
  locks = new FakeLocks();

  open(page = {}) {
    return new Tab({ browser: this, localStorage: this.localStorage, sessionStorage: new FakeStorage(), ...page });
  }
}

/** Return the class WebSocket, which records the connections that are made. */
function recording(connections) {
  return class extends WebSocket {
    constructor(...options) {
      super(...options);
      connections.push(this);
    }
  };
}

/** One page: a global object with recovery.js loaded into it. */
export class Tab extends EventTarget {
  connections = [];
  WebSocket = recording(this.connections);
  document = { visibilityState: "visible" };
  clock = globalThis;
  console = { warn: (/** @type {unknown[]} */ ...what) => console.warn(...what) };

  constructor({ browser, ...page }) {
    super();
    this.browser = browser;
    if (browser) this.navigator = { locks: browser.locks.of(this) };
    Object.assign(this, page);
    const { setTimeout, clearTimeout, performance } = this.clock;
    const names = ["globalThis", "console", "setTimeout", "clearTimeout", "performance"];
    compileFunction(SOURCE, names, { filename: FILE })(this, this.console, setTimeout, clearTimeout, performance);
  }

  get app() {
    return this.RecoveryApp;
  }

  close() {
    this.browser?.locks.closed(this);
  }

  /** Return the tab after a reload: a new page with the same storage. */
  reload() {
    this.close();
    return new Tab({ ...this });
  }

  /** Return a duplicate of the tab: browsers copy its sessionStorage. */
  duplicate() {
    return new Tab({ ...this, sessionStorage: new FakeStorage(this.sessionStorage.items) });
  }
}

/** Wait for an event of a Recovery, and return its detail. */
export function dispatched(target, type) {
  return new Promise((resolve, reject) => {
    target.addEventListener(type, ({ detail }) => resolve(detail), { once: true });
    AbortSignal.timeout(TIMEOUT_MS).addEventListener("abort", () => reject(new Error(`no event ${type} was dispatched`)));
  });
}

/** Record all events of a Recovery, as [type, detail] pairs. */
export function record(target, ...types) {
  const notes = [];
  for (const type of types) target.addEventListener(type, ({ detail }) => notes.push([type, detail]));
  return notes;
}
