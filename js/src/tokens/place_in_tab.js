/** Where a page is among the frames of its tab, which share the tab's storage. */
import { tryOrNull } from "../browser.js";

/** The place of this page, which it keeps as long as it is shown. @type {string | undefined} */
let place;

/** Return the place of this page in its tab: "" for the tab's own page. It is the same after a reload, in whatever order
 * the frames are loaded. */
export function placeInTab() {
  place ??= placeOf(globalThis);
  return place;
}

/** Return whether the page around this one, or one around that, is of the same origin. */
export function isInOwnPage() {
  for (let frame = /** @type {any} */ (globalThis); frame !== frame.parent; frame = frame.parent) {
    if (tryOrNull(() => frame.parent.document)) return true;
  }
  return false;
}

/** @param {any} frame a window, perhaps of another origin @returns {string} */
function placeOf(frame) {
  const { parent } = frame;
  if (!parent || parent === frame) return "";
  const place = tryOrNull(() => placeOfElement(frame.frameElement)) ?? placeAmong(parent, frame);
  return `${placeOf(parent)}/${place}`;
}

/** Return the place of an element in its document: by its name or id, or else among those that have neither.
 * @param {Element} element @returns {string} */
function placeOfElement(element) {
  const { localName } = element;
  const name = nameOf(element);
  const root = /** @type {ShadowRoot} */ (element.getRootNode());
  const alike = Array.from(root.querySelectorAll(localName)).filter((other) => nameOf(other) === name);
  const place = [localName, encodeURIComponent(name), alike.indexOf(element)].join();
  return root.host ? `${placeOfElement(root.host)}>${place}` : place;
}

/** @param {Element} element */
function nameOf(element) {
  return element.getAttribute("name") || element.id;
}

/** Return the place of a frame in a page of another origin, which hides its elements: by the frame's name, if that can be
 * read, or else by its number. @param {any} parent @param {any} frame @returns {string} */
function placeAmong(parent, frame) {
  const name = tryOrNull(() => encodeURIComponent(frame.name)) ?? "";
  const frames = Array.from({ length: parent.length }, (_, number) => parent[number]);
  const before = frames.slice(0, frames.indexOf(frame));
  const alike = name ? before.filter((other) => tryOrNull(() => encodeURIComponent(other.name)) === name) : before;
  return [name, alike.length].join();
}
