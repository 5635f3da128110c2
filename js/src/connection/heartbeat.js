import { Timer } from "../timer.js";

/**
 * @typedef {object} HeartbeatOptions
 * @property {number} intervalMs time between heartbeats
 * @property {() => void} send
 * @property {() => number} bufferedAmount how many bytes are still to leave this machine
 * @property {() => void} onDead called when nothing has arrived in time
 */

/** The heartbeats of a connection, which find out whether the line is dead: a connection doesn't tell. */
export class Heartbeat {
  #options;
  /** Whether nothing has arrived since the last heartbeat. */ #isSilent = false;
  /** When the connection counts as dead, if it is silent. */ #silentUntil = 0;
  #sentAt = 0;
  /** What was still to be sent when that was last looked at. */ #bufferedAmount = 0;
  #timer = new Timer();

  /** @param {HeartbeatOptions} options */
  constructor(options) {
    this.#options = options;
  }

  start() {
    this.#sendAfter(this.#options.intervalMs);
  }

  stop() {
    this.#timer.clear();
  }

  /** Note that something has arrived. */
  hear() {
    this.#isSilent = false;
  }

  /** Send a heartbeat, and report the connection as dead if nothing at all arrives in time. One that has no answer yet
   * keeps its time unless less is left: who switches between tabs must not put it off. @param {number} [withinMs] */
  send(withinMs = this.#options.intervalMs) {
    const now = performance.now();
    const isPending = this.#isSilent && this.#silentUntil > now;
    this.#silentUntil = isPending ? Math.min(this.#silentUntil, now + withinMs) : now + withinMs;
    this.#isSilent = true;
    if (!isPending) {
      this.#sentAt = now;
      this.#options.send();
    }
    this.#timer.set(this.#silentUntil - now, () => this.#check());
  }

  #check() {
    if (this.#isSilent && !this.#isUploading()) return this.#options.onDead();
    this.#isSilent = false;
    this.#sendAfter(Math.max(0, this.#sentAt + this.#options.intervalMs - performance.now()));
  }

  /** @param {number} ms */
  #sendAfter(ms) {
    this.#timer.set(ms, () => this.send());
  }

  /** Return whether what was sent is still leaving this machine: a line that does that is slow, not dead. */
  #isUploading() {
    const before = this.#bufferedAmount;
    this.#bufferedAmount = this.#options.bufferedAmount();
    return this.#bufferedAmount > 0 && this.#bufferedAmount !== before;
  }
}
