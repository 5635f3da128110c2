/** @import { QueuedEvent } from "./queued_event.js" */

/** After how many cuts, or crashes of a server, an event that was next is given up. The close of a server that stops counts as half. */
const MAX_CUTS = 3;

/** What is known of events over which connections may have been lost: each would block all behind it for ever. */
export class Suspects {
  #queue;
  /** The events without a reply when the connection was lost. @type {QueuedEvent[]} */ #unanswered = [];
  /** How much it seems that one of them is why. */ suspicion = 0;
  /** Whether an event that is about to be given up waits, or waited, until the connection had held. */ #holds = false;
  /** The largest event that was being sent on the last connection. @type {QueuedEvent | undefined} */ #largest;
  /** The event over whose size the connection seems to have been closed. @type {QueuedEvent | undefined} */ #tooLarge;

  /** @param {{ events: QueuedEvent[], underWay: QueuedEvent[] }} queue */
  constructor(queue) {
    this.#queue = queue;
  }

  /** The first event without a reply, if connections were cut when it was next. */
  get first() {
    const first = this.#queue.events.find(({ isAnswered }) => !isAnswered);
    return first !== undefined && first.cuts > 0 ? first : undefined;
  }

  /** Return whether to send nothing until the connection has held for a while. If it is cut before that, the event is
   * sent at once on the next one, which then proves nothing: a line that is cut all the time must not block it. */
  hold() {
    this.#holds = !this.#holds && (this.first?.cuts ?? 0) >= MAX_CUTS - 1;
    return this.#holds;
  }

  /** Begin anew, as there is a new connection. */
  forgetUnanswered() {
    this.#unanswered = [];
    this.suspicion = 0;
  }

  /** Note which events were being sent on a connection that is lost.
   * @param {boolean} wasSending whether any could be @param {number} suspicion */
  noteUnanswered(wasSending, suspicion) {
    const { underWay } = this.#queue;
    this.#largest = [...underWay].sort((one, other) => other.sizeBytes - one.sizeBytes)[0];
    if (!wasSending) return; // what was lost with an earlier connection still counts
    this.#unanswered = underWay;
    this.suspicion = suspicion;
  }

  get largestBytes() {
    return this.#largest?.sizeBytes ?? 0;
  }

  /** Note that the server closed the connection over the size of a message: of the largest that was being sent. */
  blameLargest() {
    this.#tooLarge = this.#largest;
  }

  /** Return, once, the event that seemed too large, unless the state contains it: the message may have been another.
   * @param {number} seq of the last event in the state */
  takeTooLarge(seq) {
    const tooLarge = this.#tooLarge;
    this.#tooLarge = undefined;
    return tooLarge && !tooLarge.isUpTo(seq) && this.#queue.events.includes(tooLarge) ? tooLarge : undefined;
  }

  /** Return the next event if it has been next, and sent, when too many connections were cut.
   * @param {number} seq of the last event in the state */
  takeUndeliverable(seq) {
    const next = this.#queue.events.find((queued) => !queued.isUpTo(seq));
    if (this.suspicion === 0 || !next || !this.#unanswered.includes(next)) return undefined;
    if (next.cuts >= MAX_CUTS - 1 && !this.#holds) return undefined;
    next.cuts += this.suspicion;
    return next.cuts >= MAX_CUTS ? next : undefined;
  }
}
