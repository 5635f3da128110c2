/** @import { LostReason, PageEvent, Payload } from "./types.js" */

/** @typedef {"EventRefused" | "EventUnconfirmed" | "EventLost" | "QueueFull"} EventErrorName */
/** @type {Record<string, EventErrorName>} */
const NAMES = {
  refused: "EventRefused",
  unconfirmed: "EventUnconfirmed",
  closed: "EventUnconfirmed",
  in_flight: "EventUnconfirmed",
  full: "QueueFull",
};

/** Why an event has no reply, or an error as its reply. `name` tells the cases apart. */
export class EventError extends Error {
  /** @type {EventErrorName} */ name;
  /** The name of the event, as it was pushed. @type {string} */ event;
  /** @type {Payload} */ payload;
  /** @type {LostReason | "refused"} */ reason;
  /** The response of the server, if it refused the event. @type {Payload | undefined} */ response;

  /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
  constructor({ event, payload }, reason, response) {
    super(`the event ${event} has no reply: ${reason}`);
    this.name = NAMES[reason ?? ""] ?? "EventLost";
    this.event = event;
    this.payload = payload;
    this.reason = reason;
    this.response = response;
  }
}
