/** How long a page waits for the response to an event. */
/** @import { PushOptions } from "../types.js" */

/** Call a function once the page has waited for long enough. Return a function that puts an end to that.
 * @param {PushOptions} options @param {() => void} giveUp @returns {() => void} */
export function onImpatience({ signal, timeoutMs }, giveUp) {
  const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs);
  signal?.addEventListener("abort", giveUp, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  };
}
