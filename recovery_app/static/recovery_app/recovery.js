"use strict";
/**
 * The browser's part of state recovery: keeps the token of each view, sends it with every join, and queues the page's
 * events until the server has stored their effect.
 *
 *   Recovery          for a channel of the npm `phoenix` client
 *   LiveViewRecovery  for the npm LiveView client
 *   RecoverySocket    for a page without either: includes a small WebSocket client
 *
 * A token is a secret. It is sent in join payloads and stored in the tab's storage, never put into a URL or a log line.
 * Events are numbered, queued and resent, so that the server applies each of them exactly once.
 * Each belongs to the person it was pushed by, its owner, and is dropped if another person uses the tab.
 * The wire format is version 2 of the Phoenix channels protocol. See docs/client.md and docs/exactly-once.md.
 */

// ------------------------------------------------------------------------------------------------ Types

/** @typedef {"connecting" | "connected" | "disconnected"} Status */
/** @typedef {"sessionStorage" | "localStorage" | "none"} StorageKind */
// prettier-ignore
/** @typedef {"new" | "recovered" | "copied" | "expired" | "not_found" | "superseded" | "rejected" | "version" | "failed" | "unavailable"} Outcome */
/** @typedef {Record<string, any>} Payload */
/** @typedef {Payload | (() => Payload)} Params */
/** @typedef {(tries: number) => number} Backoff returns the milliseconds to wait before try 1, 2, 3, … */
/**
 * @typedef {object} OutcomeDetail detail of the event "outcome"
 * @property {Outcome | null} outcome null if the server doesn't recover this topic
 * @property {number} elapsedMs from the disconnect (for the page's first join: from its start) to the join's reply
 * @property {number | null} ttl in seconds
 * @property {Payload} response the response of the join, without the token
 * @property {boolean} isWaiting whether the view joins again for the state, and sends nothing until then
 */
/** @typedef {{ event: string, payload: Payload }} PageEvent */
/**
 * Why events were lost.
 *
 *   "rolled_back"  the server's storage lost an earlier event that it had already stored
 *   "full"         the queue was full
 *   "too_large"    the server accepts no message of that size, and closed the connection over it
 *   "undeliverable" three connections were cut, or servers crashed, when this event was next
 *   "superseded"   another page has continued the state, and its events have these numbers
 *   "left"         the page left the topic
 *   "forgotten"    the page discarded its token
 *   "closed"       the page closed the view, which keeps the event for the next one; in no "lost"
 *   "unconfirmed"  sent to a server without recovery, and the connection was lost before the reply
 *   "owner"        another person has joined since; such events are in no "lost"
 *
 * Any other value is the outcome of a join that didn't restore the state.
 * @typedef {"rolled_back" | "full" | "too_large" | "undeliverable" | "left" | "forgotten" | "closed" | "unconfirmed" | "owner" |
 *   Outcome | null} LostReason
 */
/** @typedef {{ reason: LostReason, events: PageEvent[] }} LostDetail detail of the event "lost" */
/** @typedef {{ status: string, response: any }} Reply status: "ok", "error", or "timeout" if there is no reply */
/** @typedef {PageEvent & Reply} ReplyDetail detail of the event "reply" */
/**
 * @typedef {object} Transport sends the events of a view; it must not buffer or resend them
 * @property {(event: string, payload: Payload, onReply: (reply: Reply) => void) => boolean} send returns false if it
 *   can't send now
 * @property {() => void} rejoin makes the joined channel join again
 * @property {() => boolean} [isBusy] whether what was sent is still leaving this machine
 * @property {() => void} [probe] finds out soon whether the connection is dead
 */
/**
 * @typedef {object} RecoveryOptions
 * @property {StorageKind} [storage] default: "sessionStorage"; with "localStorage", await `ready` before the first join
 * @property {string} [owner] whom the page was made for, and by which other names its connection may know them,
 *   separated by spaces; default: the attribute `data-recovery-owner` of an element
 * @property {number} [maxKept] maximum number of queued events
 * @property {number} [maxKeptChars] maximum total length of their payloads as JSON
 * @property {number} [timeoutMs] how long to wait for a reply before an event is resent
 * @property {Backoff} [rejoinAfterMs]
 */
/**
 * @typedef {object} PhoenixChannel the part used of the npm client's Channel
 * @property {(timeout?: number) => any} join
 * @property {(event: string, callback: (payload: any) => void) => unknown} on
 * @property {(callback: () => void) => unknown} onError
 * @property {(callback: () => void) => unknown} onClose
 * @property {(...what: any) => any} push
 */
/**
 * @template [C=any]
 * @typedef {object} PhoenixSocket the part used of the npm client's Socket
 * @property {(topic: string, params?: any) => C} channel
 * @property {(callback: (event: any) => void) => unknown} [onClose]
 */

