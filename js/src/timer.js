/** A function that is called later, at most one at a time. */
export class Timer {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #id;

  /** Whether it was set, and not cleared since. */
  get isSet() {
    return this.#id !== undefined;
  }

  /** Call a function after so long, in place of what was to be called. @param {number} ms @param {() => void} then */
  set(ms, then) {
    clearTimeout(this.#id);
    this.#id = setTimeout(then, ms);
  }

  clear() {
    clearTimeout(this.#id);
    this.#id = undefined;
  }
}
