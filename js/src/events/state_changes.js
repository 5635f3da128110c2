/** What becomes of a queue's events when the state is not as this page left it. */
/** @import { LostReason } from "../types.js" */
/** @import { EventQueue } from "./event_queue.js" */
/** @import { Settled } from "./event_storage.js" */
/** @import { Line, Original, QueuedEvent, StoredEvent } from "./queued_event.js" */

/** Discard an event that the state doesn't contain: it contains none of those after it, which get new numbers.
 * @param {EventQueue} queue @param {QueuedEvent | undefined} skipped @param {LostReason} reason */
export function skip(queue, skipped, reason) {
  if (skipped === undefined) return;
  for (const queued of queue.events.slice(queue.events.indexOf(skipped) + 1)) queued.seq = null;
  queue.discard([skipped], reason);
}

/** Discard events whose numbers are those of another page's events in the state, and all that were numbered after
 * them. @param {EventQueue} queue @param {number} seq of the last event in the state @param {Line[]} lines */
export function discardTaken(queue, seq, lines) {
  const first = queue.events.findIndex((queued) => queued.isTakenIn(seq, lines));
  if (first >= 0) queue.discard(queue.events.slice(first).filter((queued) => queued.seq !== null), "superseded");
}

/** Settle the events that a copied state is known to contain. @param {EventQueue} queue @param {Original} original */
export function settleApplied(queue, { seq, lines, errors }) {
  for (const queued of [...queue.events]) {
    if (!queued.isAppliedIn(seq, lines)) continue;
    queued.handleReply({ status: errors.includes(Number(queued.seq)) ? "error" : "ok", response: {} });
    queue.remove([queued]);
  }
}

/** Learn what other pages have made of this page's events. The page is told when it is known that the same person is there.
 * @param {EventQueue} queue @param {Map<string, StoredEvent>} stored @param {Map<string, Settled>} settled */
export function learn(queue, stored, settled) {
  for (const queued of [...queue.events]) {
    const { seq, line, cuts } = stored.get(queued.id) ?? queued;
    Object.assign(queued, { seq, line, cuts });
    const { reply, reason = queued.seq === null ? "superseded" : undefined } = settled.get(queued.id) ?? {};
    const isGone = !stored.has(queued.id) && queued.owner !== null;
    if (reply || (isGone && reason)) queued.learned = { reply, reason, isGone };
  }
}

/** Tell the page what it has learned of its events. @param {EventQueue} queue */
export function tellLearned(queue) {
  for (const queued of [...queue.events]) {
    const { reply, reason, isGone } = queued.learned ?? {};
    queued.learned = null;
    if (reply) queued.handleReply(reply);
    if (isGone && reply) queue.remove([queued]);
    else if (isGone && reason) queue.discard([queued], reason);
  }
}
