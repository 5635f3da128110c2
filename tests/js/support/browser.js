/** As much of a browser as recovery.js touches: tabs, their storage, and Web Locks between them. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { WebSocket } from "ws";

export const FILE = fileURLToPath(new URL("../../../recovery_app/static/recovery_app/recovery.js", import.meta.url));
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

/** What a full or forbidden storage does. */
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

/** The locks of one browser: https://w3c.github.io/web-locks/, exclusive ones with a signal. */
export class FakeLocks {
  #lines = new Map();

  of(tab) {
    return {
      request: (name, { signal }, callback) =>
        new Promise((resolve, reject) => {
          const line = this.#lines.get(name) ?? [];
          this.#lines.set(name, line);
          const turn = { tab, start: () => Promise.resolve(callback({ name })).then(resolve).then(() => this.#leave(turn)) };
          turn.line = line;
          signal.addEventListener("abort", () => {
            if (line.indexOf(turn) > 0) reject(signal.reason), line.splice(line.indexOf(turn), 1);
          });
          if (line.push(turn) === 1) turn.start();
        }),
    };
  }

  /** Release what a closed tab held. */
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

/** One browser: what its tabs share. */
export class FakeBrowser {
  localStorage = new FakeStorage();
  locks = new FakeLocks();

  open(sessionStorage = new FakeStorage()) {
    return new Tab({ browser: this, localStorage: this.localStorage, sessionStorage });
  }
}

/** One page: a global object, with recovery.js loaded into it. */
export class Tab extends EventTarget {
  WebSocket = WebSocket;
  document = { visibilityState: "visible" };

  constructor({ browser, ...page }) {
    super();
    this.browser = browser;
    if (browser) this.navigator = { locks: browser.locks.of(this) };
    Object.assign(this, page);
    compileFunction(SOURCE, ["globalThis"], { filename: FILE })(this);
  }

  get app() {
    return this.RecoveryApp;
  }

  close() {
    this.browser?.locks.closed(this);
  }

  /** The same tab after a reload: a new page over the same storage. */
  reload() {
    this.close();
    return new Tab({ ...this });
  }

  /** A duplicated tab: browsers copy its sessionStorage. */
  duplicate() {
    return new Tab({ ...this, sessionStorage: new FakeStorage(this.sessionStorage.items) });
  }
}

/** Wait for what a recovery tells, and give its detail. */
export async function told(target, type) {
  return (await once(target, type))[0].detail;
}

/** Note all that a recovery tells, as [type, detail] pairs. */
export function record(target, ...types) {
  const notes = [];
  for (const type of types) target.addEventListener(type, ({ detail }) => notes.push([type, detail]));
  return notes;
}
