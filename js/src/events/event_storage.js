import { tryOrNull } from "../browser.js";
import { keyOf } from "../tokens/storage_keys.js";
import { StoredValue } from "../tokens/stored_value.js";
import { isStoredEvent } from "./queued_event.js";
/** @import { LostReason, Reply, StorageKind } from "../types.js" */
/** @import { QueuedEvent, StoredEvent } from "./queued_event.js" */

/** How many events of other pages, and how many characters of their replies, are remembered as settled. */
const MAX_SETTLED = 100;
const MAX_SETTLED_CHARS = 100_000;

/** What closed views of this page have left, and the tab's storage doesn't have: what was pushed before anybody had joined,
 * or with the storage "none". By the key of the view. @type {Map<string, StoredEvent[]>} */
const leftInMemory = new Map();

/** Forget it on a page that comes back from the back/forward cache: somebody else may be there. @param {any} shown */
const forgetLeft = ({ persisted }) => persisted && leftInMemory.clear();

/** What a page has learned of another page's event. @typedef {{ reply?: Reply, reason?: LostReason }} Settled */

/** The events of one view in the tab's storage, under `lv_recovery_<viewId>:events`. */
export class EventStorage {
  #key;
  #events;
  #settled;

  /** @param {string} viewId @param {StorageKind} storage */
  constructor(viewId, storage) {
    this.#key = `${keyOf(viewId)}:events`;
    const kind = storage === "none" ? storage : "sessionStorage";
    this.#events = new StoredValue(kind, this.#key);
    this.#settled = new StoredValue(kind, `${this.#key}:settled`);
  }

  /** @returns {StoredEvent[]} */
  load() {
    return tryOrNull(() => this.#events.readJSON().filter(isStoredEvent)) ?? [];
  }

  #loadIds() {
    return new Set(this.load().map(({ id }) => id));
  }

  /** Leave events to the page's next `Recovery` of this view. @param {QueuedEvent[]} events */
  leave(events) {
    const stored = this.#loadIds();
    leftInMemory.set(this.#key, events.filter(({ id }) => !stored.has(id)).map((queued) => queued.toJSON()));
    globalThis.addEventListener?.("pageshow", forgetLeft, { capture: true });
  }

  /** Return what was left, for one `Recovery`. @returns {StoredEvent[]} */
  takeLeft() {
    const left = leftInMemory.get(this.#key) ?? [];
    leftInMemory.delete(this.#key);
    return left;
  }

  /** What pages of this tab have learned of events that others had pushed, by their ids. @returns {Map<string, Settled>} */
  loadSettled() {
    return tryOrNull(() => new Map(this.#settled.readJSON())) ?? new Map();
  }

  /** Remember for the page that has pushed an event what became of it: that page may only sleep.
   * @param {string} id @param {Settled} what */
  settle(id, what) {
    const settled = [...this.loadSettled(), [id, what]].slice(-MAX_SETTLED);
    while (JSON.stringify(settled).length > MAX_SETTLED_CHARS) settled.shift();
    this.#settled.write(JSON.stringify(settled));
  }

  forgetSettled() {
    this.#settled.write(null);
  }

  /** Store events, in place of those before. Return whether all of them are stored: if there is no room for them, only
   * some of those that were stored already are. @param {QueuedEvent[]} events */
  save(events) {
    if (this.#write(events)) return true;
    const ids = this.#loadIds();
    const stored = events.filter(({ id }) => ids.has(id));
    // an outdated copy is worse than none: it may contain, as never sent, events that were sent since
    if (JSON.stringify(stored) === this.#events.read()) return false;
    while (!this.#write(stored) && stored.length > 0) stored.splice(-Math.ceil(stored.length / 8));
    return false;
  }

  /** @param {QueuedEvent[]} events */
  #write(events) {
    return this.#events.write(events.length > 0 ? JSON.stringify(events) : null);
  }
}
