/** @import { LostReason, PageEvent, Payload } from "./types.js" */

/** Why an event has no reply, or an error as its reply. `name` tells the cases apart. */
export class EventError extends Error {
  /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
  constructor({ event, payload }, reason, response) {
    super(`the event ${event} has no reply: ${reason}`);
    const names = {
      refused: "EventRefused",
      unconfirmed: "EventUnconfirmed",
      closed: "EventUnconfirmed",
      full: "QueueFull",
    };
    this.name = /** @type {Record<string, string>} */ (names)[reason ?? ""] ?? "EventLost";
    Object.assign(this, { event, payload, reason, response });
  }
}
