import { tryOrNull } from "../browser.js";
/** @import { StorageKind } from "../types.js" */

/** One value in a browser's storage, which may be forbidden, full, or none. */
export class StoredValue {
  #key;

  /** @param {StorageKind} kind @param {string} key */
  constructor(kind, key) {
    /** Which storage it is in. */
    this.kind = kind;
    this.#key = key;
  }

  /** Return the text, or null if there is none. @returns {string | null} */
  read() {
    return tryOrNull(() => this.#storage.getItem(this.#key)) || null;
  }

  /** Return what the text means as JSON, or null. @returns {any} */
  readJSON() {
    return tryOrNull(() => JSON.parse(this.read() ?? ""));
  }

  /** Write a text, or remove it. Return whether it is written. @param {string | null} text @returns {boolean} */
  write(text) {
    return tryOrNull(() => {
      if (text === null) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, text);
      return true;
    }) ?? false;
  }

  /** The storage, if there is one: accesses to it may throw anyway. @returns {Storage} */
  get #storage() {
    return /** @type {any} */ (globalThis)[this.kind];
  }
}
