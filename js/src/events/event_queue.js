import { randomWord } from "../browser.js";
import { checkPushOptions } from "../options.js";
import { Timer } from "../timer.js";
import { EventStorage } from "./event_storage.js";
import { orphanListener, promiseListener } from "./listeners.js";
import { Ownership } from "./ownership.js";
import { copyEvent, toPageEvent } from "./page_event.js";
import { onImpatience } from "./patience.js";
import { QueuedEvent } from "./queued_event.js";
import { discardTaken, learn, settleApplied, skip, tellLearned } from "./state_changes.js";
import { Suspects } from "./suspects.js";
/** @import { LostReason, Outcome, PageEvent, Payload, PushOptions } from "../types.js" */
/** @import { Settled } from "./event_storage.js" */
/** @import { Emit } from "./listeners.js" */
/** @import { Line, Original, Owner, StoredEvent } from "./queued_event.js" */
/** @import { Sender } from "./sender.js" */

/** Up to how many events are stored at each change. More are stored together, after so long or when the page is left. */
const MAX_SAVED_AT_ONCE = 64;
const SAVE_AFTER_MS = 250;

/** @typedef {{ maxKept: number, maxKeptChars: number }} Limits */

/** The events of one view, oldest first. Each stays until the server has stored its effect or it is reported as lost.
 *
 * Stored events are set aside until it is known whether they belong to the page's owner. The queue decides what a join
 * means for its events; a `Sender` sends them.
 */
export class EventQueue {
  /** @type {QueuedEvent[]} */ events = [];
  /** Stored events that nobody sees until their owner is known. @type {QueuedEvent[]} */ #setAside = [];
  /** @type {Sender | null} */ #sender = null;
  /** By whom this page's numbers are assigned in the current state. */ line = randomWord();
  suspects = new Suspects(this);
  #saveTimer = new Timer();
  #durableSeq = 0;
  /** The length of all payloads or more, so that it need not be counted at each push. */ #maxChars = Infinity;
  /** Whether a reload would keep the events without a reply. */ isKept = true;
  #hasJoined = false;
  #isClosed = false;
  #storage;
  #limits;
  #ownership;
  #emit;

  /** @param {EventStorage} storage @param {Limits} limits @param {string[]} namesOfPage @param {Emit} emit */
  constructor(storage, limits, namesOfPage, emit) {
    this.#storage = storage;
    this.#limits = limits;
    this.#ownership = new Ownership(namesOfPage);
    this.#emit = emit;
    this.use(storage);
  }

  /** The events without a reply. */
  get pending() {
    return this.events.filter((queued) => !queued.isAnswered && this.#ownership.isOwn(queued));
  }

  /** The size of the largest event that awaits its reply; 0 if none does. */
  get sentBytes() {
    return Math.max(0, ...this.underWay.map(({ sizeBytes }) => sizeBytes));
  }

  /** The events that await a reply. None of them is behind one that is still to be sent. */
  get underWay() {
    return this.events.slice(0, this.nextPlace).filter(({ stage }) => stage === "sent");
  }

  /** The place of the first event that is still to be sent. */
  get nextPlace() {
    return this.#placeOf(({ stage }) => stage === "queued");
  }

  /** Return the place of the first event that is so, or of the end. @param {(queued: QueuedEvent) => boolean} isSo */
  #placeOf(isSo) {
    const place = this.events.findIndex(isSo);
    return place < 0 ? this.events.length : place;
  }

  /** Whether events are sent now. */
  get isSending() {
    return this.#sender !== null;
  }

