/** Quotes from the server, with unanswered changes applied; and the texts that a quote lacks. */

export const ITEM_FIELDS = ["description", "quantity", "price"];

const CHANGES = {
  set_field: (quote, { field, value }) => (quote.fields[field] = value),
  add_item: (quote, { id }) => find(quote, id) ?? quote.items.push(newItem(id)),
  set_item: (quote, { id, field, value }) => Object.assign(find(quote, id) ?? {}, { [field]: value }),
  remove_item: (quote, { id }) => (quote.items = quote.items.filter((item) => item.id !== id)),
  put_back: (quote, texts) => putBack(quote, texts),
  sort_items: (quote, { ids }) => quote.items.sort((one, other) => position(ids, one) - position(ids, other)),
};

/** Return a quote with changes applied, except what the server calculates. */
export function withChanges(quote, changes) {
  const copy = structuredClone(quote);
  for (const { event, payload } of changes) CHANGES[event]?.(copy, payload);
  return copy;
}

/** Return what was typed into a quote. */
export function textsOf({ fields, items }) {
  return { fields, items: items.map(({ id, description, quantity, price }) => ({ id, description, quantity, price })) };
}

/** Return the texts of one quote that another one lacks, or null if there are none. */
export function missingTexts(typed, present) {
  const fields = Object.entries(typed.fields).filter(([field, text]) => text && text !== present.fields[field]);
  const items = typed.items.filter((item) => !isBlank(item) && !isSame(item, find(present, item.id)));
  return fields.length || items.length ? { fields: Object.fromEntries(fields), items } : null;
}

/** Return the texts of both, the later ones where they differ, or null if there are none. */
export function mergedTexts(earlier, later) {
  if (!earlier || !later) return later ?? earlier ?? null;
  const others = earlier.items.filter((item) => !find(later, item.id));
  return { fields: { ...earlier.fields, ...later.fields }, items: [...others, ...later.items] };
}

function putBack(quote, { fields, items }) {
  Object.assign(quote.fields, fields);
  if (items.length) quote.items = quote.items.filter((item) => !isBlank(item));
  for (const item of items) {
    const { id, description, quantity, price } = item;
    CHANGES.add_item(quote, { id });
    Object.assign(find(quote, id), { description, quantity, price });
  }
}

function isBlank(item) {
  return ITEM_FIELDS.every((field) => !item[field]);
}

function isSame(item, other) {
  return other !== undefined && ITEM_FIELDS.every((field) => item[field] === other[field]);
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
