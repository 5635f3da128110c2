/** Frames of version 2 of the Phoenix channels protocol. */
import { tryOrNull } from "../browser.js";

/** @typedef {[joinRef: string | null, ref: string | null, topic: string, event: string, payload: any]} Frame */

/** @param {Frame} frame */
export function encodeFrame(frame) {
  return JSON.stringify(frame);
}

/** Return the frame, or null if it is none. @param {unknown} data @returns {Frame | null} */
export function decodeFrame(data) {
  const frame = tryOrNull(() => JSON.parse(String(data)));
  return Array.isArray(frame) ? /** @type {Frame} */ (frame) : null;
}
