/** Waiting times between tries. */
/** @import { Backoff } from "./types.js" */

/** How long a connection or a join has to hold until the next one that is lost counts as the first. */
export const GOOD_AFTER_MS = 5_000;

/**
 * Return a backoff with full jitter: a random time between zero and a bound that doubles with each try. It spreads
 * out the clients that reconnect after a server restart.
 * @param {number} baseMs @param {number} capMs @returns {Backoff}
 */
export function fullJitter(baseMs, capMs) {
  return (tries) => Math.random() * Math.min(capMs, baseMs * 2 ** (tries - 1));
}

/** The backoff after a lost connection; also an option of the npm clients. */
export const reconnectAfterMs = /* @__PURE__ */ fullJitter(100, 5_000);

/** The backoff after a refused join or a crashed channel; also an option of the npm clients. */
export const rejoinAfterMs = /* @__PURE__ */ fullJitter(1_000, 10_000);
