/** Quotes from the server, with unanswered changes applied. */

const CHANGES = {
  set_field: (quote, { field, value }) => (quote.fields[field] = value),
  add_item: (quote, { id }) => find(quote, id) ?? quote.items.push(newItem(id)),
  set_item: (quote, { id, field, value }) => Object.assign(find(quote, id) ?? {}, { [field]: value }),
  remove_item: (quote, { id }) => (quote.items = quote.items.filter((item) => item.id !== id)),
  sort_items: (quote, { ids }) => quote.items.sort((one, other) => position(ids, one) - position(ids, other)),
};

/** Return a quote with changes applied, except what the server calculates. */
export function withChanges(quote, changes) {
  const copy = structuredClone(quote);
  for (const { event, payload } of changes) CHANGES[event]?.(copy, payload);
  return copy;
}

/** Return an id for a new line, so that it can be edited before the server knows it. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return the order of lines after moving one up (-1) or down (+1), or null if it can't be moved. */
export function moved({ items }, id, step) {
  const ids = items.map((item) => item.id);
  const from = ids.indexOf(id);
  if (!(from + step in ids)) return null;
  ids.splice(from + step, 0, ...ids.splice(from, 1));
  return ids;
}

/** Return the position of a line; unknown lines come last. */
function position(ids, { id }) {
  return ids.includes(id) ? ids.indexOf(id) : ids.length;
}

function find(quote, id) {
  return quote.items.find((item) => item.id === id);
}

function newItem(id) {
  return { id, description: "", quantity: "", price: "", total: null, errors: {} };
}
