/**
 * What the tab remembers of its form, in case the page is killed or the server loses the form: the form as it was last
 * shown, the text that is being typed, and texts that can be put back.
 *
 * Each is written at once, since a page that is killed isn't told. Only pages of the same person read it.
 */

const KEY = "quote_memory";

export class Memory {
  /** The names of the person that the page was made for. @type {string[]} */
  #names;
  #kept;

  /** @param {string} [names] as `{% recovery_script %}` writes them; none on a visitor's first page */
  constructor(names = "") {
    this.#names = names.split(" ").filter(Boolean);
    this.#kept = this.#load();
    // Another page of the tab may have gone on while this one slept.
    addEventListener("pageshow", ({ persisted }) => persisted && (this.#kept = this.#load()));
  }

  /** The form as the page last showed it, unsent changes included. */
  get form() {
    return this.#kept.form ?? null;
  }

  set form(form) {
    this.#save({ form });
  }

  /** The text that is being typed. @type {import("./typing.js").Change | null} */
  get draft() {
    return this.#kept.draft ?? null;
  }

  set draft(draft) {
    this.#save({ draft });
  }

  /** What happened to a form, and its texts. @type {{ sentence: string, texts: object | null } | null} */
  get offer() {
    return this.#kept.offer ?? null;
  }

  set offer(offer) {
    this.#save({ offer });
  }

  #load() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
      return kept.names.length === 0 || kept.names.some((name) => this.#names.includes(name)) ? kept : {};
    } catch {
      return {};
    }
  }

  #save(changes) {
    this.#kept = { ...this.#kept, ...changes, names: this.#names };
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.#kept));
    } catch {
      // Full or forbidden: the page works without it.
    }
  }
}