var RecoveryApp = (() => {
  // ---------------------------------------------------------------------------------------------- Backoff

  /**
   * Return a backoff with full jitter: a random time between zero and a bound that doubles with each try. It spreads
   * out the clients that reconnect after a server restart.
   * @param {number} baseMs @param {number} capMs @returns {Backoff}
   */
  function fullJitter(baseMs, capMs) {
    return (tries) => Math.random() * Math.min(capMs, baseMs * 2 ** (tries - 1));
  }

  /** The backoff after a lost connection; also an option of the npm clients. */
  const reconnectAfterMs = fullJitter(100, 5_000);

  /** The backoff after a refused join or a crashed channel; also an option of the npm clients. */
  const rejoinAfterMs = fullJitter(1_000, 10_000);

  // ---------------------------------------------------------------------------------------------- Tokens

  /** How long a reloaded page waits for the previous page to release its lock. */
  const LOCK_TIMEOUT_MS = 500;

  /** Return the result of `action`, or null if it throws, as any access to a storage may.
   * @template T @param {() => T} action @returns {T | null} */
  function tryOrNull(action) {
    try {
      return action();
    } catch {
      return null;
    }
  }

  /** Return the key of a view's token. That of its events ends with ":events", which no view's name must bring about.
   * @param {string} viewId */
  function keyOf(viewId) {
    return `lv_recovery_${viewId.replaceAll(":events", "%3Aevents")}`;
  }

  /** Return a word that no other page has. */
  function randomWord() {
    return Math.random().toString(36).slice(2, 12);
  }

  /** Acquire a Web Lock. Return a function that releases it, or null if the lock isn't available.
   * @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} */
  function requestLock(name, options) {
    return new Promise((resolve, reject) => {
      const hold = (/** @type {Lock | null} */ granted) => {
        if (granted === null) return resolve(null);
        return /** @type {Promise<void>} */ (new Promise((release) => resolve(release)));
      };
      globalThis.navigator.locks.request(name, options, hold).catch(reject);
    });
  }

  /** Acquire a lock that is free, or that the previous page is about to release. @param {string} name */
  async function acquirePageLock(name) {
    const free = await requestLock(name, { ifAvailable: true });
    if (free !== null) return free;
    const timeout = new AbortController();
    setTimeout(() => timeout.abort(), LOCK_TIMEOUT_MS);
    return requestLock(name, { signal: timeout.signal });
  }

  /** @type {Map<string, TokenStore>} */
  const tokenStores = new Map();

  /** The token of one view, in memory and, if there is one, in the browser's storage. */
  class TokenStore {
    /** @type {string | null} */ #token;
    /** @type {StorageKind} */ #storage;
    #key;
    #isPresented = false;
    /** Whether the browser's storage has the token. */ #isStored = false;

    /** Return the page's only store for a view. @param {string} viewId @param {StorageKind} storage */
    static forView(viewId, storage) {
      const name = `${storage} ${viewId}`;
      const store = tokenStores.get(name) ?? new TokenStore(viewId, storage);
      tokenStores.set(name, store);
      return store;
    }

    /** @param {string} viewId @param {StorageKind} storage */
    constructor(viewId, storage) {
      this.#key = keyOf(viewId);
      this.#storage = storage === "localStorage" ? "sessionStorage" : storage;
      this.#token = this.#read();
      this.#isStored = this.#token !== null;
      /** Resolves when this tab's token is known, which takes time only with localStorage. */
      this.ready = storage === "localStorage" ? this.#acquireOwnership() : Promise.resolve();
    }

    get token() {
      return this.#token;
    }

    /** Return the token to send with a join. */
    present() {
      this.#isPresented = true;
      return this.#token;
    }

    /** @param {string} token */
    save(token) {
      this.#token = token;
      tryOrNull(() => this.#webStorage()?.setItem(this.#key, token));
      this.#isStored = this.#read() === token;
    }

    /** Take the token that another page of this tab has stored while this one slept. Return whether there is one, or
     * whether that page has removed it. */
    readAgain() {
      const stored = this.#read();
      if (stored === this.#token || (stored === null && !this.#isStored)) return false;
      this.#token = stored;
      this.#isStored = stored !== null;
      return true;
    }

    remove() {
      this.#token = null;
      tryOrNull(() => this.#webStorage()?.removeItem(this.#key));
    }

    /**
     * Become the owner of the token in localStorage, if no other tab is. A tab that has a token in sessionStorage, or
     * that has joined already, keeps using sessionStorage: two tabs must never send the same token.
     */
    async #acquireOwnership() {
      if (this.#token !== null) return;
      const release = await acquirePageLock(this.#key).catch(() => null);
      if (this.#isPresented || this.#token !== null) return release?.();
      if (release === null) return;
      this.#storage = "localStorage";
      this.#token = this.#read();
      this.#isStored = this.#token !== null;
    }

    #read() {
      return tryOrNull(() => this.#webStorage()?.getItem(this.#key)) || null;
    }

    /** @returns {Storage | null} */
    #webStorage() {
      return this.#storage === "none" ? null : globalThis[this.#storage];
    }
  }

  // ---------------------------------------------------------------------------------------------- Events

  /** After how many cuts, or crashes of a server, an event that was next is given up. */
  const MAX_CUTS = 3;

  /** How long a connection has to hold before an event is sent that is about to be given up. */
  const SUSPECT_AFTER_MS = 1_000;

  /** How many events may await a reply at the same time. The server keeps its replies to twice as many. */
  const MAX_IN_FLIGHT = 32;

  /** The close code for a message that is larger than the server accepts. */
  const CLOSE_TOO_LARGE = 1009;

  /** Why an event has no reply, or an error as its reply. `name` tells the cases apart. */
  class EventError extends Error {
    /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
    constructor({ event, payload }, reason, response) {
      super(`the event ${event} has no reply: ${reason}`);
      const names = {
        refused: "EventRefused",
        unconfirmed: "EventUnconfirmed",
        closed: "EventUnconfirmed",
        full: "QueueFull",
      };
      this.name = /** @type {Record<string, string>} */ (names)[reason ?? ""] ?? "EventLost";
      Object.assign(this, { event, payload, reason, response });
    }
  }

  /** How deeply a payload may be nested. The server's JSON parser rejects more, and then never replies. */
  const MAX_DEPTH = 500;

  /** @param {unknown} value @param {number} levels @returns {boolean} */
  function isDeeperThan(value, levels) {
    if (value === null || typeof value !== "object") return false;
    return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
  }

  /** Return a copy of an event. Throw a TypeError for one that no server accepts, as it would block those after it.
   * @param {string} event @param {Payload} payload @returns {PageEvent} */
  function copyEvent(event, payload) {
    if (typeof event !== "string") throw new TypeError("an event's name must be a string");
    if (event.startsWith("phx_")) throw new TypeError(`${event} is reserved by the protocol`);
    const copy = JSON.parse(JSON.stringify(payload));
    if (copy === null || typeof copy !== "object" || Array.isArray(copy)) {
      throw new TypeError("a payload must be an object");
    }
    if (isDeeperThan(copy, MAX_DEPTH)) throw new TypeError(`a payload may be nested at most ${MAX_DEPTH} levels deep`);
    return { event, payload: copy };
  }

  /** @typedef {string | null} Owner a name for a person, by the server; null if not known */
  /**
   * @typedef {object} EventFields
   * @property {string} id a random word, by which another page of the tab knows the event
   * @property {number | null} seq
   * @property {string | null} line by whom it was numbered: null if not known
   * @property {boolean} isEarly
   * @property {boolean} isAnswered
   * @property {number} cuts how many connections were cut when it was next
   * @property {Owner} owner
   * @typedef {PageEvent & EventFields} StoredEvent
   */
  /** @typedef {[line: string, first: number]} Line the events that one page has numbered, from the first on */
  /** @typedef {{ seq: number, lines: Line[], errors: number[] }} Original the events in a state that was copied */
  /** @typedef {{ onReply(reply: Reply): void, onLost(error: Error): void }} Listener one of them is called, once */

  /** An event of the page, from its push until the server has stored its effect. */
  class QueuedEvent {
    /** How far it is on the current connection. @type {"queued" | "sent" | "replied"} */
    stage = "queued";
    /** Whether the tab's storage has it with its number. */
    isStored = false;
    #listener;

    /** @param {StoredEvent} stored @param {Listener} listener */
    constructor({ id, event, payload, seq, line, isEarly, isAnswered, cuts, owner }, listener) {
      this.id = id ?? randomWord();
      this.event = event;
      this.payload = payload;
      /** Its number among all events of the view. Assigned once, after a join that tells the last one used. */
      this.seq = seq;
      this.line = line ?? null;
      this.cuts = cuts ?? 0;
      /** Whether it was pushed before the first join. Such an event is valid for any state. */
      this.isEarly = isEarly;
      this.isAnswered = isAnswered;
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

    get sizeBytes() {
      return new TextEncoder().encode(JSON.stringify([this.event, this.payload])).length;
    }

    /** @param {number} seq */
    isUpTo(seq) {
      return this.seq !== null && this.seq <= seq;
    }

    /** Return whose line the number belongs to in a state. @param {Line[]} lines @returns {string | undefined} */
    lineIn(lines) {
      return lines.filter(([, first]) => this.seq !== null && first <= this.seq).at(-1)?.[0];
    }

    /** @returns {StoredEvent} */
    toJSON() {
      const { id, event, payload, seq, line, isEarly, isAnswered, cuts, owner } = this;
      return { id, event, payload, seq, line, isEarly, isAnswered, cuts, owner };
    }
  }

  /** Return whether a value has the shape that `toJSON` returns: a storage may contain anything. @param {any} stored */
  function isStoredEvent(stored) {
    const { event, payload, seq, owner } = stored ?? {};
    const isEvent = typeof event === "string" && payload instanceof Object && (seq === null || seq > 0);
    return isEvent && typeof owner === "string" && owner !== "";
  }

  /** How many lines of a state the server remembers, with the first number of each. */
  const MAX_LINES = 16;

  /** How many events of other pages, and how many characters of their replies, are remembered as settled. */
  const [MAX_SETTLED, MAX_SETTLED_CHARS] = [100, 100_000];

  /** Up to how many events are stored at each change. More are stored together, after so long or when the page is left. */
  const [MAX_SAVED_AT_ONCE, SAVE_AFTER_MS] = [64, 250];

  /** What a page has learned of another page's event. @typedef {{ reply?: Reply, reason?: LostReason }} Settled */

  /** The events of one view in the tab's storage, under `lv_recovery_<viewId>:events`. */
  class EventStorage {
    #key;
    #getStorage;

    /** @param {string} viewId @param {StorageKind} storage */
    constructor(viewId, storage) {
      this.#key = `${keyOf(viewId)}:events`;
      this.#getStorage = () => (storage === "none" ? null : globalThis.sessionStorage);
    }

    /** @returns {StoredEvent[]} */
    load() {
      return tryOrNull(() => JSON.parse(this.#getStorage()?.getItem(this.#key) ?? "").filter(isStoredEvent)) ?? [];
    }

    /** What pages of this tab have learned of events that others had pushed, by their ids. @returns {Map<string, Settled>} */
    loadSettled() {
      return tryOrNull(() => new Map(JSON.parse(this.#getStorage()?.getItem(`${this.#key}:settled`) ?? ""))) ?? new Map();
    }

    /** Remember for the page that has pushed an event what became of it: that page may only sleep.
     * @param {string} id @param {Settled} what */
    settle(id, what) {
      const settled = [...this.loadSettled(), [id, what]].slice(-MAX_SETTLED);
      while (JSON.stringify(settled).length > MAX_SETTLED_CHARS) settled.shift();
      tryOrNull(() => this.#getStorage()?.setItem(`${this.#key}:settled`, JSON.stringify(settled)));
    }

    forgetSettled() {
      tryOrNull(() => this.#getStorage()?.removeItem(`${this.#key}:settled`));
    }

    /** @param {QueuedEvent[]} events */
    save(events) {
      const isSaved = tryOrNull(() => {
        if (events.length > 0) this.#getStorage()?.setItem(this.#key, JSON.stringify(events));
        return events.length > 0;
      });
      // an outdated copy is worse than none: it may contain, as never sent, events that were sent since
      if (!isSaved) tryOrNull(() => this.#getStorage()?.removeItem(this.#key));
    }
  }

  /**
   * The events of one view, oldest first. Each stays until the server has stored its effect or it is reported as lost.
   *
   * Stored events are set aside until it is known whether they belong to the page's owner. The queue decides what a join
   * means for its events; a `Sender` sends them.
   */
  class EventQueue {
    /** @type {QueuedEvent[]} */ events = [];
    /** Stored events that nobody sees until their owner is known. @type {QueuedEvent[]} */ #setAside;
    /** Whom the page acts for. @type {Owner} */ #owner;
    /** Whom the page was made for, if it knows that itself, and other names of theirs. @type {string[]} */ #namesOfPage;
    /** @type {Sender | null} */ #sender = null;
    /** The events without a reply when the connection was lost. @type {QueuedEvent[]} */ #unanswered = [];
    /** Whether one of them may be why. */ #wasCut = false;
    /** Whether an event that is about to be given up waits, or waited, until the connection had held. */ #holds = false;
    /** By whom this page's numbers are assigned in the current state. */ line = randomWord();
    /** The event over whose size the connection seems to have been closed. @type {QueuedEvent | null} */ #tooLarge = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #saveTimer;
    #durableSeq = 0;
    #hasJoined = false;
    #isClosed = false;
    #storage;
    #limits;
    #emit;

    /** @typedef {{ maxKept: number, maxKeptChars: number }} Limits */
    /** @typedef {(type: string, detail: unknown) => void} Emit */
    /** @param {EventStorage} storage @param {Limits} limits @param {string[]} namesOfPage @param {Emit} emit */
    constructor(storage, limits, namesOfPage, emit) {
      this.#storage = storage;
      this.#limits = limits;
      this.#namesOfPage = namesOfPage;
      this.#owner = namesOfPage[0] ?? null;
      this.#emit = emit;
      this.#setAside = storage.load().map((stored) => new QueuedEvent(stored, this.#orphanListener(stored)));
      if (this.#owner !== null) this.#takeBack();
    }

    /** The events without a reply. */
    get pending() {
      return this.events.filter((queued) => !queued.isAnswered && this.#isOwn(queued));
    }

    /** Add an event, and return a promise for its reply. @param {string} event @param {Payload} payload */
    add(event, payload) {
      /** @type {PageEvent} */ let copy;
      try {
        copy = copyEvent(event, payload);
      } catch (error) {
        return Promise.reject(error); // a mistake of the page's, which the console shows unless it is caught
      }
      const reply = new Promise((/** @type {(response: Payload) => void} */ resolve, reject) => {
        const numbers = { id: randomWord(), seq: null, line: null, cuts: 0 };
        const state = { ...numbers, isEarly: !this.#hasJoined, isAnswered: false, owner: this.#owner };
        const stored = { ...copy, ...state };
        const queued = new QueuedEvent(stored, {
          onReply: ({ status, response }) =>
            status === "ok" ? resolve(response) : reject(new EventError(stored, "refused", response)),
          onLost: reject,
        });
        if (this.#isClosed) this.discard([queued], "left");
        else if (!this.#hasRoomFor(queued)) this.discard([queued], "full");
        else this.#enqueue(queued);
      });
      reply.catch(() => {}); // pages may listen to "lost" instead of catching each promise
      return reply;
    }

    /**
     * Continue after the last event of a recovered state. Otherwise discard the events of the previous state, which
     * must not be applied to a fresh one.
     * @param {Outcome | null} outcome @param {number} seq of the last event in the state
     * @param {{ lines?: Line[], original?: Original }} [told]
     */
    handleJoin(outcome, seq, { lines = [], original } = {}) {
      this.#dropForeign();
      if (outcome === "recovered") {
        this.#discardTooLarge(seq);
        this.#discardTaken(seq, lines);
        this.#discardUndeliverable(seq);
        this.requeueAfter(seq);
      } else {
        if (original) this.#settleApplied(original);
        // the state that was copied may have come from a duplicate of the tab, with the same early events
        const isCopy = original !== undefined;
        this.discard(this.events.filter(({ isEarly }) => isCopy || !isEarly), outcome);
        if (this.#hasJoined) this.line = randomWord();
      }
      this.#wasCut = false;
      this.#durableSeq = seq;
      this.releaseUpTo(seq);
      this.#hasJoined = true;
      for (const queued of this.events) queued.isEarly = false;
      this.save();
    }

    /**
     * Act for the person that the server has named. If the page continues its state under another name, after a login
     * say, its events go with the state. Those that are set aside, which are of an earlier page, only go along if the
     * server has named the same person by an alias.
     * @param {Owner} named @param {boolean} continues @param {string[]} [aliases]
     */
    setOwner(named, continues, aliases = []) {
      const owner = named ?? this.#namesOfPage[0] ?? null;
      const isAlias = (/** @type {QueuedEvent} */ queued) => queued.owner !== null && aliases.includes(queued.owner);
      const own = this.events.filter((queued) => continues || isAlias(queued) || this.#isEarlyFor(owner, queued));
      for (const queued of [...own, ...this.#setAside.filter(isAlias)]) queued.owner = owner;
      this.#owner = owner;
      if (owner !== null) this.#takeBack();
    }

    /** Forget events that were pushed when nobody had joined: somebody else may be at the page by now. */
    dropUnowned() {
      this.#namesOfPage = this.#namesOfPage.slice(0, 1);
      this.#drop(this.events.filter((queued) => this.#isEarlyAndUnowned(queued)));
    }

    /** Send the queued events, and those added later, until `stopSending`. @param {Sender} sender */
    startSending(sender) {
      this.#sender = sender;
      this.#unanswered = [];
      sender.flush();
    }

    /**
     * Read again what the tab's storage has, as this page may have slept while others continued its queue: an event is
     * still there, or it was settled by another page, or its number tells. Those of other pages are sent by this one now.
     */
    readAgain() {
      const stored = new Map(this.#storage.load().map((each) => [each.id, each]));
      const settled = this.#storage.loadSettled();
      for (const queued of [...this.events]) {
        const { seq, line, cuts } = stored.get(queued.id) ?? queued;
        Object.assign(queued, { seq, line, cuts });
        const { reply, reason } = settled.get(queued.id) ?? {};
        if (reply) queued.handleReply(reply);
        if (stored.delete(queued.id) || queued.owner === null) continue;
        if (reply) this.remove([queued]);
        else if (reason !== undefined || queued.seq === null) this.discard([queued], reason ?? "superseded");
      }
      this.#setAside = [...stored.values()].map((each) => new QueuedEvent(each, this.#orphanListener(each)));
      if (this.#owner !== null) this.#takeBack();
      this.events.sort((one, other) => (one.seq ?? Infinity) - (other.seq ?? Infinity) || 0);
      for (const queued of this.events) queued.stage = "queued";
      this.save();
    }

    /** The first event without a reply, if connections were cut when it was next. */
    get suspect() {
      const first = this.events.find(({ isAnswered }) => !isAnswered);
      return first !== undefined && first.cuts > 0 ? first : undefined;
    }

    /** Return whether to send nothing until the connection has held for a while. If it is cut before that, the event is
     * sent at once on the next one, which then proves nothing: a line that is cut all the time must not block it. */
    holdSuspect() {
      this.#holds = !this.#holds && this.suspect?.cuts === MAX_CUTS - 1;
      return this.#holds;
    }

    /** Note that the connection was not lost over an event. */
    absolve() {
      this.#wasCut = false;
    }

    /** Stop sending, as the connection is lost. @param {boolean} [wasCut] whether an event may be why */
    stopSending(wasCut = false) {
      if (this.#sender) {
        this.#unanswered = this.events.filter(({ stage }) => stage === "sent");
        this.#wasCut = wasCut;
      }
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
      this.events = this.events.filter((queued) => !(queued.isAnswered && queued.isUpTo(this.#durableSeq)));
    }

    /** @param {QueuedEvent[]} events */
    remove(events) {
      this.events = this.events.filter((queued) => !events.includes(queued));
    }

    /** Remove events, and report them as lost. @param {QueuedEvent[]} events @param {LostReason} reason */
    discard(events, reason) {
      this.#drop(events.filter((queued) => !this.#isOwn(queued)));
      const own = events.filter((queued) => this.#isOwn(queued));
      this.remove(own);
      if (reason === "full") this.saveSoon();
      else this.save();
      for (const queued of own) queued.markLost(reason);
      if (own.length > 0) this.#emit("lost", { reason, events: own.map(toPageEvent) });
    }

    /** Note that the server closed the connection over the size of a message: of the largest that was being sent. */
    suspectLargest() {
      this.#tooLarge = this.#largestUnanswered ?? null;
    }

    get largestBytes() {
      return this.#largestUnanswered?.sizeBytes ?? 0;
    }

    get #largestUnanswered() {
      const sent = this.#unanswered.filter((queued) => this.events.includes(queued));
      return sent.sort((one, other) => other.sizeBytes - one.sizeBytes).at(0);
    }

    /**
     * Discard the event that seemed too large, unless the state contains it: the message may have been another. The
     * state contains none of the events after it either, so they get new numbers.
     * @param {number} seq of the last event in the state
     */
    #discardTooLarge(seq) {
      const tooLarge = this.#tooLarge;
      this.#tooLarge = null;
      if (!tooLarge || tooLarge.isUpTo(seq) || !this.events.includes(tooLarge)) return;
      this.#skip(tooLarge, "too_large");
    }

    /** Discard an event that the state doesn't contain: it contains none of those after it, which get new numbers.
     * @param {QueuedEvent} skipped @param {LostReason} reason */
    #skip(skipped, reason) {
      for (const queued of this.events.slice(this.events.indexOf(skipped) + 1)) queued.seq = null;
      this.discard([skipped], reason);
    }

    /** Discard the next event if it has been next, and sent, when too many connections were cut.
     * @param {number} seq of the last event in the state */
    #discardUndeliverable(seq) {
      const next = this.events.find((queued) => !queued.isUpTo(seq));
      if (!this.#wasCut || !next || !this.#unanswered.includes(next)) return;
      if (next.cuts === MAX_CUTS - 1 && !this.#holds) return;
      next.cuts += 1;
      if (next.cuts >= MAX_CUTS) this.#skip(next, "undeliverable");
    }

    /** Discard events whose numbers are those of another page's events in the state, and all that were numbered after
     * them. @param {number} seq of the last event in the state @param {Line[]} lines */
    #discardTaken(seq, lines) {
      // nobody knows whose the numbers before all the lines were that the server remembers
      const forgotten = (/** @type {QueuedEvent} */ queued) => (lines.length < MAX_LINES ? queued.line : "");
      const isTaken = (/** @type {QueuedEvent} */ queued) =>
        queued.isUpTo(seq) && queued.line !== null && (queued.lineIn(lines) ?? forgotten(queued)) !== queued.line;
      const first = this.events.findIndex(isTaken);
      if (first >= 0) this.discard(this.events.slice(first).filter((queued) => queued.seq !== null), "superseded");
    }

    /** Settle the events that a copied state is known to contain. @param {Original} original */
    #settleApplied({ seq, lines, errors }) {
      for (const queued of [...this.events]) {
        if (!queued.isUpTo(seq) || queued.line === null || queued.lineIn(lines) !== queued.line) continue;
        queued.handleReply({ status: errors.includes(Number(queued.seq)) ? "error" : "ok", response: {} });
        this.remove([queued]);
      }
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
      this.#setAside = storage.load().map((stored) => new QueuedEvent(stored, this.#orphanListener(stored)));
      if (this.#owner !== null) this.#takeBack();
    }

    /** Leave all events to the storage, and accept no more. */
    handOver() {
      this.stopSending();
      this.save();
      this.#isClosed = true;
      const left = this.events;
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
      clearTimeout(this.#saveTimer);
      this.#saveTimer = undefined;
      this.#storage.save([...this.#setAside, ...this.events.filter(({ owner }) => owner !== null)]);
      for (const queued of this.events) queued.isStored = true;
    }

    /** Store them now or, if that takes long, together with the next changes. */
    saveSoon() {
      if (this.events.length <= MAX_SAVED_AT_ONCE) this.save();
      else this.#saveTimer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
    }

    /** Store what `saveSoon` has left. */
    saveRest() {
      if (this.#saveTimer !== undefined) this.save();
    }

    /** Put the owner's events of an earlier page before those of this one. A join decides on the others. */
    #takeBack() {
      this.events.unshift(...this.#setAside.filter((queued) => this.#isOwn(queued)));
      this.#setAside = this.#setAside.filter((queued) => !this.#isOwn(queued));
    }

    #dropForeign() {
      if (this.#setAside.length > 0) this.#storage.forgetSettled();
      this.#setAside = [];
      this.#drop(this.events.filter((queued) => !this.#isOwn(queued)));
    }

    /** Remove events without reporting them. @param {QueuedEvent[]} events */
    #drop(events) {
      this.remove(events);
      for (const queued of events) queued.markLost("owner");
    }

    /** @param {QueuedEvent} queued */
    #isOwn(queued) {
      return queued.owner === this.#owner;
    }

    /** @param {QueuedEvent} queued */
    #isEarlyAndUnowned({ owner, isEarly }) {
      return owner === null && isEarly;
    }

    /** Return whether an event from before the first join is of the person who has joined, as far as the page knows.
     * @param {Owner} joined @param {QueuedEvent} queued */
    #isEarlyFor(joined, queued) {
      const [ownerOfPage] = this.#namesOfPage;
      const isOfPage = queued.owner === ownerOfPage && this.#namesOfPage.includes(joined ?? "");
      return this.#isEarlyAndUnowned(queued) || (queued.isEarly && isOfPage);
    }

    /** @param {QueuedEvent} queued */
    #hasRoomFor({ chars }) {
      const { maxKept, maxKeptChars } = this.#limits;
      const events = [...this.#setAside, ...this.events];
      return events.length < maxKept && events.reduce((sum, each) => sum + each.chars, chars) <= maxKeptChars;
    }

    /** @param {QueuedEvent} queued */
    #enqueue(queued) {
      this.events.push(queued);
      if (this.#sender) this.#sender.flush();
      else this.saveSoon();
    }

    /** Return a listener for an event whose promise was lost with a reload, or belongs to a page that sleeps.
     * @param {StoredEvent} pushed @returns {Listener} */
    #orphanListener(pushed) {
      const settle = (/** @type {Settled} */ what) => pushed.id && this.#storage.settle(pushed.id, what);
      return {
        onReply: (reply) => {
          settle({ reply });
          this.#emit("reply", { ...toPageEvent(pushed), ...reply });
        },
        onLost: (error) => settle({ reason: /** @type {any} */ (error).reason }),
      };
    }
  }

  /** Return the names of the person that the page was made for, if it knows any. @param {string} [given] */
  function namesOfPage(given) {
    const element = tryOrNull(() => globalThis.document?.querySelector("[data-recovery-owner]"));
    const names = given || /** @type {HTMLElement | null} */ (element)?.dataset.recoveryOwner || "";
    return names.split(" ").filter((name) => name !== "");
  }

  /** Return whether the page is being prepared and isn't shown yet: its storage may be a copy. */
  function isPrerendering() {
    return Boolean(/** @type {any} */ (globalThis.document)?.prerendering);
  }

  /** Return the public part of an event. @param {PageEvent} queued @returns {PageEvent} */
  function toPageEvent({ event, payload }) {
    return { event, payload };
  }

  /**
   * The sender of a queue's events from one join until the next disconnect: in order, a limited number at a time, and
   * again if there is no reply.
   *
   * `isNumbered`: whether the server recognizes repeated events. Otherwise none is resent.
   * `hasLines`: whether the server knows whose numbers are whose.
   * @typedef {Transport & { seq: number, isNumbered: boolean, hasLines: boolean, timeoutMs: number }} SenderOptions
   */
  class Sender {
    #queue;
    #options;
    /** The highest number that was applied or sent. */ #lastSentSeq;
    #round = 0;
    /** The event before the last gap that was handled. @type {number | null} */ #lastGap = null;
    #isStopped = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #holdTimer;

    /** @param {EventQueue} queue @param {SenderOptions} options */
    constructor(queue, options) {
      this.#queue = queue;
      this.#options = options;
      this.#lastSentSeq = options.seq;
      if (options.isNumbered && queue.holdSuspect()) {
        this.#holdTimer = setTimeout(() => {
          this.#holdTimer = undefined;
          this.flush();
        }, SUSPECT_AFTER_MS);
      }
    }

    /**
     * Send as many events as allowed. All queued events get their numbers, and are stored with them, before any is
     * sent: a tab that is duplicated now must not assign other numbers to events that the state already contains.
     */
    flush() {
      if (this.#isStopped) return this.#queue.saveSoon();
      const room = this.#options.isNumbered ? this.#room() : Infinity;
      const waiting = this.#inStage("queued");
      let last = this.#lastAssignedSeq();
      for (const queued of waiting) if (queued.seq === null) Object.assign(queued, { line: this.#queue.line, isStored: false });
      for (const queued of waiting) queued.seq ??= ++last;
      // a larger number could make the server drop its reply to the first event that awaits one
      const maxSeq = this.#options.isNumbered ? this.#acknowledgedSeq() + MAX_IN_FLIGHT : Infinity;
      const ready = waiting.slice(0, room).filter(({ seq }) => Number(seq) <= maxSeq);
      for (const queued of ready) queued.stage = "sent";
      if (ready.some(({ isStored }) => !isStored)) this.#queue.save();
      else this.#queue.saveSoon();
      for (const queued of ready) this.#send(queued);
      this.#startTimer();
    }

    /** Stop sending and ignore later replies. */
    stop() {
      this.#isStopped = true;
      clearTimeout(this.#timer);
      clearTimeout(this.#holdTimer);
      if (!this.#options.isNumbered) this.#queue.discard(this.#inStage("sent"), "unconfirmed");
    }

    /** Return how many events may be sent now. A suspect is sent alone. */
    #room() {
      if (this.#holdTimer !== undefined) return 0;
      return Math.max(0, (this.#queue.suspect ? 1 : MAX_IN_FLIGHT) - this.#inStage("sent").length);
    }

    /** @param {QueuedEvent} queued */
    #send(queued) {
      const round = this.#round;
      this.#lastSentSeq = Math.max(this.#lastSentSeq, queued.seq ?? 0);
      const numbers = this.#options.isNumbered ? { _seq: queued.seq, _ack: this.#acknowledgedSeq() } : {};
      if (this.#options.hasLines && queued.line !== null) Object.assign(numbers, { _line: queued.line });
      const isSent = this.#options.send(queued.event, { ...queued.payload, ...numbers }, (reply) => {
        if (!this.#isStopped) this.#handleReply(queued, reply, round);
      });
      if (!isSent) queued.stage = "queued";
    }

    /** @param {QueuedEvent} queued @param {Reply} reply @param {number} round in which it was sent */
    #handleReply(queued, { status, response }, round) {
      const { _recovery, ...rest } = response ?? {};
      if (status === "timeout") return this.#handleTimeout(queued);
      if (_recovery && status === "error" && rest.reason === "seq_gap") return this.#handleGap(rest.seq, round);
      if (_recovery && status === "error" && rest.reason === "seq_taken") return this.#handleTaken(queued);
      if (this.#options.isNumbered && !_recovery && rest.reason === "unmatched topic") return this.#options.rejoin();
      this.#lastGap = null;
      queued.handleReply({ status, response: rest });
      if (_recovery) this.#queue.releaseUpTo(_recovery.seq);
      else this.#queue.remove([queued]);
      this.#clearTimer();
      this.flush();
    }

    /** Discard an event after the transport's timeout, unless it can be resent. @param {QueuedEvent} queued */
    #handleTimeout(queued) {
      if (!this.#options.isNumbered && queued.stage === "sent") this.#queue.discard([queued], "unconfirmed");
    }

    /**
     * Resend all events after the last one that the server has applied. It reports the gap for each event behind it,
     * so only the first report in a round counts. If the same gap is reported again, the resend timer deals with it.
     * @param {number} applied @param {number} round
     */
    #handleGap(applied, round) {
      if (round !== this.#round || applied === this.#lastGap) return;
      this.#lastGap = applied;
      this.#round += 1;
      this.#lastSentSeq = applied;
      this.#queue.requeueAfter(applied);
      this.#clearTimer();
      this.flush();
    }

    /** Discard an event whose number is another page's. @param {QueuedEvent} queued */
    #handleTaken(queued) {
      this.#queue.discard([queued], "superseded");
      this.#clearTimer();
      this.flush();
    }

    /** Wait for any reply before resending on the same connection: a handler may just be slow. */
    #startTimer() {
      if (!this.#options.isNumbered || this.#queue.events.length === 0) return;
      this.#timer ??= setTimeout(() => this.#resend(), this.#options.timeoutMs);
    }

    #resend() {
      this.#clearTimer();
      // what was sent is still on its way: a second copy would only be slower
      if (this.#options.isBusy?.()) return this.#startTimer();
      this.#options.probe?.();
      this.#round += 1;
      for (const queued of this.#inStage("sent")) queued.stage = "queued";
      // only a reply tells what was stored since the last one, and a full queue would never send again without it
      const last = this.#queue.events.at(-1);
      if (last && this.#inStage("replied").length === this.#queue.events.length) last.stage = "queued";
      this.flush();
    }

    #clearTimer() {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }

    /** @param {QueuedEvent["stage"]} stage */
    #inStage(stage) {
      return this.#queue.events.filter((queued) => queued.stage === stage);
    }

    /** Return the highest number up to which every event has its reply. */
    #acknowledgedSeq() {
      const first = this.#queue.events.find(({ isAnswered }) => !isAnswered);
      return (first?.seq ?? this.#lastAssignedSeq() + 1) - 1;
    }

    #lastAssignedSeq() {
      return this.#queue.events.reduce((last, { seq }) => Math.max(last, seq ?? 0), this.#lastSentSeq);
    }
  }

  // ---------------------------------------------------------------------------------------------- Recovery

  /** Outcomes after which the state may still be recovered: a page that has shown a token sends nothing until a later
   * join does so, or until it has waited for long enough. */
  const RETRY_OUTCOMES = ["version", "unavailable"];

  /** How long a page waits for its state at most. */
  const MAX_WAIT_MS = 60_000;

  /** Close codes by which a connection may have been lost over an event: not those of a server that stops or refuses. */
  const CUT_CODES = [1002, 1003, 1005, 1006, 1007, 1011];

  /** Outcomes by which the server tells that the token is this person's. */
  const CONTINUING_OUTCOMES = ["recovered", "copied"];

  /**
   * The recovery of one view: its token, its events, the status of its connection, and the outcome of its last join.
   *
   * Dispatches "status" (detail: a Status), "outcome" (an OutcomeDetail), "lost" (a LostDetail), and "reply" (a
   * ReplyDetail, for an event that was pushed before the page was reloaded).
   * Other clients call `joinPayload`, `joined`, `dropped`, `keep` and, to send events, `carry`.
   */
  class Recovery extends EventTarget {
    /** @type {WeakMap<object, EventQueue[]>} */ static #queuesOn = new WeakMap();
    #tokens;
    #queue;
    #storage;
    #listeners = new AbortController();
    #timeoutMs;
    #rejoinAfterMs;
    /** @type {Transport | null} */ #transport = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #rejoinTimer;
    #retries = 0;
    #isForgotten = false;
    /** Whether the last join had a token. */ #showsToken = false;
    /** Until when to wait for the state. @type {number | null} */ #waitUntil = null;
    /** Counts what happens to the connection. */ #changes = 0;
    #isActive;
    /** @type {number | null} */ #offlineSince = null;
    /** @type {Status} */ status = "disconnected";
    /** @type {Outcome | null} */ outcome = null;

    /**
     * @param {string | null} viewId part of the storage key: `lv_recovery_<viewId>`; null until `nameView`
     * @param {RecoveryOptions} [options]
     */
    constructor(viewId, options = {}) {
      super();
      // half of what browsers allow, as the page may use the same storage
      const { storage = "sessionStorage", maxKept = 1_000, maxKeptChars = 2_500_000 } = options;
      const limits = { maxKept, maxKeptChars };
      if (!["sessionStorage", "localStorage", "none"].includes(storage)) {
        throw new TypeError(`storage must be "sessionStorage", "localStorage" or "none", not ${storage}`);
      }
      this.#storage = storage;
      this.#tokens = viewId === null ? new TokenStore("", "none") : TokenStore.forView(viewId, storage);
      const emit = (/** @type {string} */ type, /** @type {unknown} */ detail) => this.tell(type, detail);
      this.#queue = new EventQueue(
        new EventStorage(viewId ?? "", viewId === null ? "none" : storage),
        limits,
        namesOfPage(options.owner),
        emit,
      );
      const listening = { capture: true, signal: this.#listeners.signal };
      const show = (/** @type {any} */ { persisted }) => persisted && this.#wake();
      globalThis.addEventListener?.("pageshow", show, listening);
      for (const type of ["pagehide", "visibilitychange"]) {
        globalThis.addEventListener?.(type, () => this.#queue.saveRest(), listening);
      }
      const activated = (/** @type {(value?: unknown) => void} */ resolve) =>
        globalThis.document.addEventListener("prerenderingchange", () => resolve(this.#wake()), { once: true });
      this.#isActive = isPrerendering() ? new Promise(activated) : Promise.resolve();
      this.#timeoutMs = options.timeoutMs ?? 10_000;
      this.#rejoinAfterMs = options.rejoinAfterMs ?? rejoinAfterMs;
    }

    /** Give the view its name, where that wasn't known to the constructor: before it joins. @param {string} viewId */
    nameView(viewId) {
      const { token } = this;
      this.#tokens = TokenStore.forView(viewId, this.#storage);
      if (token !== null) this.#tokens.save(token);
      this.#queue.use(new EventStorage(viewId, this.#storage));
    }

    /** Resolves when the page may join: its token is known, and it is shown or in the background, not being prepared. */
    get ready() {
      return Promise.all([this.#tokens.ready, this.#isActive]).then(() => {});
    }

    /** Read token and events again: while this page slept, others of the same tab may have continued its state. */
    #wake() {
      this.#queue.dropUnowned();
      if (!this.#tokens.readAgain()) return;
      if (this.token === null) return this.#queue.discardAll("forgotten");
      this.#queue.readAgain();
      if (this.status === "connected") this.#transport?.rejoin();
    }

    get token() {
      return this.#tokens.token;
    }

    /** The events without a reply, oldest first. Those from before a reload are here once it is known that the same
     * person is at the page: after the join, unless the page names its owner. @returns {PageEvent[]} */
    get pending() {
      return this.#queue.pending.map(toPageEvent);
    }

    /** Send an event, now or after the next join, in order. Return a promise for the response, which
     * rejects with an EventError if there is none.
     * @param {string} event @param {Payload} [payload] @returns {Promise<Payload>} */
    push(event, payload = {}) {
      if (this.#retries > 0 && this.#rejoinTimer === undefined) this.#scheduleRejoin(this.#retries);
      return this.#queue.add(event, payload);
    }

    /** Remove the token and discard all events: the next join starts with a fresh state. */
    forget() {
      this.#isForgotten = true;
      this.#tokens.remove();
      this.#queue.discardAll("forgotten");
    }

    /** Discard the events without a reply, and all that are pushed later. */
    giveUp() {
      this.#listeners.abort();
      this.#queue.close();
    }

    /** Stop, and leave the events without a reply to the next `Recovery` of this view, in this page or after a reload.
     * Their promises are rejected with the reason "closed". */
    close() {
      this.#listeners.abort();
      this.#cancelRejoin();
      this.#queue.handOver();
    }

    /** Use a transport for events from the next join on. @param {Transport} transport */
    carry(transport) {
      this.#transport = transport;
    }

    /**
     * Return a channel of the npm `phoenix` client that sends the token with every join, and that `push` of this object
     * sends events through. Events pushed with the channel's own `push` are neither queued nor resent.
     * @template {PhoenixChannel} C @param {PhoenixSocket<C>} socket
     * @param {string} topic @param {Params} [params] @returns {C}
     */
    channel(socket, topic, params = {}) {
      const channel = socket.channel(topic, () => this.joinPayload(params));
      const join = channel.join.bind(channel);
      channel.join = (timeout) =>
        join(timeout).receive("ok", (/** @type {Payload} */ reply) => this.joined(reply));
      channel.on("recovery:token", (pushed) => this.keep(pushed));
      this.#shareSocket(socket);
      channel.onError(() => this.dropped());
      channel.onClose(() => this.dropped());
      this.carry(phoenixTransport(channel));
      const push = channel.push.bind(channel);
      channel.push = (/** @type {any[]} */ ...what) => {
        // the page continues with its fresh state, which another join would replace
        if (this.#retries > 0 && this.#queue.events.length === 0) this.#cancelRejoin();
        return push(...what);
      };
      return channel;
    }

    /** Have one event given up, of all views on the socket, if it is closed over a message's size. @param {any} socket */
    #shareSocket(socket) {
      const queues = Recovery.#queuesOn.get(socket) ?? [];
      Recovery.#queuesOn.set(socket, queues);
      if (queues.push(this.#queue) > 1) return;
      socket.onClose?.((/** @type {any} */ event) => {
        if (!CUT_CODES.includes(event?.code ?? 1006)) for (const queue of queues) queue.absolve();
        if (event?.code !== CLOSE_TOO_LARGE) return;
        const [largest] = [...queues].sort((one, other) => other.largestBytes - one.largestBytes);
        largest?.suspectLargest();
      });
    }

    /** Record that a connection or a join is being tried. */
    connecting() {
      this.#changes += 1;
      this.#queue.stopSending();
      this.#offlineSince ??= performance.now();
      this.#setStatus("connecting");
    }

    /** Return the payload of a join that starts now. @param {Params} [params] @returns {Payload} */
    joinPayload(params = {}) {
      this.connecting();
      this.#isForgotten = false;
      const token = this.#tokens.present();
      this.#showsToken = token !== null;
      const payload = { ...(typeof params === "function" ? params() : params) };
      if (this.#transport !== null) payload._line = this.#queue.line;
      return token === null ? payload : { ...payload, _recovery: token };
    }

    /** Handle a join's ok reply. Return it without `_recovery`. @param {Payload | null} [reply] @returns {Payload} */
    joined(reply) {
      const { _recovery, ...response } = reply ?? {};
      const { outcome = null, ttl = null, token, seq = 0, owner = null, aliases = [], ...told } = _recovery ?? {};
      const elapsedMs = performance.now() - (this.#offlineSince ?? performance.now());
      const isWaiting = this.#mustWait(outcome);
      const changes = this.#changes;
      this.#offlineSince = null;
      this.keep({ token });
      this.outcome = outcome;
      this.#queue.setOwner(owner, CONTINUING_OUTCOMES.includes(outcome), aliases);
      const wasConnected = this.status === "connected";
      this.status = "connected";
      if (!isWaiting) this.#queue.handleJoin(outcome, seq, told);
      this.tell("outcome", { outcome, elapsedMs, ttl, response, isWaiting });
      // the page may have closed the connection in a listener
      if (changes === this.#changes && !wasConnected) this.tell("status", "connected");
      if (changes !== this.#changes) return response;
      if (isWaiting) this.#scheduleRejoin(++this.#retries);
      else this.#startSending(seq, outcome !== null, "lines" in told);
      return response;
    }

    /** Return whether to wait for the state that the shown token stands for. @param {Outcome | null} outcome */
    #mustWait(outcome) {
      if (!RETRY_OUTCOMES.includes(outcome ?? "")) {
        this.#waitUntil = null;
        return false;
      }
      this.#waitUntil ??= performance.now() + MAX_WAIT_MS;
      return this.#showsToken && performance.now() < this.#waitUntil;
    }

    /** Record that the connection or the channel is lost. @param {number} [closeCode] of the WebSocket, if known */
    dropped(closeCode) {
      this.#changes += 1;
      this.#cancelRejoin();
      this.#queue.stopSending(CUT_CODES.includes(closeCode ?? 1006));
      if (closeCode === CLOSE_TOO_LARGE) this.#queue.suspectLargest();
      this.#offlineSince ??= performance.now();
      this.#setStatus("disconnected");
    }

    /** Store a new token, from a join or from the event `recovery:token`. Without one, the old token stays. A token of
     * a join from before `forget` is ignored. After a login on the same connection, the server names the new owner.
     * @param {{ token?: string | null, owner?: string }} pushed */
    keep({ token, owner }) {
      if (token && !this.#isForgotten) this.#tokens.save(token);
      if (owner) this.#queue.setOwner(owner, true);
    }

    /** Dispatch an event. @param {string} type @param {unknown} detail */
    tell(type, detail) {
      this.dispatchEvent(new CustomEvent(type, { detail }));
    }

    /** Start to send events. @param {number} seq @param {boolean} isNumbered @param {boolean} hasLines */
    #startSending(seq, isNumbered, hasLines) {
      this.#retries = 0;
      if (this.#transport === null) return;
      const send = this.#transport.send.bind(this.#transport);
      const rejoin = () => {
        this.#queue.stopSending();
        this.#scheduleRejoin(1);
      };
      const { isBusy, probe } = this.#transport;
      const options = { send, rejoin, isBusy, probe, seq, isNumbered, hasLines, timeoutMs: this.#timeoutMs };
      this.#queue.startSending(new Sender(this.#queue, options));
    }

    /** @param {number} tries */
    #scheduleRejoin(tries) {
      const transport = this.#transport;
      if (transport === null || this.status !== "connected") return;
      const remainingMs = this.#waitUntil === null ? Infinity : this.#waitUntil - performance.now();
      clearTimeout(this.#rejoinTimer);
      this.#rejoinTimer = setTimeout(() => transport.rejoin(), Math.max(0, Math.min(this.#rejoinAfterMs(tries), remainingMs)));
    }

    /** Cancel the scheduled join. */
    #cancelRejoin() {
      clearTimeout(this.#rejoinTimer);
      this.#rejoinTimer = undefined;
    }

    /** @param {Status} status */
    #setStatus(status) {
      if (status === this.status) return;
      this.status = status;
      this.tell("status", status);
    }
  }

  /**
   * Return a transport for a channel of the npm `phoenix` client. It bypasses the channel's buffer, which is sent after
   * the next join, when the queue resends the same events.
   * @param {any} channel @returns {Transport}
   */
  function phoenixTransport(channel) {
    const send = channel.push.bind(channel);
    return {
      send(event, payload, onReply) {
        if (!channel.canPush()) return false;
        const push = send(event, payload);
        for (const status of ["ok", "error", "timeout"]) {
          push.receive(status, (/** @type {any} */ response) => onReply({ status, response }));
        }
        return true;
      },
      // as if the server had reported a crash: the only way to make the client rejoin by its own rules
      rejoin: () => channel.trigger("phx_error"),
    };
  }

  // ---------------------------------------------------------------------------------------------- LiveView

  /** The recovery of all LiveViews of a page, by element id. */
  class LiveViewRecovery {
    #options;
    /** @type {Map<string, Recovery>} */ #views = new Map();

    /** @param {{ storage?: StorageKind, owner?: string }} [options] */
    constructor(options = {}) {
      this.#options = options;
    }

    /** Return the recovery of one view. @param {string} id of its element */
    view(id) {
      const view = this.#views.get(id) ?? new Recovery(id, this.#options);
      this.#views.set(id, view);
      return view;
    }

    /**
     * Return the params for LiveSocket's `params: (el) => …`, as a new object, since LiveView modifies it.
     * LiveSocket also calls it without an element, for the socket's URL: a token there would end up in access logs.
     * @param {Element | undefined} el @param {Params} [params] @returns {Payload}
     */
    params(el, params = {}) {
      if (el?.id) return this.view(el.id).joinPayload(params);
      return { ...(typeof params === "function" ? params() : params) };
    }

    /**
     * Watch a LiveSocket for new tokens. Call it before `liveSocket.connect()`. LiveView doesn't expose the replies to
     * its joins, so this hooks into each new channel, before LiveView: an exception in a page's hook loses no token.
     * @template {{ getSocket(): PhoenixSocket }} L @param {L} liveSocket @returns {L}
     */
    watch(liveSocket) {
      const socket = liveSocket.getSocket();
      const make = socket.channel.bind(socket);
      socket.channel = (topic, params) => {
        const channel = make(topic, params);
        channel.onMessage = (/** @type {string} */ event, /** @type {any} */ payload) => {
          if (topic.startsWith("lv:")) this.#handleMessage(this.view(topic.slice("lv:".length)), event, payload);
          return payload;
        };
        return channel;
      };
      return liveSocket;
    }

    /** @param {Recovery} view @param {string} event @param {any} payload */
    #handleMessage(view, event, payload) {
      if (event === "recovery:token") view.keep(payload);
      else if (event === "phx_error" || event === "phx_close") view.dropped();
      else if (event === "phx_reply" && payload?.response?._recovery?.outcome) view.joined(payload.response);
    }
  }

  // ---------------------------------------------------------------------------------------------- RecoverySocket

  /** Close codes: 1000 is a normal closure, 4000 and above are for applications. */
  const [CLOSE_NORMAL, CLOSE_DEAD, CLOSE_POLICY, CLOSE_DROPPED] = [1000, 1006, 1008, 4000];

  /** How long a connection has to hold after its join until it counts as good. */
  const GOOD_AFTER_MS = 5_000;

  /** How many times longer than `timeoutMs` a slow join may take, once shorter times were too short. */
  const MAX_PATIENCE = 8;

  /** How many handshakes or joins may be refused in a row until that is more than a server that restarts. */
  const FREE_REFUSALS = 5;

  /** The backoff of a page that isn't let in: half of it is random. @type {Backoff} */
  function deniedAfterMs(refusals) {
    const ms = Math.min(300_000, 1_000 * 2 ** refusals);
    return ms / 2 + (Math.random() * ms) / 2;
  }

  /** Return whether a server closes a connection with this code because of who the client is. @param {number} code */
  function isDenial(code) {
    return code === CLOSE_POLICY || (code > CLOSE_DROPPED && code < 5_000);
  }

  /**
   * @typedef {object} RecoverySocketOptions
   * @property {string} [viewId] default: the path and the query of the URL, and the topic
   * @property {number} [heartbeatMs] time between heartbeats
   * @property {number} [timeoutMs] how long a connection, a join or a reply may take
   * @property {Backoff} [reconnectAfterMs]
   * @typedef {RecoveryOptions & RecoverySocketOptions} SocketOptions
   */

  /**
   * One topic on a WebSocket that reconnects automatically.
   *
   * Dispatches the events of Recovery, and "refused". Its detail is the error response of a join, or
   * `{ reason: "closed", code, tries }` if the server closes the connection with a code that means so (4xxx, 1008), or
   * `{ reason: "handshake", code, tries }` if the connection can't be opened again and again. All is tried again, less
   * and less often.
   */
  class RecoverySocket extends Recovery {
    #url;
    /** Path and query: the default name of the view, together with the topic. */ #place;
    #options;
    #serverEvents = new EventTarget();
    #leaveController = new AbortController();
    /** @type {AbortController | null} */ #listenController = null;

    #topic = "";
    /** @type {Params} */ #params = {};
    /** @type {WebSocket | null} */ #connection = null;
    /** @type {string | null} */ #joinRef = null;
    /** @type {(response: Payload) => void} */ #resolveJoin = () => {};
    /** @type {(error: Error) => void} */ #rejectJoin = () => {};
    /** @type {Map<string, (reply: Reply) => void>} */ #replyCallbacks = new Map();
    #shouldConnect = false;
    #isSilent = false;
    /** When the connection counts as dead, if it is silent. */ #silentUntil = 0;
    #heartbeatAt = 0;
    /** What was still to be sent when that was last looked at. */ #bufferedAmount = 0;
    #lastRef = 0;
    /** Tries since a connection has held. */ #tries = 0;
    /** Refusals since a connection has held. */ #refusals = 0;
    #isOpen = false;
    #joinedAt = 0;
    /** How many times `timeoutMs` a connection or a join may take. */ #patience = 1;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #goodTimer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #heartbeatTimer;

    /** @param {string} url as for a WebSocket, or a path on this page's host @param {SocketOptions} [options] */
    constructor(url, options = {}) {
      const address = new URL(url, globalThis.location?.href);
      address.protocol = address.protocol.replace("http", "ws");
      super(options.viewId ?? null, options);
      this.#place = address.pathname + address.search;
      this.#url = address.href;
      this.#options = { heartbeatMs: 30_000, timeoutMs: 10_000, reconnectAfterMs, rejoinAfterMs, ...options };
      this.carry({
        send: (event, payload, onReply) => {
          this.#replyCallbacks.set(this.#send(this.#topic, event, payload), onReply);
          return true;
        },
        rejoin: () => {
          this.#closeConnection(CLOSE_DROPPED);
          this.#open(); // a new connection may reach another node
        },
        isBusy: () => (this.#connection?.bufferedAmount ?? 0) > 0,
        // a little longer than until the next resend: its reply may arrive together with those to the events
        probe: () => this.#sendHeartbeat(this.#options.timeoutMs * 1.1),
      });
    }

    /**
     * Connect and join, and do so again after every disconnect. Return a promise for the response of the first join;
     * "outcome" has that of each.
     * @param {string} topic @param {Params} [params] @returns {Promise<Payload>}
     */
    join(topic, params = {}) {
      if (this.#topic) throw new Error(`this socket has already joined ${this.#topic}: one topic on one socket`);
      this.#topic = topic;
      this.#params = params;
      if (this.#options.viewId === undefined) this.nameView(`${this.#place} ${topic}`);
      /** @type {Promise<Payload>} */
      const joined = new Promise((resolve, reject) => this.#settleJoin(resolve, reject));
      joined.catch(() => {}); // a page that leaves before it has joined may not wait for it
      if (this.#leaveController.signal.aborted) this.#rejectJoin(new Error("the socket was closed"));
      this.connect();
      return joined;
    }

    /** @param {(response: Payload) => void} resolve @param {(error: Error) => void} reject */
    #settleJoin(resolve, reject) {
      this.#resolveJoin = resolve;
      this.#rejectJoin = reject;
    }

    /** Connect again when the page wakes up, until `disconnect`. */
    #listen() {
      if (this.#listenController !== null) return;
      this.#listenController = new AbortController();
      const { signal } = this.#listenController;
      for (const type of ["online", "pageshow", "visibilitychange", "resume"]) {
        globalThis.addEventListener?.(type, () => this.#handleWake(), { capture: true, signal });
      }
    }

    /** Call a function whenever the server pushes an event of this name. Return a function that removes it.
     * @param {string} event @param {(payload: any) => void} callback */
    on(event, callback) {
      const listener = (/** @type {Event} */ pushed) => callback(/** @type {CustomEvent} */ (pushed).detail);
      this.#serverEvents.addEventListener(event, listener);
      return () => this.#serverEvents.removeEventListener(event, listener);
    }

    /** Connect again after `disconnect`. */
    connect() {
      this.#shouldConnect = !this.#leaveController.signal.aborted;
      if (this.#shouldConnect && this.#topic) this.#listen();
      this.ready.then(() => this.#open());
    }

    /** Close the connection until `connect`. Events pushed meanwhile are queued. */
    disconnect() {
      this.#shouldConnect = false;
      this.#listenController?.abort();
      this.#listenController = null;
      this.#closeConnection(CLOSE_NORMAL);
    }

    /** Close the connection as a network failure would, and reconnect. */
    drop() {
      this.#lose(CLOSE_DROPPED);
    }

    /** Reconnect after a lost connection, at the latest after the time that its refusals ask for.
     * @param {number} code of the server, or of this file */
    #lose(code) {
      this.#closeConnection(CLOSE_DROPPED, code);
      if (!this.#shouldConnect) return;
      const ms = Math.max(this.#options.reconnectAfterMs(++this.#tries), this.#refusedAfterMs());
      this.#schedule(ms, () => this.#open());
    }

    /** Count a refusal, and tell the page. @param {Payload} detail */
    #refused(detail) {
      this.#refusals += 1;
      this.tell("refused", detail);
    }

    #refusedAfterMs() {
      return this.#refusals > FREE_REFUSALS ? deniedAfterMs(this.#refusals - FREE_REFUSALS) : 0;
    }

    /** Leave the topic permanently. The token stays; `forget` removes it. */
    leave() {
      this.#leaveController.abort();
      if (this.status === "connected") this.#send(this.#topic, "phx_leave", {});
      this.disconnect();
      this.giveUp();
      this.#rejectJoin(new Error("the socket has left its topic"));
    }

    /** Close the connection permanently, and keep the events without a reply for the next socket of this view: as a
     * component of a single-page app does that may be mounted again. */
    close() {
      this.#leaveController.abort();
      this.disconnect();
      super.close();
      this.#rejectJoin(new Error("the socket was closed"));
    }

    // Connection

    #open() {
      if (!this.#shouldConnect || !this.#topic || this.#connection) return;
      this.connecting();
      const connection = new globalThis.WebSocket(this.#url);
      this.#connection = connection;
      connection.onerror = () => {}; // "close" follows
      connection.onopen = () => this.#handleOpen();
      connection.onmessage = ({ data }) => this.#handleFrame(data);
      connection.onclose = ({ code }) => this.#handleClose(code);
      this.#isOpen = false;
      this.#schedule(this.#options.timeoutMs * this.#patience, () => this.#handleTimeout());
    }

    /** @param {number} code */
    #handleClose(code) {
      const tries = this.#refusals + 1;
      if (isDenial(code)) {
        this.#refusals = Math.max(this.#refusals, FREE_REFUSALS);
        this.#refused({ reason: "closed", code, tries });
      } else if (!this.#isOpen && tries >= FREE_REFUSALS) this.#refused({ reason: "handshake", code, tries });
      else if (!this.#isOpen) this.#refusals += 1;
      this.#lose(code);
    }

    /** Give the next connection more time, as the line or the server may only be slow. */
    #handleTimeout() {
      this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
      this.#lose(CLOSE_DEAD);
    }

    #handleOpen() {
      this.#isOpen = true;
      this.#heartbeatTimer = setTimeout(() => this.#sendHeartbeat(), this.#options.heartbeatMs);
      this.#join();
    }

    /** Close the connection without waiting for the server. @param {number} code
     * @param {number} [lostCode] why it is lost */
    #closeConnection(code, lostCode = code) {
      clearTimeout(this.#timer);
      clearTimeout(this.#goodTimer);
      clearTimeout(this.#heartbeatTimer);
      const connection = this.#connection;
      if (!connection) return;
      this.#connection = null;
      connection.onopen = connection.onmessage = connection.onclose = null;
      connection.close(code);
      this.#markDropped(lostCode);
    }

    /** Send a heartbeat, and reconnect if nothing at all arrives in time. One that has no answer yet keeps its time
     * unless less is left: who switches between tabs must not put it off. @param {number} [withinMs] */
    #sendHeartbeat(withinMs = this.#options.heartbeatMs) {
      const now = performance.now();
      const isPending = this.#isSilent && this.#silentUntil > now;
      this.#silentUntil = isPending ? Math.min(this.#silentUntil, now + withinMs) : now + withinMs;
      this.#isSilent = true;
      if (!isPending) {
        this.#heartbeatAt = now;
        this.#send("phoenix", "heartbeat", {});
      }
      clearTimeout(this.#heartbeatTimer);
      this.#heartbeatTimer = setTimeout(() => this.#checkLine(), this.#silentUntil - now);
    }

    #checkLine() {
      if (this.#isSilent && !this.#isUploading()) return this.#lose(CLOSE_DEAD);
      this.#isSilent = false;
      const ms = this.#heartbeatAt + this.#options.heartbeatMs - performance.now();
      this.#heartbeatTimer = setTimeout(() => this.#sendHeartbeat(), Math.max(0, ms));
    }

    /** Return whether what was sent is still leaving this machine: a line that does that is slow, not dead. */
    #isUploading() {
      const before = this.#bufferedAmount;
      this.#bufferedAmount = this.#connection?.bufferedAmount ?? 0;
      return this.#bufferedAmount > 0 && this.#bufferedAmount !== before;
    }

    /** Check the connection when the page wakes up or is online again, as its timers may have been suspended. */
    #handleWake() {
      if (globalThis.document?.visibilityState === "hidden") return;
      // the browser may have closed it while the page slept, without telling
      if (this.#connection !== null && this.#connection.readyState > 1) this.#closeConnection(CLOSE_DROPPED);
      if (this.status === "connected") return this.#sendHeartbeat(this.#options.timeoutMs);
      if (this.#shouldConnect) this.connect();
    }

    // Channel

    #join() {
      this.#joinRef = String(this.#lastRef + 1);
      this.#send(this.#topic, "phx_join", this.joinPayload(this.#params));
      this.#joinedAt = performance.now();
      // a late reply to this join can't arrive on a new connection
      this.#schedule(this.#options.timeoutMs * this.#patience, () => this.#handleTimeout());
    }

    /** @param {unknown} data */
    #handleFrame(data) {
      this.#isSilent = false;
      const frame = tryOrNull(() => JSON.parse(String(data)));
      if (!Array.isArray(frame)) return;
      const [joinRef, ref, topic, event, payload] = frame;
      if (topic !== this.#topic || (joinRef !== null && joinRef !== this.#joinRef)) return;
      if (event === "phx_reply" && ref === this.#joinRef) this.#handleJoinReply(payload);
      else if (event === "phx_reply") this.#handleEventReply(ref, payload);
      else if (event === "phx_error") this.#scheduleJoin();
      else if (event === "phx_close") this.disconnect();
      else this.#handleServerEvent(event, payload);
    }

    /** @param {string} ref @param {Reply} reply to an event */
    #handleEventReply(ref, reply) {
      const onReply = this.#replyCallbacks.get(ref);
      this.#replyCallbacks.delete(ref);
      onReply?.(reply);
    }

    /** @param {string} event @param {any} payload */
    #handleServerEvent(event, payload) {
      if (event === "recovery:token") this.keep(payload);
      this.#serverEvents.dispatchEvent(new CustomEvent(event, { detail: payload }));
    }

    /** @param {{ status: string, response: Payload }} reply to the join */
    #handleJoinReply({ status, response }) {
      if (status !== "ok") return this.#handleJoinError(response);
      clearTimeout(this.#timer);
      clearTimeout(this.#goodTimer);
      this.#goodTimer = setTimeout(() => this.#handleGood(), GOOD_AFTER_MS);
      if (performance.now() - this.#joinedAt < this.#options.timeoutMs / 2) this.#patience = 1;
      this.#resolveJoin(this.joined(response));
    }

    /** Begin the backoff anew, as the connection has held. */
    #handleGood() {
      this.#tries = this.#refusals = 0;
    }

    /** @param {Payload} response */
    #handleJoinError(response) {
      this.#refused(response);
      this.#scheduleJoin();
    }

    #scheduleJoin() {
      this.#markDropped();
      clearTimeout(this.#goodTimer);
      const ms = Math.max(this.#options.rejoinAfterMs(++this.#tries), this.#refusedAfterMs());
      this.#schedule(ms, () => this.#join());
    }

    /** @param {number} [code] */
    #markDropped(code) {
      this.#joinRef = null;
      this.#replyCallbacks.clear();
      this.dropped(code);
    }

    /** @param {string} topic @param {string} event @param {Payload} payload */
    #send(topic, event, payload) {
      const ref = String(++this.#lastRef);
      const joinRef = topic === this.#topic ? this.#joinRef : null;
      this.#connection?.send(JSON.stringify([joinRef, ref, topic, event, payload]));
      return ref;
    }

    /** Schedule an action, in place of the one scheduled before. @param {number} ms @param {() => void} then */
    #schedule(ms, then) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(then, ms);
    }
  }

  return { Recovery, LiveViewRecovery, RecoverySocket, EventError, fullJitter, reconnectAfterMs, rejoinAfterMs };
})();

Object.assign(globalThis, { RecoveryApp });

// ------------------------------------------------------------------------------------------------ Exports
//
// This file works as a module and as a plain script. `export` is a syntax error in a plain script, so it is hidden
// there: in a module, `await` is a keyword and a regular expression follows it; in a plain script, `await` is a name,
// `/` is a division, and `/*` opens a comment around the exports. The expression is never evaluated in either.

// prettier-ignore
false && await /[/*]/;
export const {
  Recovery, LiveViewRecovery, RecoverySocket, EventError, fullJitter, reconnectAfterMs, rejoinAfterMs,
} = RecoveryApp;
//*/ 0];
