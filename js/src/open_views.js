/** The views of the page that have a `Recovery`: one each, or two would send the same events. */

/** @typedef {{ giveWay(): void }} OpenView */

/** @type {Map<string, OpenView>} */
const openViews = new Map();

/** Record what a view has now. What it had before gives way. @param {string} viewId @param {OpenView} opened */
export function openView(viewId, opened) {
  const before = openViews.get(viewId);
  openViews.set(viewId, opened);
  if (before !== undefined && before !== opened) before.giveWay();
}

/** @param {OpenView} closed */
export function closeView(closed) {
  for (const [viewId, opened] of openViews) if (opened === closed) openViews.delete(viewId);
}
