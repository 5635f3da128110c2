import { Timer } from "../timer.js";
/** @import { ConnectionDetail, ConnectionStatus } from "../types.js" */

/** How long a change has to last until the page is told: what is shorter would only flicker. */
const SETTLED_AFTER_MS = 1_000;

/** @type {ConnectionDetail} */
const NOTHING = { status: "disconnected", code: null, attempt: 0, nextDelayMs: null };

/**
 * The state of a view's connection, and what the page has been told of it.
 *
 * A first "connected" and each "disconnected", which the page or the server has asked for, are told at once. An
 * outage is told once it has lasted for a second, and its end once that has. So an outage of many tries, or of
 * connections that don't hold, is told as one.
 */
export class ConnectionState {
  current = NOTHING;
  /** @type {ConnectionStatus} */ #told = "disconnected";
  #hasJoined = false;
  #isTrying = false;
  #timer = new Timer();
  #tell;

  /** @param {(detail: ConnectionDetail) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Note that a connection, or a join, is being tried. */
  markTrying() {
    const attempt = this.current.attempt + Number(!this.#isTrying);
    this.#isTrying = true;
    this.#set({ ...this.current, status: this.#lack, attempt, nextDelayMs: null });
  }

  markJoined() {
    this.#isTrying = false;
    this.#hasJoined = true;
    this.#set({ ...NOTHING, status: "connected" });
  }

  /** @param {number | null} code @param {number | null | undefined} nextDelayMs until the next try; null if there is none */
  markLost(code, nextDelayMs) {
    this.#isTrying = false;
    if (nextDelayMs !== null) return this.#set({ ...this.current, status: this.#lack, code, nextDelayMs: nextDelayMs ?? null });
    this.#hasJoined = false;
    this.#set({ ...NOTHING, code });
  }

  /** Tell the page nothing more. */
  stop() {
    this.#timer.clear();
  }

  /** @returns {ConnectionStatus} */
  get #lack() {
    return this.#hasJoined ? "reconnecting" : "connecting";
  }

  /** @param {ConnectionDetail} next */
  #set(next) {
    this.current = Object.freeze(next);
    const isAtOnce = next.status === "disconnected" || (next.status === "connected" && this.#told !== "reconnecting");
    if (next.status === this.#told) this.#timer.clear();
    else if (isAtOnce) this.#announce();
    else if (!this.#timer.isSet) this.#timer.set(SETTLED_AFTER_MS, () => this.#announce());
  }

  #announce() {
    this.#timer.clear();
    this.#told = this.current.status;
    this.#tell(this.current);
  }
}
