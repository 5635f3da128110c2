/** What the page asks of its browser. */

/** Return the result of `action`, or null if it throws, as any access to a storage may.
 * @template T @param {() => T} action @returns {T | null} */
export function tryOrNull(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/** Return a word that no other page has. */
export function randomWord() {
  return Math.random().toString(36).slice(2, 12);
}

/** Return the names of the person that the page was made for, if it knows any. @param {string} [given] */
export function namesOfPage(given) {
  const element = tryOrNull(() => globalThis.document?.querySelector("[data-recovery-owner]"));
  const names = given || /** @type {HTMLElement | null} */ (element)?.dataset.recoveryOwner || "";
  return names.split(" ").filter((name) => name !== "");
}

/** Return whether the page is being prepared and isn't shown yet: its storage may be a copy. */
export function isPrerendering() {
  return Boolean(/** @type {any} */ (globalThis.document)?.prerendering);
}

/**
 * Have Firefox load this page again when somebody comes back to it. From its back/forward cache, a page would come with
 * the sessionStorage of when it was left, and never see what the pages after it have stored. Firefox doesn't keep a page
 * that holds a lock there; others keep it with the tab's storage.
 * @param {AbortSignal} signal aborted when the page no longer needs its storage
 */
export function refuseOldStorage(signal) {
  if (!("mozInnerScreenX" in globalThis)) return;
  const isDone = new Promise((resolve) => signal.addEventListener("abort", resolve));
  // only pages from HTTPS or this machine have locks
  globalThis.navigator.locks?.request("lv_recovery:storage", { mode: "shared" }, () => isDone).catch(() => {});
}
