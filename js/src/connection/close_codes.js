/** WebSocket close codes. */

export const CLOSE_NORMAL = 1000;

/** What a browser tells of a connection that was lost without a close code; also of one that is silent. */
export const CLOSE_DEAD = 1006;

const CLOSE_POLICY = 1008;

/** A message is larger than the server accepts. */
export const CLOSE_TOO_LARGE = 1009;

/** This client has dropped the connection. Codes from 4000 on are for applications. */
export const CLOSE_DROPPED = 4000;

/** Close codes by which a connection may have been lost over an event: not those of a server that stops or refuses. */
export const CUT_CODES = [1002, 1003, 1005, 1006, 1007, 1011];

/** Return whether a server closes a connection with this code because of who the client is. @param {number} code */
export function isDenial(code) {
  return code === CLOSE_POLICY || (code > CLOSE_DROPPED && code < 5_000);
}
