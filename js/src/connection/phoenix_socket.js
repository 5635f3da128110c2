import { CLOSE_DEAD, CLOSE_TOO_LARGE, suspicionOf } from "./close_codes.js";
import { keepCounting } from "./phoenix_timer.js";
import { Turns } from "./turns.js";
/** @import { EventQueue } from "../events/event_queue.js" */

/** @type {WeakMap<object, SharedSocket>} */
const sharedSockets = new WeakMap();

/**
 * What the views on one socket of the npm client share. A lost connection counts against the events of one view, where
 * that can be told: by its close code, or as they are sent one view after the other next time.
 */
export class SharedSocket {
  /** Those that had events under way when the connection was lost. @type {Set<EventQueue>} */ #busy = new Set();
  /** @type {Turns<EventQueue>} */ #turns = new Turns();

  /** Return what the views on a socket share. @param {any} socket @returns {SharedSocket} */
  static of(socket) {
    const shared = sharedSockets.get(socket) ?? new SharedSocket(socket);
    sharedSockets.set(socket, shared);
    return shared;
  }

  /** @param {any} socket */
  constructor(socket) {
    socket.onOpen?.(keepCounting(socket.reconnectTimer));
    socket.onClose?.((/** @type {any} */ event) => {
      const code = event?.code ?? CLOSE_DEAD;
      this.#handleClose(code, socket.closeWasClean ? 0 : suspicionOf(code));
    });
  }

  /** Note that a view's channel has joined: have it send its events, now or when it is its turn.
   * @param {EventQueue} queue @param {() => void} start */
  start(queue, start) {
    this.#turns.suspect([...this.#busy]);
    this.#busy.clear();
    this.#turns.take(queue, () => {
      start();
      this.settle(queue);
    });
  }

  /** Note that a view's events have replies. @param {EventQueue} queue */
  settle(queue) {
    if (queue.sentBytes === 0) this.#turns.pass(queue);
  }

  /** Note that a view's channel no longer sends. @param {EventQueue} queue that hasn't stopped yet */
  stop(queue) {
    if (queue.sentBytes > 0) this.#busy.add(queue);
    this.#turns.leave(queue);
  }

  /** @param {EventQueue} queue of a view that is closed */
  remove(queue) {
    this.#busy.delete(queue);
    this.#turns.pass(queue);
  }

  /** @param {number} code @param {number} suspicion */
  #handleClose(code, suspicion) {
    const busy = [...this.#busy];
    for (const { suspects } of busy) suspects.suspicion = Math.min(suspects.suspicion, suspicion);
    if (suspicion === 0) this.#busy.clear();
    if (code !== CLOSE_TOO_LARGE) return;
    busy.sort((one, other) => other.suspects.largestBytes - one.suspects.largestBytes);
    busy[0]?.suspects.blameLargest();
  }
}
