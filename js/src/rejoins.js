import { Timer } from "./timer.js";
/** @import { Backoff, Outcome } from "./types.js" */

/** Outcomes after which the state may still be recovered: a page that has shown a token sends nothing until a later
 * join does so, or until it has waited for long enough. */
const RETRY_OUTCOMES = ["version", "unavailable"];

/** How long a page waits for its state at most. */
const MAX_WAIT_MS = 60_000;

/** The joins of a view that waits for its state, or whose topic the server doesn't know. */
export class Rejoins {
  /** How many joins in a row haven't brought the state. */ tries = 0;
  #timer = new Timer();
  /** Until when to wait for the state. @type {number | null} */ #waitUntil = null;
  #backoff;

  /** @param {Backoff} backoff */
  constructor(backoff) {
    this.#backoff = backoff;
  }

  get isScheduled() {
    return this.#timer.isSet;
  }

  /** Return whether to wait for the state that a token stands for. @param {Outcome | null} outcome @param {boolean} showsToken */
  mustWait(outcome, showsToken) {
    if (!RETRY_OUTCOMES.includes(outcome ?? "")) {
      this.#waitUntil = null;
      return false;
    }
    this.#waitUntil ??= performance.now() + MAX_WAIT_MS;
    return showsToken && performance.now() < this.#waitUntil;
  }

  /** @param {number} tries @param {() => void} rejoin */
  schedule(tries, rejoin) {
    const remainingMs = this.#waitUntil === null ? Infinity : this.#waitUntil - performance.now();
    this.#timer.set(Math.max(0, Math.min(this.#backoff(tries), remainingMs)), rejoin);
  }

  stop() {
    this.#timer.clear();
  }
}
