/** How many times longer than usual a slow connection or join may take, once shorter times were too short. */
const MAX_FACTOR = 8;

/** How long a connection or a join may take: longer with each try that takes too long, as it may only be slow. */
export class Deadline {
  #timeoutMs;
  #factor = 1;
  #startedAt = 0;

  /** @param {number} timeoutMs */
  constructor(timeoutMs) {
    this.#timeoutMs = timeoutMs;
  }

  /** Return how long what begins now may take. */
  begin() {
    this.#startedAt = performance.now();
    return this.#timeoutMs * this.#factor;
  }

  /** Note that it took too long. */
  extend() {
    this.#factor = Math.min(MAX_FACTOR, this.#factor * 2);
  }

  /** Note that it is done. */
  meet() {
    if (performance.now() - this.#startedAt < this.#timeoutMs / 2) this.#factor = 1;
  }
}
