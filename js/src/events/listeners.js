/** Whom a page tells what became of an event. */
import { EventError } from "../event_error.js";
import { toPageEvent } from "./page_event.js";
/** @import { PageEvent, Payload } from "../types.js" */
/** @import { Settled } from "./event_storage.js" */
/** @import { Listener, StoredEvent } from "./queued_event.js" */

/** @typedef {(type: string, detail: unknown) => void} Emit tells the page */

/** Return a listener that settles the promise of the event.
 * @param {PageEvent} pushed @param {(response: Payload) => void} resolve @param {(error: Error) => void} reject
 * @returns {Listener} */
export function promiseListener(pushed, resolve, reject) {
  return {
    onReply: ({ status, response }) =>
      status === "ok" ? resolve(response) : reject(new EventError(pushed, "refused", response)),
    onLost: reject,
  };
}

/** Return a listener for an event whose promise was lost with a reload, or belongs to a page that sleeps.
 * @param {StoredEvent} pushed @param {(id: string, what: Settled) => void} remember for the page that sleeps
 * @param {Emit} emit @returns {Listener} */
export function orphanListener(pushed, remember, emit) {
  const settle = (/** @type {Settled} */ what) => pushed.id && remember(pushed.id, what);
  return {
    onReply: (reply) => {
      settle({ reply });
      emit("reply", { ...toPageEvent(pushed), ...reply });
    },
    onLost: (error) => settle({ reason: /** @type {any} */ (error).reason }),
  };
}
