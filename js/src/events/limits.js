/** @import { QueuedEvent } from "./queued_event.js" */

/** @typedef {{ maxKept: number, maxKeptChars: number }} Limits of a queue */

/** Return whether an event may be added to others. @param {QueuedEvent} added @param {QueuedEvent[]} events @param {Limits} limits */
export function hasRoomFor(added, events, { maxKept, maxKeptChars }) {
  return events.length < maxKept && events.reduce((sum, { chars }) => sum + chars, added.chars) <= maxKeptChars;
}
