import { listen } from "./browser.js";
/** @import { ViewEvents } from "./types.js" */

/** A view's own events. What else `on` hears was pushed by the server. */
const OWN_EVENTS = ["status", "connection", "outcome", "lost", "reply", "missed", "refused", "kept"];

/** What a page hears of a view: its own events, and those that the server pushes. */
export class View extends EventTarget {
  #pushed = new EventTarget();

  /**
   * Call a function with the detail of each event of this view's ("status", "connection", "outcome", "lost", "reply",
   * "missed", "refused", "kept"), or with the payload of each event of any other name that the server pushes. Return a function that ends that.
   * @template {keyof ViewEvents} T
   * @overload
   * @param {T} type
   * @param {(detail: ViewEvents[T]) => void} callback
   * @returns {() => void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {(payload: any) => void} callback
   * @returns {() => void}
   */
  /** @param {string} type @param {(detail: any) => void} callback @returns {() => void} */
  on(type, callback) {
    return listen(OWN_EVENTS.includes(type) ? this : this.#pushed, type, callback);
  }

  /** Call a function with the payload of each event of this name that the server pushes, also if a view has an event of
   * that name itself. Return a function that ends that.
   * @param {string} event @param {(payload: any) => void} callback @returns {() => void} */
  onPushed(event, callback) {
    return listen(this.#pushed, event, callback);
  }

  /** Dispatch an event of the view's own. @param {string} type @param {unknown} detail */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** Pass on an event that the server has pushed. @param {string} event @param {unknown} payload */
  heard(event, payload) {
    this.#pushed.dispatchEvent(new CustomEvent(event, { detail: payload }));
  }
}
