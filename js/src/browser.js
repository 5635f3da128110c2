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
