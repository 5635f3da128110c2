/** Names in the browser's storages. */

/** Return the key of the number of the newest push that a view has. @param {string} viewId */
export function receivedKeyOf(viewId) {
  return `${keyOf(viewId)}:events:received`;
}

/** Return the key of a view's token. That of its events ends with ":events", which no view's name must bring about.
 * @param {string} viewId */
export function keyOf(viewId) {
  return `lv_recovery_${viewId.replaceAll(":events", "%3Aevents")}`;
}
