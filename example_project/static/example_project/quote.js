/** A quote as the server gave it, with the changes on top that it has not answered yet. */

const CHANGES = {
  set_field: (quote, { field, value }) => (quote.fields[field] = value),
  add_item: (quote, { id }) => find(quote, id) ?? quote.items.push(newItem(id)),
  set_item: (quote, { id, field, value }) => Object.assign(find(quote, id) ?? {}, { [field]: value }),
  remove_item: (quote, { id }) => (quote.items = quote.items.filter((item) => item.id !== id)),
  sort_items: (quote, { ids }) => quote.items.sort((one, other) => place(ids, one) - place(ids, other)),
};

/** Give the quote as the person expects to see it; what the server computes stays as it is. */
export function withChanges(quote, changes) {
  const copy = structuredClone(quote);
  for (const { event, payload } of changes) CHANGES[event]?.(copy, payload);
  return copy;
}

/** Give an id for a new line: made here, so that it can be worked on before the server knows of it. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Give the order of lines after one of them went up (-1) or down (+1); null where it can't. */
export function moved({ items }, id, step) {
  const ids = items.map((item) => item.id);
  const from = ids.indexOf(id);
  if (!(from + step in ids)) return null;
  ids.splice(from + step, 0, ...ids.splice(from, 1));
  return ids;
}

/** Lines that the order doesn't know stay at the end. */
function place(ids, { id }) {
  return ids.includes(id) ? ids.indexOf(id) : ids.length;
}

function find(quote, id) {
  return quote.items.find((item) => item.id === id);
}

function newItem(id) {
  return { id, description: "", quantity: "", price: "", total: null, errors: {} };
}
