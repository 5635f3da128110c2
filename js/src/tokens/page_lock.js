/** A Web Lock that a page holds. */

/** How long a reloaded page waits for the previous page to release its lock. */
const LOCK_TIMEOUT_MS = 500;

/** Acquire a Web Lock. Return a function that releases it, or null if the lock isn't available.
 * @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} */
function requestLock(name, options) {
  return new Promise((resolve, reject) => {
    const hold = (/** @type {Lock | null} */ granted) => {
      if (granted === null) return resolve(null);
      return /** @type {Promise<void>} */ (new Promise((release) => resolve(release)));
    };
    globalThis.navigator.locks.request(name, options, hold).catch(reject);
  });
}

/** Acquire a lock that is free, or that the previous page is about to release. @param {string} name */
export async function acquirePageLock(name) {
  const free = await requestLock(name, { ifAvailable: true });
  if (free !== null) return free;
  const timeout = new AbortController();
  setTimeout(() => timeout.abort(), LOCK_TIMEOUT_MS);
  return requestLock(name, { signal: timeout.signal });
}
