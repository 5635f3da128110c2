/** @import { Owner, QueuedEvent } from "./queued_event.js" */

/** For whom the page acts: each event belongs to the person it was pushed by, and isn't sent for another. */
export class Ownership {
  /** @type {Owner} */ owner;
  /** Whom the page was made for, if it knows that itself, and other names of theirs. */ #namesOfPage;

  /** @param {string[]} namesOfPage */
  constructor(namesOfPage) {
    this.#namesOfPage = namesOfPage;
    this.owner = this.ownerOfPage;
  }

  /** @returns {Owner} */
  get ownerOfPage() {
    return this.#namesOfPage[0] ?? null;
  }

  /** @param {QueuedEvent} queued */
  isOwn(queued) {
    return queued.owner === this.owner;
  }

  /** @param {QueuedEvent} queued */
  isEarlyAndUnowned({ owner, isEarly }) {
    return owner === null && isEarly;
  }

  /** Return whether an event from before the first join is of the person who has joined, as far as the page knows.
   * @param {Owner} joined @param {QueuedEvent} queued */
  isEarlyFor(joined, queued) {
    const isOfPage = queued.owner === this.ownerOfPage && this.#namesOfPage.includes(joined ?? "");
    return this.isEarlyAndUnowned(queued) || (queued.isEarly && isOfPage);
  }

  /** Forget the other names: somebody else may be at the page by now. */
  forgetAliases() {
    this.#namesOfPage = this.#namesOfPage.slice(0, 1);
  }
}
