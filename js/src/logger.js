import { tryOrNull } from "./browser.js";
/** @import { Log, Logger } from "./types.js" */

/** Return a function that writes to the page's logger, if it has one. What is written has no payload, token or URL.
 * @param {Logger | undefined} logger @returns {Log} */
export function logTo(logger) {
  if (logger === undefined) return () => {};
  const write = typeof logger === "function" ? logger : (/** @type {Parameters<Log>} */ ...[level, ...what]) => logger[level]?.(...what);
  return (...what) => tryOrNull(() => write(...what)); // a page's logger mustn't stop a reconnect
}
