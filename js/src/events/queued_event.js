import { randomWord } from "../browser.js";
import { EventError } from "../event_error.js";
/** @import { LostReason, PageEvent, Reply } from "../types.js" */
/** @import { Settled } from "./event_storage.js" */

/** @typedef {string | null} Owner a name for a person, by the server; null if not known */
/**
 * @typedef {object} EventFields
 * @property {string} id a random word, by which another page of the tab knows the event
 * @property {number | null} seq
 * @property {string | null} line by whom it was numbered: null if not known
 * @property {boolean} isEarly
 * @property {boolean} isAnswered
 * @property {number} cuts how many connections were cut when it was next; the close of a server that stops is half of one
 * @property {Owner} owner
 * @typedef {PageEvent & EventFields} StoredEvent
 */
/** @typedef {[line: string, first: number]} Line the events that one page has numbered, from the first on */
/** @typedef {{ seq: number, lines: Line[], errors: number[] }} Original the events in a state that was copied */
/** @typedef {{ onReply(reply: Reply): void, onLost(error: Error): void }} Listener one of them is called, once */

/** How many lines of a state the server remembers, with the first number of each. */
const MAX_LINES = 16;

/** An event of the page, from its push until the server has stored its effect. */
export class QueuedEvent {
  /** How far it is on the current connection. @type {"queued" | "sent" | "replied"} */
  stage = "queued";
  /** Whether it was given to the tab's storage with its number. */
  isStored = false;
  /** What another page has made of it, until this one is told. @type {(Settled & { isGone: boolean }) | null} */
  learned = null;
  #listener;

  /** @param {PageEvent & { isEarly: boolean, owner: Owner } & Partial<StoredEvent>} pushed now, or stored before
   * @param {Listener} listener */
  constructor({ id, event, payload, seq, line, isEarly, isAnswered, cuts, owner }, listener) {
    this.id = id ?? randomWord();
    this.event = event;
    this.payload = payload;
    /** Its number among all events of the view. Assigned once, after a join that tells the last one used. */
    this.seq = seq ?? null;
    this.line = line ?? null;
    this.cuts = cuts ?? 0;
    /** Whether it was pushed before the first join. Such an event is valid for any state. */
    this.isEarly = isEarly;
    this.isAnswered = isAnswered ?? false;
    this.owner = owner;
    this.chars = JSON.stringify(payload).length;
    this.#listener = listener;
  }

  /** Record a reply, and pass the first one on. @param {Reply} reply */
  handleReply(reply) {
    this.stage = "replied";
    if (this.isAnswered) return;
    this.isAnswered = true;
    this.#listener.onReply(reply);
  }

  /** @param {LostReason} reason */
  markLost(reason) {
    this.isAnswered = true;
    // what another person pushed isn't in the error either
    const pushed = reason === "owner" ? { event: "", payload: {} } : this;
    this.#listener.onLost(new EventError(pushed, reason));
  }

  /** Have another listener told what becomes of it, as the page no longer waits. @param {Listener} listener */
  passTo(listener) {
    this.#listener.onLost(new EventError(this, "in_flight"));
    this.#listener = listener;
  }

  get sizeBytes() {
    return new TextEncoder().encode(JSON.stringify([this.event, this.payload])).length;
  }

  /** @param {number} seq */
  isUpTo(seq) {
    return this.seq !== null && this.seq <= seq;
  }

  /** Return whether a state with these lines is known to contain this event. @param {number} seq @param {Line[]} lines */
  isAppliedIn(seq, lines) {
    return this.isUpTo(seq) && this.line !== null && this.#lineIn(lines) === this.line;
  }

  /** Return whether its number is that of another page's event in a state. @param {number} seq @param {Line[]} lines */
  isTakenIn(seq, lines) {
    // nobody knows whose the numbers before all the lines were that the server remembers
    const forgotten = lines.length < MAX_LINES ? this.line : "";
    return this.isUpTo(seq) && this.line !== null && (this.#lineIn(lines) ?? forgotten) !== this.line;
  }

  /** Return whose line the number belongs to in a state. @param {Line[]} lines @returns {string | undefined} */
  #lineIn(lines) {
    return lines.filter(([, first]) => this.seq !== null && first <= this.seq).at(-1)?.[0];
  }

  /** @returns {StoredEvent} */
  toJSON() {
    const { stage, isStored, learned, chars, ...stored } = this;
    return stored;
  }
}

/** Return whether a value has the shape that `toJSON` returns: a storage may contain anything. @param {any} stored */
export function isStoredEvent(stored) {
  const { event, payload, seq, owner } = stored ?? {};
  const isEvent = typeof event === "string" && payload instanceof Object && (seq === null || (Number.isSafeInteger(seq) && seq > 0));
  return isEvent && typeof owner === "string" && owner !== "";
}
