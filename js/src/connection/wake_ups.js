/** Events that tell that the page may have slept, or is online again. */
const TYPES = ["online", "pageshow", "visibilitychange", "resume"];

/** Calls a function whenever the page wakes up, as its timers may have been suspended. */
export class WakeUps {
  #onWake;
  /** @type {AbortController | null} */ #controller = null;

  /** @param {() => void} onWake */
  constructor(onWake) {
    this.#onWake = onWake;
  }

  listen() {
    if (this.#controller !== null) return;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    for (const type of TYPES) globalThis.addEventListener?.(type, () => this.#handle(), { capture: true, signal });
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }

  #handle() {
    if (globalThis.document?.visibilityState !== "hidden") this.#onWake();
  }
}
