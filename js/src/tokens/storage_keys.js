/** Names in the browser's storages. */
import { isInOwnPage, placeInTab } from "./place_in_tab.js";
import { StoredValue } from "./stored_value.js";
/** @import { StorageKind } from "../types.js" */

/** What the names of all that belongs to a view end with: its token, its events, and what is known of them. */
const ENDINGS = ["", ":events", ":events:settled", ":events:received"];

/** Return the key of the number of the newest push that a view has. @param {string} viewId */
export function receivedKeyOf(viewId) {
  return `${keyOf(viewId)}:events:received`;
}

/** Return the key of a view's token. That of its events ends with ":events". Frames share the storage of their tab, so
 * each has keys of its own. @param {string} viewId */
export function keyOf(viewId) {
  const place = placeInTab();
  return place === "" ? pageKeyOf(viewId) : `${pageKeyOf(viewId)}:events:frame${place}`;
}

/** Return the key of a view's token on the tab's own page, in which no view's name must bring about ":events".
 * @param {string} viewId */
function pageKeyOf(viewId) {
  // what looks like a ":events" that was replaced is replaced as well, so that no two names become one
  return `lv_recovery_${viewId.replace(/%(?=(25)*3Aevents)/g, "%25").replaceAll(":events", "%3Aevents")}`;
}

/**
 * Take over, once, what an earlier version has stored for a view in a frame: under the key of the tab's own page. If there
 * is a page of the same origin around the frame, that is the page's, and stays.
 * @param {string} viewId @param {StorageKind} kind
 */
export function moveToFrame(viewId, kind) {
  if (placeInTab() === "" || isInOwnPage()) return;
  const values = (/** @type {string} */ key) => ENDINGS.map((ending) => new StoredValue(kind, key + ending));
  const moved = values(keyOf(viewId));
  if (moved.some((value) => value.read())) return;
  values(pageKeyOf(viewId)).forEach((value, place) => moved[place].write(value.read()) && value.write(null));
}
