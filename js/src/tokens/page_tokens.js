/** Tokens that are in the page's HTML: its view has stored the state that the page begins with. */
import { tryOrNull } from "../browser.js";

const ELEMENT_ID = "recovery-state";

/** Those that a view of this page uses. @type {Set<string>} */
const taken = new Set();

/** Return the page's token for the first join of a topic, the first time that anybody asks. @param {string} topic */
export function takePageToken(topic) {
  /** @type {unknown} */
  const token = tryOrNull(() => JSON.parse(globalThis.document.getElementById(ELEMENT_ID)?.textContent ?? "")[topic]);
  if (typeof token !== "string" || taken.has(token)) return null;
  taken.add(token);
  return token;
}
