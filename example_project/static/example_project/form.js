/** The form: shows a quote and reports changes. */
import { ITEM_FIELDS, moved, newId } from "./quote.js";

export class QuoteForm {
  #form = document.querySelector("#quote");
  #items = document.querySelector("#items");
  #template = document.querySelector("#item");
  #rows = new Map();
  #quote = { items: [] };
  #change;

  /** @param {(event: string, payload: object) => void} change */
  constructor(change) {
    this.#change = change;
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", ({ target }) => this.#typed(target));
    this.#form.addEventListener("click", ({ target }) => this.#clicked(target.closest("button")));
    this.#items.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /**
   * Show a quote. Unchanged inputs aren't touched, so that they keep the focus and the caret.
   * `uncounted`: how many of its changes the totals don't include yet.
   */
  render(quote, { uncounted }) {
    this.#quote = quote;
    document.title = `${quote.number} · Quote desk`;
    setText("#number", quote.number);
    for (const input of this.#form.querySelectorAll("[data-field]")) {
      const { field } = input.dataset;
      setInput(input, quote.fields[field], quote.errors[field]);
    }
    keepFocus(() => this.#renderItems(quote.items));
    this.#renderTotals(quote.totals, uncounted);
    setText("#lines-title", quote.items.length === 1 ? "1 line" : `${quote.items.length} lines`);
  }

  /** Enable the form if there is a quote, and the buttons that need the server if it is reachable. */
  enable({ hasQuote, isLive }) {
    this.#form.toggleAttribute("data-loading", !hasQuote);
    this.#form.querySelector("fieldset").disabled = !hasQuote;
    for (const button of this.#form.querySelectorAll("[data-change]")) button.disabled = !isLive;
  }

  #renderItems(items) {
    const removed = new Set(this.#rows.keys());
    items.forEach((item, index) => {
      removed.delete(item.id);
      const row = this.#rowOf(item.id);
      if (this.#items.children[index] !== row) this.#items.insertBefore(row, this.#items.children[index] ?? null);
      renderItem(row, item, index, items.length);
    });
    for (const id of removed) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
  }

  #rowOf(id) {
    let row = this.#rows.get(id);
    if (!row) {
      row = this.#template.content.cloneNode(true).firstElementChild;
      row.dataset.id = id;
      for (const input of row.querySelectorAll("input")) nameInput(input, id);
      this.#rows.set(id, row);
    }
    return row;
  }

  #renderTotals(totals, uncounted) {
    for (const element of this.#form.querySelectorAll("[data-total]")) {
      element.textContent = totals[element.dataset.total];
    }
    setText("#currency-sign", totals.currency);
    const { uncounted: lines } = totals;
    const remarks = [];
    if (lines) remarks.push(lines === 1 ? "One line isn’t counted." : `${lines} lines aren’t counted.`);
    if (uncounted) remarks.push("Recalculated when you are online.");
    setText("#uncounted", remarks.join(" "));
  }

  // User input

  #typed(input) {
    const { field, itemField } = input.dataset;
    const { value } = input;
    if (field) this.#change("set_field", { field, value });
    if (itemField) this.#change("set_item", { id: idOf(input), field: itemField, value });
  }

  #clicked(button) {
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    const { tool, change } = button.dataset;
    if (change) this.#change(change, {});
    if (button.id === "add") this.#add("description");
    if (tool === "up") this.#move(idOf(button), -1);
    if (tool === "down") this.#move(idOf(button), +1);
    if (tool === "remove") this.#remove(idOf(button));
  }

  #pressed(event) {
    const step = { ArrowUp: -1, ArrowDown: +1 }[event.key];
    if (event.altKey && step) {
      event.preventDefault();
      this.#move(idOf(event.target), step);
    } else if (event.key === "Enter" && event.target.matches("input") && !event.isComposing) {
      event.preventDefault();
      this.#next(event.target);
    }
  }

  /** Focus the same field of the next line, or of a new line after the last. */
  #next(input) {
    const row = input.closest("li").nextElementSibling;
    if (row) row.querySelector(`[data-item-field=${input.dataset.itemField}]`).focus();
    else this.#add("description");
  }

  #add(field) {
    const id = newId();
    this.#change("add_item", { id });
    this.#rows.get(id)?.querySelector(`[data-item-field=${field}]`).focus();
  }

  #move(id, step) {
    const ids = moved(this.#quote, id, step);
    if (ids === null) return;
    this.#change("sort_items", { ids });
    setText("#announcer", `Moved to line ${ids.indexOf(id) + 1} of ${ids.length}.`);
  }

  #remove(id) {
    const row = this.#rows.get(id);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    this.#change("remove_item", { id });
    (neighbour?.querySelector("[data-tool=remove]") ?? document.querySelector("#add")).focus();
    setText("#announcer", "Line removed.");
  }
}

function renderItem(row, item, index, count) {
  row.querySelector(".place").textContent = index + 1;
  row.setAttribute("aria-label", `Line ${index + 1}`);
  for (const field of ITEM_FIELDS) {
    setInput(row.querySelector(`[data-item-field=${field}]`), item[field], item.errors[field]);
  }
  row.querySelector(".amount").textContent = item.total ?? "–";
  const name = item.description ? `line ${index + 1}, ${item.description}` : `line ${index + 1}`;
  setTool(row, "up", `Move ${name} up`, index > 0);
  setTool(row, "down", `Move ${name} down`, index < count - 1);
  setTool(row, "remove", `Remove ${name}`, true);
}

// Not disabled: a button would lose the focus when its line reaches the end.
function setTool(row, tool, label, isUseful) {
  const button = row.querySelector(`[data-tool=${tool}]`);
  button.setAttribute("aria-label", label);
  button.title = label;
  button.setAttribute("aria-disabled", String(!isUseful));
}

function nameInput(input, id) {
  const { itemField } = input.dataset;
  const error = input.parentElement.querySelector(".error");
  input.id = `${itemField}-${id}`;
  input.parentElement.querySelector("label").htmlFor = input.id;
  if (error) {
    error.id = `${input.id}-error`;
    input.setAttribute("aria-describedby", error.id);
  }
}

function setInput(input, value, error = "") {
  if (input.value !== value) input.value = value;
  const message = input.parentElement.querySelector(".error");
  if (!message) return;
  if (message.textContent !== error) message.textContent = error;
  input.setAttribute("aria-invalid", String(error !== ""));
}

function setText(selector, text) {
  const element = document.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}

function idOf(element) {
  return element.closest("li").dataset.id;
}

/** Run an action that may move the focused element, and restore the focus. */
function keepFocus(action) {
  const element = document.activeElement;
  const { selectionStart: start, selectionEnd: end } = element;
  action();
  if (element === document.activeElement || !element.isConnected) return;
  element.focus();
  if (typeof start === "number") element.setSelectionRange(start, end);
}
