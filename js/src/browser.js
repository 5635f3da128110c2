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

/** Resolves when the page is no longer being prepared: until it is shown, its storage may be a copy.
 * @param {() => void} wake called when it is shown, unless it is already @returns {Promise<void>} */
export function whenActive(wake) {
  const page = /** @type {any} */ (globalThis.document);
  if (!page?.prerendering) return Promise.resolve();
  return new Promise((resolve) => page.addEventListener("prerenderingchange", () => resolve(wake()), { once: true }));
}

/** Call a function when the page comes back from the back/forward cache, and one when it may be left for good.
 * @param {AbortSignal} signal ends that @param {() => void} wake @param {() => void} save */
export function onPageLife(signal, wake, save) {
  const listening = { capture: true, signal };
  const show = (/** @type {any} */ { persisted }) => persisted && wake();
  globalThis.addEventListener?.("pageshow", show, listening);
  for (const type of ["pagehide", "visibilitychange"]) globalThis.addEventListener?.(type, save, listening);
}

/** Call a function with the detail of each event of a type. Return a function that ends that.
 * @param {EventTarget} target @param {string} type @param {(detail: any) => void} callback */
export function listen(target, type, callback) {
  if (typeof callback !== "function") throw new TypeError(`on(${JSON.stringify(type)}, …) needs a function to call`);
  const listener = (/** @type {Event} */ event) => callback(/** @type {CustomEvent} */ (event).detail);
  target.addEventListener(type, listener);
  return () => target.removeEventListener(type, listener);
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