  /** Add an event, and return a promise for its reply.
   * @param {string} event @param {Payload} payload @param {PushOptions} [options] */
  add(event, payload, options = {}) {
    /** @type {PageEvent} */ let copy;
    try {
      copy = copyEvent(event, payload);
      checkPushOptions(options);
    } catch (error) {
      return Promise.reject(error); // a mistake of the page's, which the console shows unless it is caught
    }
    let stopClock = () => {};
    const reply = new Promise((/** @type {(response: Payload) => void} */ resolve, reject) => {
      const pushed = { ...copy, isEarly: !this.#hasJoined, owner: this.#ownership.owner };
      const queued = new QueuedEvent(pushed, promiseListener(copy, resolve, reject));
      stopClock = onImpatience(options, () => this.#stopWaiting(queued));
      if (options.signal?.aborted) queued.markLost("withdrawn");
      else if (this.#isClosed) this.discard([queued], "left");
      else if (!this.#hasRoomFor(queued)) this.discard([queued], "full");
      else {
        this.events.push(queued);
        if (this.#sender) this.#sender.flush();
        else this.saveSoon();
      }
    });
    reply.then(stopClock, stopClock); // pages may listen to "lost" instead of catching each promise
    return reply;
  }

  /** Continue after the last event of a recovered state. Otherwise discard the events of the previous state, which
   * must not be applied to a fresh one.
   * @param {Outcome | null} outcome @param {number} seq of the last event in the state @param {{ lines?: Line[], original?: Original }} [told] */
  handleJoin(outcome, seq, { lines = [], original } = {}) {
    this.#dropForeign();
    tellLearned(this);
    if (outcome === "recovered") {
      skip(this, this.suspects.takeTooLarge(seq), "too_large");
      discardTaken(this, seq, lines);
      skip(this, this.suspects.takeUndeliverable(seq), "undeliverable");
      this.requeueAfter(seq);
    } else {
      if (original) settleApplied(this, original);
      // the state that was copied may have come from a duplicate of the tab, with the same early events
      const isCopy = original !== undefined;
      this.discard(this.events.filter(({ isEarly }) => isCopy || !isEarly), outcome);
      if (this.#hasJoined) this.line = randomWord();
    }
    this.suspects.forgetUnanswered();
    this.#durableSeq = seq;
    this.releaseUpTo(seq);
    this.#hasJoined = true;
    for (const queued of this.events) queued.isEarly = false;
    this.save();
  }

  /** Act for the person that the server has named. If the page continues its state under another name, after a login
   * say, its events go with the state. Those that are set aside, which are of an earlier page, only go along if the
   * server has named the same person by an alias.
   * @param {Owner} named @param {boolean} continues @param {string[]} [aliases] */
  setOwner(named, continues, aliases = []) {
    const owner = named ?? this.#ownership.ownerOfPage;
    const isAlias = (/** @type {QueuedEvent} */ queued) => queued.owner !== null && aliases.includes(queued.owner);
    const own = this.events.filter((queued) => continues || isAlias(queued) || this.#ownership.isEarlyFor(owner, queued));
    for (const queued of [...own, ...this.#setAside.filter(isAlias)]) queued.owner = owner;
    this.#ownership.owner = owner;
    this.#takeBack();
  }

  /** Forget events that were pushed when nobody had joined: somebody else may be at the page by now. */
  dropUnowned() {
    this.#ownership.forgetAliases();
    this.#drop(this.events.filter((queued) => this.#ownership.isEarlyAndUnowned(queued)));
  }

  /** Send the queued events, and those added later, until `stopSending`. @param {Sender} sender */
  startSending(sender) {
    this.#sender = sender;
    sender.flush();
  }

  /** Read again what the tab's storage has, as this page may have slept while others continued its queue: an event is
   * still there, or it was settled by another page, or its number tells. Those of other pages are sent by this one now.
   * Return whether there is anything new.
   * @param {boolean} isContinued whether another page has joined meanwhile: it may have another state, too */
  readAgain(isContinued) {
    const stored = new Map(this.#storage.load().map((each) => [each.id, each]));
    if (isContinued) {
      this.#durableSeq = 0; // of another state, perhaps
      this.#setAside = [];
      learn(this, stored, this.#storage.loadSettled());
    }
    const known = new Set([...this.events, ...this.#setAside].map(({ id }) => id));
    const others = [...stored.values()].filter(({ id }) => !known.has(id));
    if (!isContinued && others.length === 0) return false;
    for (const each of others) {
      const queued = this.#orphan(each);
      (this.#ownership.isOwn(queued) ? this.events : this.#setAside).push(queued);
    }
    this.#sort();
    for (const queued of this.events) queued.stage = "queued";
    this.#maxChars = Infinity;
    this.save();
    return true;
  }

  /** Put the events in the order of their numbers, and those without one behind them. */
  #sort() {
    this.events.sort((one, other) => (one.seq ?? Infinity) - (other.seq ?? Infinity) || 0);
  }

  /** Stop sending, as the connection is lost. @param {number} [suspicion] that an event is why */
  stopSending(suspicion = 0) {
    this.suspects.noteUnanswered(this.isSending, suspicion);
    this.#sender?.stop();
    this.#sender = null;
    for (const queued of this.events) queued.stage = "queued";
  }

  /** Queue all later events again, or discard them if the next one is no longer here. @param {number} seq */
  requeueAfter(seq) {
    const later = this.events.filter((queued) => !queued.isUpTo(seq));
    for (const queued of later) queued.stage = "queued";
    const next = later[0]?.seq ?? this.#durableSeq + 1;
    if (next > seq + 1) this.discard(later, "rolled_back");
  }

  /** Remove the events that have a reply and are stored. @param {number} seq of the last stored event */
  releaseUpTo(seq) {
    this.#durableSeq = Math.max(this.#durableSeq, seq);
    const stored = this.events.splice(0, this.#placeOf((queued) => !queued.isUpTo(this.#durableSeq)));
    const unanswered = stored.filter(({ isAnswered }) => !isAnswered);
    if (unanswered.length > 0) this.events = [...unanswered, ...this.events];
  }

  /** @param {QueuedEvent[]} events */
  remove(events) {
    const removed = new Set(events);
    this.events = this.events.filter((queued) => !removed.has(queued));
  }

  /** Remove events, and report them as lost. @param {QueuedEvent[]} events @param {LostReason} reason */
  discard(events, reason) {
    this.#drop(events.filter((queued) => !this.#ownership.isOwn(queued)));
    const own = events.filter((queued) => this.#ownership.isOwn(queued));
    this.remove(own);
    if (reason === "full") this.saveSoon();
    else this.save();
    for (const queued of own) queued.markLost(reason);
    if (own.length > 0) this.#emit("lost", { reason, events: own.map(toPageEvent) });
  }

  /** Discard all events, also those that were set aside. @param {LostReason} reason */
  discardAll(reason) {
    this.#setAside = [];
    this.#storage.forgetSettled();
    this.discard(this.events, reason);
  }

  /** Use the storage of a view that has its name now. @param {EventStorage} storage */
  use(storage) {
    this.#storage = storage;
    this.#maxChars = Infinity;
    this.#setAside = storage.load().map((stored) => this.#orphan(stored));
    this.events = [...storage.takeLeft().map((left) => this.#orphan(left)), ...this.events];
    this.#takeBack();
  }

  /** Leave all events to the storage, and accept no more. */
  handOver() {
    this.stopSending();
    this.save();
    this.#isClosed = true;
    const left = this.events;
    this.#storage.leave(left.filter(({ learned }) => !learned?.isGone));
    this.events = [];
    this.#setAside = [];
    this.#storage = new EventStorage("", "none");
    for (const queued of left) queued.markLost("closed");
  }

  /** Discard all events without a reply, and all that are added later. */
  close() {
    this.#isClosed = true;
    this.events = this.events.filter(({ isAnswered }) => !isAnswered);
    this.discardAll("left");
  }

  /** Store the events of those whose names are known: a later page must find out whether it may send them. */
  save() {
    this.#saveTimer.clear();
    const kept = this.events.filter(({ owner, learned }) => owner !== null && !learned?.isGone);
    const isStored = this.#storage.save([...this.#setAside, ...kept]);
    this.isKept = isStored && this.events.every(({ owner, isAnswered }) => owner !== null || isAnswered);
    for (const queued of this.events) queued.isStored = true;
    this.#emit("kept", this.isKept);
  }

  /** Store them now or, if that takes long, together with the next changes. */
  saveSoon() {
    if (this.events.length <= MAX_SAVED_AT_ONCE) this.save();
    else if (!this.#saveTimer.isSet) this.#saveTimer.set(SAVE_AFTER_MS, () => this.save());
  }

  /** Store what `saveSoon` has left, or the storage had no room for. */
  saveRest() {
    if (this.#saveTimer.isSet || !this.isKept) this.save();
  }

  /** Return whether an event may be added, and count it if so. @param {QueuedEvent} added */
  #hasRoomFor({ chars }) {
    const { maxKept, maxKeptChars } = this.#limits;
    this.#maxChars += chars;
    if (this.#maxChars > maxKeptChars) this.#maxChars = [...this.#setAside, ...this.events].reduce((sum, each) => sum + each.chars, chars);
    return this.#setAside.length + this.events.length < maxKept && this.#maxChars <= maxKeptChars;
  }

  /** Withdraw an event for which the page no longer waits, unless others behind it may count on its number.
   * @param {QueuedEvent} queued */
  #stopWaiting(queued) {
    if (queued.seq !== null) return queued.passTo(this.#orphanListener(queued));
    this.remove([queued]);
    this.save();
    queued.markLost("withdrawn");
  }

  /** Put the owner's events of an earlier page before those of this one. A join decides on the others. */
  #takeBack() {
    if (this.#ownership.owner === null) return;
    this.events = [...this.#setAside.filter((queued) => this.#ownership.isOwn(queued)), ...this.events];
    this.#setAside = this.#setAside.filter((queued) => !this.#ownership.isOwn(queued));
    this.#sort();
  }

  #dropForeign() {
    if (this.#setAside.length > 0) this.#storage.forgetSettled();
    this.#setAside = [];
    this.#drop(this.events.filter((queued) => !this.#ownership.isOwn(queued)));
  }

  /** Remove events without reporting them. @param {QueuedEvent[]} events */
  #drop(events) {
    this.remove(events);
    for (const queued of events) queued.markLost("owner");
  }

  /** Return an event of another page. @param {StoredEvent} stored */
  #orphan(stored) {
    return new QueuedEvent(stored, this.#orphanListener(stored));
  }

  /** @param {StoredEvent} pushed */
  #orphanListener(pushed) {
    const remember = (/** @type {string} */ id, /** @type {Settled} */ what) => this.#storage.settle(id, what);
    return orphanListener(pushed, remember, this.#emit);
  }
}
