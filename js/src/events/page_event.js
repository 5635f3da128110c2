/** Events as the page pushes them. */
/** @import { PageEvent, Payload } from "../types.js" */

/** How deeply a payload may be nested. The server's JSON parser rejects more, and then never replies. */
const MAX_DEPTH = 500;

/** Keys of the protocol. An event with a number of the page's own would take the place of another, which would then be
 * answered and never applied. */
const PROTOCOL_KEYS = ["_seq", "_ack", "_line", "_recv"];

/** @param {unknown} value @param {number} levels @returns {boolean} */
function isDeeperThan(value, levels) {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

/** Return a copy of an event. Throw a TypeError for one that no server accepts, as it would block those after it.
 * @param {string} event @param {Payload} payload @returns {PageEvent} */
export function copyEvent(event, payload) {
  if (typeof event !== "string") throw new TypeError("an event's name must be a string");
  if (event.startsWith("phx_")) throw new TypeError(`${event} is reserved by the protocol`);
  const copy = JSON.parse(JSON.stringify(payload));
  if (copy === null || typeof copy !== "object" || Array.isArray(copy)) {
    throw new TypeError("a payload must be an object");
  }
  for (const key of PROTOCOL_KEYS) delete copy[key];
  if (isDeeperThan(copy, MAX_DEPTH)) throw new TypeError(`a payload may be nested at most ${MAX_DEPTH} levels deep`);
  return { event, payload: copy };
}

/** Return the public part of an event. @param {PageEvent} queued @returns {PageEvent} */
export function toPageEvent({ event, payload }) {
  return { event, payload };
}
