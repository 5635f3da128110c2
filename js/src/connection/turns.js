/**
 * Whose turn it is to send, of those who share a socket.
 *
 * After a connection was lost when several had events under way, one of which may be why, they send them one after the
 * other: the events of one must not be given up over those of another.
 * @template {object} T
 */
export class Turns {
  /** Whose events may be why connections were lost, until they have had their turn. @type {Set<T>} */ #suspected = new Set();
  /** Whose turn it is. @type {T | undefined} */ #current;
  /** Those who wait for their turn, and how they start. @type {Map<T, () => void>} */ #waiting = new Map();
  #isCareful = false;

  /** Note who had events under way on a connection that may have been lost over one of them. @param {T[]} busy */
  suspect(busy) {
    if (busy.length < 2 && !this.#isCareful) return;
    this.#isCareful = true;
    for (const one of busy) this.#suspected.add(one);
  }

  /** Let one of them start, now or when it is its turn. @param {T} one @param {() => void} start */
  take(one, start) {
    if (!this.#isCareful) return start();
    if ((this.#current ?? one) !== one) return void this.#waiting.set(one, start);
    this.#current = one;
    start();
  }

  /** Note that one has nothing under way, which ends its turn. @param {T} one */
  pass(one) {
    this.#suspected.delete(one);
    if (this.#suspected.size === 0) this.#isCareful = false;
    this.leave(one);
  }

  /** Go on without one, whose turn comes again if it starts again. @param {T} one */
  leave(one) {
    this.#waiting.delete(one);
    if (this.#current !== one) return;
    this.#current = undefined;
    this.#next();
  }

  /** Forget who was to start, as the connection is lost. */
  clear() {
    this.#waiting.clear();
    this.#current = undefined;
  }

  #next() {
    for (const [one, start] of this.#waiting) {
      if (this.#current !== undefined) return;
      this.#waiting.delete(one);
      this.take(one, start);
    }
  }
}
