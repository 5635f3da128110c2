/** WebSocket close codes. */

export const CLOSE_NORMAL = 1000;

/** What a browser tells of a connection that was lost without a close code; also of one that is silent. */
export const CLOSE_DEAD = 1006;

const CLOSE_POLICY = 1008;

/** A message is larger than the server accepts. */
export const CLOSE_TOO_LARGE = 1009;

/** This client has dropped the connection. Codes from 4000 on are for applications. */
export const CLOSE_DROPPED = 4000;

const CUT_CODES = [1002, 1003, 1005, 1006, 1007, 1011];

/** Return how much a close code says that the connection may have been lost over an event. A server that stops says why; but
 * if it does so time and again, that may be over the event, too. @param {number} code */
export function suspicionOf(code) {
  if (CUT_CODES.includes(code) || isDenial(code)) return 1;
  return code === CLOSE_TOO_LARGE || code === CLOSE_DROPPED ? 0 : 0.5;
}

/** Return whether a server closes a connection with this code because of who the client is. @param {number} code */
export function isDenial(code) {
  return code === CLOSE_POLICY || code > CLOSE_DROPPED;
}
