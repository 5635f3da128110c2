"use strict";
/**
 * Keep the recovery token of a live view and show it whenever the view joins again; keep the events of the page until
 * the server has them safe.
 *
 * Three ways, one for each kind of page:
 *
 *   Recovery          for a channel of the npm `phoenix` client
 *   LiveViewRecovery  for the npm LiveView client
 *   RecoverySocket    for a page with neither: a small socket of its own
 *
 * A token is a secret. It goes into join payloads and into the tab's storage, never into a URL or a log line.
 * Events are numbered, kept and sent again, so that the server applies each of them exactly once.
 * Sources: the Phoenix channels protocol, V2; sections 4, 8 and 13 of the package's contract.
 */

// ------------------------------------------------------------------------------------------------ Types

/** @typedef {"connecting" | "connected" | "disconnected"} Status */
/** @typedef {"sessionStorage" | "localStorage" | "none"} StorageKind */
// prettier-ignore
/** @typedef {"new" | "recovered" | "expired" | "not_found" | "superseded" | "rejected" | "version" | "unavailable"} Outcome */
/** @typedef {Record<string, any>} Payload */
/** @typedef {Payload | (() => Payload)} Params */
/** @typedef {(tries: number) => number} Backoff milliseconds to wait before try 1, 2, 3, … */
/**
 * @typedef {object} OutcomeDetail what the event "outcome" tells
 * @property {Outcome | null} outcome null where the server recovers nothing on this topic
 * @property {number} elapsedMs from the drop (on the page's first join: from its start) to the join's ok
 * @property {number | null} ttl in seconds
 * @property {Payload} response the join's own, without the token
 */
/** @typedef {{ event: string, payload: Payload }} PageEvent */
/**
 * Why events are lost. "rolled_back": the storage lost what it had kept, an event before these with it; "full": too
 * many were kept already; "left", "forgotten": the page left, or forgot the token; "unconfirmed": sent to a server that
 * recovers nothing, and the connection went before the reply; else the outcome of a join that brought no state back.
 * @typedef {"rolled_back" | "full" | "left" | "forgotten" | "unconfirmed" | Outcome | null} LostReason
 */
/** @typedef {{ reason: LostReason, events: PageEvent[] }} LostDetail what the event "lost" tells */
/** @typedef {{ status: string, response: any }} Reply its status is "ok", "error", or "timeout" where none will come */
/** @typedef {PageEvent & Reply} ReplyDetail what the event "reply" tells */
/**
 * @typedef {object} Transport what carries the events of a view; it keeps none, and sends none twice
 * @property {(event: string, payload: Payload, answered: (reply: Reply) => void) => boolean} send false: it can't now
 * @property {() => void} rejoin make the joined channel join again
 */
/**
 * @typedef {object} RecoveryOptions
 * @property {StorageKind} [storage] default: "sessionStorage"; with "localStorage", await `ready` before the first join
 * @property {number} [maxKept] how many events may wait to be safe
 * @property {number} [maxKeptChars] and how long their payloads may be in all, as JSON
 * @property {number} [timeoutMs] how long a reply may take before its event is sent again
 * @property {Backoff} [rejoinAfterMs]
 */
/**
 * @typedef {object} PhoenixChannel what is used of the npm client's Channel
 * @property {(timeout?: number) => any} join
 * @property {(event: string, callback: (payload: any) => void) => unknown} on
 * @property {(callback: () => void) => unknown} onError
 * @property {(callback: () => void) => unknown} onClose
 * @property {(...what: any) => any} push
 */
/** @typedef {{ channel(topic: string, params?: any): any }} PhoenixSocket what is used of the npm client's Socket */

var RecoveryApp = (() => {
  // ---------------------------------------------------------------------------------------------- Waiting

  /**
   * Make a backoff with full jitter: anything from nothing to a bound that doubles with each try, so that the clients
   * of a server that restarts do not come back all at once.
   * @param {number} baseMs @param {number} capMs @returns {Backoff}
   */
  function fullJitter(baseMs, capMs) {
    return (tries) => Math.random() * Math.min(capMs, baseMs * 2 ** (tries - 1));
  }

  /** For a lost connection; also an option of the npm clients. */
  const reconnectAfterMs = fullJitter(100, 5_000);

  /** For a refused join or a crashed channel; also an option of the npm clients. */
  const rejoinAfterMs = fullJitter(1_000, 10_000);

  // ---------------------------------------------------------------------------------------------- Tokens

  /** How long a reloaded page waits for the lock of the page before it. */
  const LOCK_TIMEOUT_MS = 500;

  /** Give what `action` gives, or null where the browser forbids it: storage may throw at any touch.
   * @template T @param {() => T} action @returns {T | null} */
  function tryOrNull(action) {
    try {
      return action();
    } catch {
      return null;
    }
  }

  /** Hold a Web Lock until what this gives is called; null where there is none to be had.
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

  /** Take a lock that is free, or one that the page before is about to release. @param {string} name */
  async function acquirePageLock(name) {
    const free = await requestLock(name, { ifAvailable: true });
    if (free !== null) return free;
    const timeout = new AbortController();
    setTimeout(() => timeout.abort(), LOCK_TIMEOUT_MS);
    return requestLock(name, { signal: timeout.signal });
  }

  /** @type {Map<string, TokenStore>} */
  const tokenStores = new Map();

  /** The token of one view: in memory as long as the page lives, and in the storage where there is one. */
  class TokenStore {
    /** @type {string | null} */ #token;
    /** @type {StorageKind} */ #storage;
    #key;
    #isPresented = false;

    /** Give the page's one store for a view. @param {string} viewId @param {StorageKind} storage */
    static forView(viewId, storage) {
      const name = `${storage} ${viewId}`;
      const store = tokenStores.get(name) ?? new TokenStore(viewId, storage);
      tokenStores.set(name, store);
      return store;
    }

    /** @param {string} viewId @param {StorageKind} storage */
    constructor(viewId, storage) {
      if (!["sessionStorage", "localStorage", "none"].includes(storage)) {
        throw new TypeError(`storage is "sessionStorage", "localStorage" or "none", not ${storage}`);
      }
      this.#key = `lv_recovery_${viewId}`;
      this.#storage = storage === "localStorage" ? "sessionStorage" : storage;
      this.#token = this.#read();
      /** Resolves once it is known which token is this tab's; only localStorage takes time. */
      this.ready = storage === "localStorage" ? this.#acquireOwnership() : Promise.resolve();
    }

    get token() {
      return this.#token;
    }

    /** Give the token to a join. */
    present() {
      this.#isPresented = true;
      return this.#token;
    }

    /** @param {string} token */
    save(token) {
      this.#token = token;
      tryOrNull(() => this.#webStorage()?.setItem(this.#key, token));
    }

    remove() {
      this.#token = null;
      tryOrNull(() => this.#webStorage()?.removeItem(this.#key));
    }

    /**
     * Become the tab that owns the token in localStorage. A tab with a token of its own in sessionStorage stays
     * with that one, and so does a tab that joined before it knew: a second tab must never show the first one's.
     */
    async #acquireOwnership() {
      if (this.#token !== null) return;
      const release = await acquirePageLock(this.#key).catch(() => null);
      if (this.#isPresented || this.#token !== null) return release?.();
      if (release === null) return;
      this.#storage = "localStorage";
      this.#token = this.#read();
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

  /** How many events may be without a reply at once: the server keeps its replies to twice as many. */
  const MAX_IN_FLIGHT = 32;

  /** The reply to an event that has none, or none but an error: `name` tells which. */
  class EventError extends Error {
    /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
    constructor({ event, payload }, reason, response) {
      super(`the event ${event} has no reply: ${reason}`);
      const names = { refused: "EventRefused", unconfirmed: "EventUnconfirmed", full: "QueueFull" };
      this.name = /** @type {Record<string, string>} */ (names)[reason ?? ""] ?? "EventLost";
      Object.assign(this, { event, payload, reason, response });
    }
  }

  /** How deep a payload may be: what JSON's readers on the server refuse is never answered. */
  const MAX_DEPTH = 500;

  /** @param {unknown} value @param {number} levels @returns {boolean} */
  function isDeeperThan(value, levels) {
    if (value === null || typeof value !== "object") return false;
    return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
  }

  /** Copy what a page pushes, as it is now. Throws at what no server would take for an event: all behind it would wait.
   * @param {string} event @param {Payload} payload @returns {PageEvent} */
  function copyEvent(event, payload) {
    if (typeof event !== "string") throw new TypeError("an event's name is a string");
    if (event.startsWith("phx_")) throw new TypeError(`${event} is the protocol's own`);
    const copy = JSON.parse(JSON.stringify(payload));
    if (copy === null || typeof copy !== "object" || Array.isArray(copy)) throw new TypeError("a payload is an object");
    if (isDeeperThan(copy, MAX_DEPTH)) throw new TypeError(`a payload is at most ${MAX_DEPTH} deep`);
    return { event, payload: copy };
  }

  /** @typedef {PageEvent & { seq: number | null, isEarly: boolean, isAnswered: boolean }} StoredEvent */
  /** @typedef {{ onReply(reply: Reply): void, onLost(error: Error): void }} Listener hears one of them, once */

  /** An event of the page, from its push until it is safe. */
  class QueuedEvent {
    /** Where it is on this connection: to be sent, sent, or replied to. @type {"queued" | "sent" | "replied"} */
    stage = "queued";
    #listener;

    /** @param {StoredEvent} stored @param {Listener} listener */
    constructor({ event, payload, seq, isEarly, isAnswered }, listener) {
      this.event = event;
      this.payload = payload;
      /** Its place among all events of the view, given as soon as a join tells the last one's, for good. */
      this.seq = seq;
      /** Whether it was pushed before the first join, and so for whatever state that brings. */
      this.isEarly = isEarly;
      this.isAnswered = isAnswered;
      this.chars = JSON.stringify(payload).length;
      this.#listener = listener;
    }

    /** Take a reply; the page hears the first. @param {Reply} reply */
    handleReply(reply) {
      this.stage = "replied";
      if (this.isAnswered) return;
      this.isAnswered = true;
      this.#listener.onReply(reply);
    }

    /** @param {LostReason} reason */
    markLost(reason) {
      this.isAnswered = true;
      this.#listener.onLost(new EventError(this, reason));
    }

    /** @param {number} seq */
    isUpTo(seq) {
      return this.seq !== null && this.seq <= seq;
    }

    /** @returns {StoredEvent} */
    toJSON() {
      const { event, payload, seq, isEarly, isAnswered } = this;
      return { event, payload, seq, isEarly, isAnswered };
    }
  }

  /** Say whether this is what `toJSON` gave: anything may be in a storage. @param {any} stored */
  function isStoredEvent(stored) {
    const { event, payload, seq } = stored ?? {};
    return typeof event === "string" && payload instanceof Object && (seq === null || seq > 0);
  }

  /** The place of a view's events in the tab's storage: `lv_recovery_<viewId>:events`. */
  class EventStorage {
    #key;
    #getStorage;

    /** @param {string} viewId @param {StorageKind} storage */
    constructor(viewId, storage) {
      this.#key = `lv_recovery_${viewId}:events`;
      this.#getStorage = () => (storage === "none" ? null : globalThis.sessionStorage);
    }

    /** @returns {StoredEvent[]} */
    load() {
      return tryOrNull(() => JSON.parse(this.#getStorage()?.getItem(this.#key) ?? "").filter(isStoredEvent)) ?? [];
    }

    /** @param {QueuedEvent[]} events */
    save(events) {
      const isSaved = tryOrNull(() => {
        if (events.length > 0) this.#getStorage()?.setItem(this.#key, JSON.stringify(events));
        return events.length > 0;
      });
      // an old copy is worse than none: it may hold, as never sent, what was sent since
      if (!isSaved) tryOrNull(() => this.#getStorage()?.removeItem(this.#key));
    }
  }

  /**
   * The events of one view, oldest first, each kept until the server has it safe or the page
   * is told that it is lost.
   *
   * It decides what a join means for those kept; a `Sender` brings them to the server.
   */
  class EventQueue {
    /** @type {QueuedEvent[]} */ events;
    /** @type {Sender | null} */ #sender = null;
    #durableSeq = 0;
    #hasJoined = false;
    #isClosed = false;
    #storage;
    #limits;
    #emit;

    /** @typedef {{ maxKept: number, maxKeptChars: number }} Limits */
    /** @param {EventStorage} storage @param {Limits} limits @param {(type: string, detail: unknown) => void} emit */
    constructor(storage, limits, emit) {
      this.#storage = storage;
      this.#limits = limits;
      this.#emit = emit;
      this.events = storage.load().map((stored) => new QueuedEvent(stored, this.#orphanListener(stored)));
    }

    /** Keep an event, and promise its reply. @param {string} event @param {Payload} payload */
    add(event, payload) {
      const reply = new Promise((/** @type {(response: Payload) => void} */ resolve, reject) => {
        const stored = { ...copyEvent(event, payload), seq: null, isEarly: !this.#hasJoined, isAnswered: false };
        const queued = new QueuedEvent(stored, {
          onReply: ({ status, response }) =>
            status === "ok" ? resolve(response) : reject(new EventError(stored, "refused", response)),
          onLost: reject,
        });
        if (this.#isClosed) this.discard([queued], "left");
        else if (!this.#hasRoomFor(queued)) this.discard([queued], "full");
        else this.#enqueue(queued);
      });
      reply.catch(() => {}); // a page that listens to "lost" need not catch each promise too
      return reply;
    }

    /**
     * Take note of a join: with the state back, the events go on after its last one; else those of before are lost,
     * as what was pushed on a state that is gone must not be applied to a fresh one.
     * @param {Outcome | null} outcome @param {number} seq
     */
    handleJoin(outcome, seq) {
      if (outcome === "recovered") this.requeueAfter(seq);
      else this.discard(this.events.filter(({ isEarly }) => !isEarly), outcome);
      this.#durableSeq = seq;
      this.releaseUpTo(seq);
      this.#hasJoined = true;
      for (const queued of this.events) queued.isEarly = false;
      this.save();
    }

    /** Send what is queued, and what comes, until `stopSending`. @param {Sender} sender */
    startSending(sender) {
      this.#sender = sender;
      sender.flush();
    }

    /** Take note that the connection is gone. */
    stopSending() {
      this.#sender?.stop();
      this.#sender = null;
      for (const queued of this.events) queued.stage = "queued";
    }

    /** Send all that comes after an event; where the one right after it is gone, those behind it are lost.
     * @param {number} seq */
    requeueAfter(seq) {
      const later = this.events.filter((queued) => !queued.isUpTo(seq));
      for (const queued of later) queued.stage = "queued";
      const next = later[0]?.seq ?? this.#durableSeq + 1;
      if (next > seq + 1) this.discard(later, "rolled_back");
    }

    /** Let go of what is safe and has its reply. @param {number} seq up to which all is safe */
    releaseUpTo(seq) {
      this.#durableSeq = Math.max(this.#durableSeq, seq);
      this.events = this.events.filter((queued) => !(queued.isAnswered && queued.isUpTo(this.#durableSeq)));
    }

    /** @param {QueuedEvent[]} events */
    remove(events) {
      this.events = this.events.filter((queued) => !events.includes(queued));
    }

    /** @param {QueuedEvent[]} events @param {LostReason} reason */
    discard(events, reason) {
      this.remove(events);
      this.save();
      for (const queued of events) queued.markLost(reason);
      if (events.length > 0) this.#emit("lost", { reason, events: events.map(toPageEvent) });
    }

    /** Give up all events, those to come too; one that has its reply is as good as safe. */
    close() {
      this.#isClosed = true;
      this.events = this.events.filter(({ isAnswered }) => !isAnswered);
      this.discard(this.events, "left");
    }

    save() {
      this.#storage.save(this.events);
    }

    /** @param {QueuedEvent} queued */
    #hasRoomFor({ chars }) {
      const { maxKept, maxKeptChars } = this.#limits;
      return this.events.length < maxKept && this.events.reduce((sum, each) => sum + each.chars, chars) <= maxKeptChars;
    }

    /** @param {QueuedEvent} queued */
    #enqueue(queued) {
      this.events.push(queued);
      if (this.#sender) this.#sender.flush();
      else this.save();
    }

    /** Tell the page of now: whoever pushed it went with the page of before. @param {PageEvent} pushed
     * @returns {Listener} */
    #orphanListener(pushed) {
      const onReply = (/** @type {Reply} */ reply) => this.#emit("reply", { ...toPageEvent(pushed), ...reply });
      return { onReply, onLost: () => {} };
    }
  }

  /** Give what the page knows of an event. @param {PageEvent} queued @returns {PageEvent} */
  function toPageEvent({ event, payload }) {
    return { event, payload };
  }

  /**
   * The sending of events during one join: in order, a few at a time, and once more where that is needed.
   *
   * `isNumbered`: whether the server sorts out what it has had already. One that doesn't is sent nothing twice.
   * @typedef {Transport & { seq: number, isNumbered: boolean, timeoutMs: number }} SenderOptions
   */
  class Sender {
    #queue;
    #options;
    /** Up to which number events were applied or sent. */ #lastSentSeq;
    #round = 0;
    /** The last event before a gap that was told once already. @type {number | null} */ #lastGap = null;
    #isStopped = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

    /** @param {EventQueue} queue @param {SenderOptions} options */
    constructor(queue, options) {
      this.#queue = queue;
      this.#options = options;
      this.#lastSentSeq = options.seq;
    }

    /**
     * Send what may go now. The numbers are in the storage before they are on the wire; those that wait have theirs
     * too, as a tab duplicated now must not give them others once the first one's are in the state.
     */
    flush() {
      if (this.#isStopped) return this.#queue.save();
      const room = this.#options.isNumbered ? MAX_IN_FLIGHT - this.#inStage("sent").length : Infinity;
      const waiting = this.#inStage("queued");
      let last = this.#lastAssignedSeq();
      for (const queued of waiting) queued.seq ??= ++last;
      // further from the first without a reply, the server might know that reply no more
      const maxSeq = this.#options.isNumbered ? this.#acknowledgedSeq() + MAX_IN_FLIGHT : Infinity;
      const ready = waiting.slice(0, room).filter(({ seq }) => Number(seq) <= maxSeq);
      for (const queued of ready) queued.stage = "sent";
      this.#queue.save();
      for (const queued of ready) this.#send(queued);
      this.#startTimer();
    }

    /** Take note that no reply comes any more. */
    stop() {
      this.#isStopped = true;
      clearTimeout(this.#timer);
      if (!this.#options.isNumbered) this.#queue.discard(this.#inStage("sent"), "unconfirmed");
    }

    /** @param {QueuedEvent} queued */
    #send(queued) {
      const round = this.#round;
      this.#lastSentSeq = Math.max(this.#lastSentSeq, queued.seq ?? 0);
      const numbers = this.#options.isNumbered ? { _seq: queued.seq, _ack: this.#acknowledgedSeq() } : {};
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
      if (this.#options.isNumbered && !_recovery && rest.reason === "unmatched topic") return this.#options.rejoin();
      this.#lastGap = null;
      queued.handleReply({ status, response: rest });
      if (_recovery) this.#queue.releaseUpTo(_recovery.seq);
      else this.#queue.remove([queued]);
      this.#clearTimer();
      this.flush();
    }

    /** The transport has given up on a reply; a numbered event is sent again in time. @param {QueuedEvent} queued */
    #handleTimeout(queued) {
      if (!this.#options.isNumbered && queued.stage === "sent") this.#queue.discard([queued], "unconfirmed");
    }

    /** The server misses an event. All that were sent after it are answered so, and go out again once; where that was
     * in vain they go out again in time, as after a reply that doesn't come.
     * @param {number} applied @param {number} round */
    #handleGap(applied, round) {
      if (round !== this.#round || applied === this.#lastGap) return;
      this.#lastGap = applied;
      this.#round += 1;
      this.#lastSentSeq = applied;
      this.#queue.requeueAfter(applied);
      this.#clearTimer();
      this.flush();
    }

    /** Wait for any reply; that a handler is slow is no reason to give up the connection. */
    #startTimer() {
      if (!this.#options.isNumbered || this.#queue.events.length === 0) return;
      this.#timer ??= setTimeout(() => this.#resend(), this.#options.timeoutMs);
    }

    #resend() {
      this.#clearTimer();
      this.#round += 1;
      for (const queued of this.#inStage("sent")) queued.stage = "queued";
      // what was saved since the last reply is told with a reply alone, and a full queue would send nothing any more
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

    /** Give the highest number up to which each event has its reply. */
    #acknowledgedSeq() {
      const first = this.#queue.events.find(({ isAnswered }) => !isAnswered);
      return (first?.seq ?? this.#lastAssignedSeq() + 1) - 1;
    }

    #lastAssignedSeq() {
      return this.#queue.events.reduce((last, { seq }) => Math.max(last, seq ?? 0), this.#lastSentSeq);
    }
  }

  // ---------------------------------------------------------------------------------------------- One view

  /** Outcomes that leave the state where it is: nothing is sent until a later join brings it back. */
  const RETRY_OUTCOMES = ["version", "unavailable"];

  /**
   * The recovery of one view: its token, its events, how its connection is, and what became of its state.
   *
   * Events: "status" (detail: a Status), "outcome" (an OutcomeDetail), "lost" (a LostDetail), and "reply" (a
   * ReplyDetail, for an event that was pushed before a reload of the page).
   * `joinPayload`, `joined`, `dropped`, `keep`, and `carry` for events, are all that any other client has to call.
   */
  class Recovery extends EventTarget {
    #tokens;
    #queue;
    #timeoutMs;
    #rejoinAfterMs;
    /** @type {Transport | null} */ #transport = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #rejoinTimer;
    #retries = 0;
    #isForgotten = false;
    /** @type {number | null} */ #disconnectedAt = null;
    /** @type {Status} */ status = "disconnected";
    /** @type {Outcome | null} */ outcome = null;

    /**
     * @param {string} viewId names the token's place in the storage: `lv_recovery_<viewId>`
     * @param {RecoveryOptions} [options]
     */
    constructor(viewId, options = {}) {
      super();
      // half of what browsers let a tab store, as the page may have things of its own there
      const { storage = "sessionStorage", maxKept = 1_000, maxKeptChars = 2_500_000 } = options;
      const limits = { maxKept, maxKeptChars };
      this.#tokens = TokenStore.forView(viewId, storage);
      const emit = (/** @type {string} */ type, /** @type {unknown} */ detail) => this.tell(type, detail);
      this.#queue = new EventQueue(new EventStorage(viewId, storage), limits, emit);
      this.#timeoutMs = options.timeoutMs ?? 10_000;
      this.#rejoinAfterMs = options.rejoinAfterMs ?? rejoinAfterMs;
    }

    get ready() {
      return this.#tokens.ready;
    }

    get token() {
      return this.#tokens.token;
    }

    /** The events that have no reply yet, oldest first: pushed here, or before a reload. @returns {PageEvent[]} */
    get pending() {
      return this.#queue.events.filter(({ isAnswered }) => !isAnswered).map(toPageEvent);
    }

    /** Send an event, now or after the next join, in order. Rejects with an EventError.
     * @param {string} event @param {Payload} [payload] @returns {Promise<Payload>} */
    push(event, payload = {}) {
      if (this.#retries > 0 && this.#rejoinTimer === undefined) this.#scheduleRejoin(this.#retries);
      return this.#queue.add(event, payload);
    }

    /** Remove the token, and give up the events: the next join starts afresh. */
    forget() {
      this.#isForgotten = true;
      this.#tokens.remove();
      this.#queue.discard(this.#queue.events, "forgotten");
    }

    /** Give up the events, those to come too. */
    giveUp() {
      this.#queue.close();
    }

    /** Send the events by this from the next join on. @param {Transport} transport */
    carry(transport) {
      this.#transport = transport;
    }

    /**
     * Make a channel of the npm `phoenix` client that shows the token at every join and carries what is pushed here. It
     * joins as any other does; what is pushed by its own `push` is neither kept nor sent again.
     * @template {PhoenixChannel} C @param {{ channel(topic: string, params: () => Payload): C }} socket
     * @param {string} topic @param {Params} [params] @returns {C}
     */
    channel(socket, topic, params = {}) {
      const channel = socket.channel(topic, () => this.joinPayload(params));
      const join = channel.join.bind(channel);
      channel.join = (timeout) =>
        join(timeout).receive("ok", (/** @type {Payload} */ reply) => this.joined(reply));
      channel.on("recovery:token", (pushed) => this.keep(pushed));
      channel.onError(() => this.dropped());
      channel.onClose(() => this.dropped());
      this.carry(phoenixTransport(channel));
      const push = channel.push.bind(channel);
      channel.push = (/** @type {any[]} */ ...what) => {
        // the page goes on with the fresh state that it was given, which another join would take away
        if (this.#retries > 0 && this.#queue.events.length === 0) this.#cancelRejoin();
        return push(...what);
      };
      return channel;
    }

    /** Take note that a connection or a join is tried. */
    connecting() {
      this.#queue.stopSending();
      this.#disconnectedAt ??= performance.now();
      this.#setStatus("connecting");
    }

    /** Say what to send with a join, which starts now. @param {Params} [params] @returns {Payload} */
    joinPayload(params = {}) {
      this.connecting();
      this.#isForgotten = false;
      const token = this.#tokens.present();
      const payload = typeof params === "function" ? params() : params;
      return token === null ? { ...payload } : { ...payload, _recovery: token };
    }

    /** Take a join's ok reply, and give what else is in it. @param {Payload | null} [reply] @returns {Payload} */
    joined(reply) {
      const { _recovery, ...response } = reply ?? {};
      const { outcome = null, ttl = null, token, seq = 0 } = _recovery ?? {};
      const elapsedMs = performance.now() - (this.#disconnectedAt ?? performance.now());
      const mustRetry = RETRY_OUTCOMES.includes(outcome);
      this.#disconnectedAt = null;
      this.keep({ token });
      this.outcome = outcome;
      this.#setStatus("connected");
      if (!mustRetry) this.#queue.handleJoin(outcome, seq);
      this.tell("outcome", { outcome, elapsedMs, ttl, response });
      if (mustRetry) this.#scheduleRejoin(++this.#retries);
      else this.#startSending(seq, outcome !== null);
      return response;
    }

    /** Take note that the connection or the channel is gone. */
    dropped() {
      this.#cancelRejoin();
      this.#queue.stopSending();
      this.#disconnectedAt ??= performance.now();
      this.#setStatus("disconnected");
    }

    /** Keep a new token, from a join or from the event `recovery:token`; without one the old one stays, and one of a
     * join that the page has forgotten isn't kept.
     * @param {{ token?: string | null }} pushed */
    keep({ token }) {
      if (token && !this.#isForgotten) this.#tokens.save(token);
    }

    /** Tell the page. @param {string} type @param {unknown} detail */
    tell(type, detail) {
      this.dispatchEvent(new CustomEvent(type, { detail }));
    }

    /** Send the events, unless the page has cut the connection by now.
     * @param {number} seq @param {boolean} isNumbered */
    #startSending(seq, isNumbered) {
      this.#retries = 0;
      if (this.#transport === null || this.status !== "connected") return;
      const send = this.#transport.send.bind(this.#transport);
      const rejoin = () => {
        this.#queue.stopSending();
        this.#scheduleRejoin(1);
      };
      this.#queue.startSending(new Sender(this.#queue, { send, rejoin, seq, isNumbered, timeoutMs: this.#timeoutMs }));
    }

    /** @param {number} tries */
    #scheduleRejoin(tries) {
      const transport = this.#transport;
      if (transport === null || this.status !== "connected") return;
      this.#rejoinTimer = setTimeout(() => transport.rejoin(), this.#rejoinAfterMs(tries));
    }

    /** Join no more by itself. */
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
   * Carry events by a channel of the npm `phoenix` client, past its own buffer: what waits in there is sent after the
   * next join, when the queue sends it too.
   * @param {any} channel @returns {Transport}
   */
  function phoenixTransport(channel) {
    const send = channel.push.bind(channel);
    return {
      send(event, payload, answered) {
        if (!channel.canPush()) return false;
        const push = send(event, payload);
        for (const status of ["ok", "error", "timeout"]) {
          push.receive(status, (/** @type {any} */ response) => answered({ status, response }));
        }
        return true;
      },
      // as if the server had told that the channel crashed: the one way that leaves the join to the client itself
      rejoin: () => channel.trigger("phx_error"),
    };
  }

  // ---------------------------------------------------------------------------------------------- LiveView

  /** The recoveries of all LiveViews of a page, by the ids of their elements. */
  class LiveViewRecovery {
    #options;
    /** @type {Map<string, Recovery>} */ #views = new Map();

    /** @param {{ storage?: StorageKind }} [options] */
    constructor(options = {}) {
      this.#options = options;
    }

    /** Give one view's recovery, to listen to or to forget. @param {string} id of its element */
    view(id) {
      const view = this.#views.get(id) ?? new Recovery(id, this.#options);
      this.#views.set(id, view);
      return view;
    }

    /**
     * Answer the LiveSocket's `params: (el) => …`, with a fresh object each time, as LiveView writes into it.
     * LiveSocket asks once more without an element, for the socket's URL: there a token would reach access logs.
     * @param {Element | undefined} el @param {Params} [params] @returns {Payload}
     */
    params(el, params = {}) {
      if (el?.id) return this.view(el.id).joinPayload(params);
      return { ...(typeof params === "function" ? params() : params) };
    }

    /**
     * Learn the new tokens; call it before `liveSocket.connect()`. LiveView keeps the replies to its joins to itself,
     * so this hooks into each channel that it makes, ahead of LiveView: a hook of the page that raises costs no token.
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

  // ---------------------------------------------------------------------------------------------- A socket of its own

  /** Close codes: 1000 is a goodbye, 4000 and up are an application's own. */
  const [CLOSE_NORMAL, CLOSE_DROPPED] = [1000, 4000];

  /**
   * @typedef {object} RecoverySocketOptions
   * @property {string} [viewId] default: the URL's path
   * @property {number} [heartbeatMs] how often to ask for a sign of life
   * @property {number} [timeoutMs] how long a connection, a join or a reply may take
   * @property {Backoff} [reconnectAfterMs]
   * @typedef {RecoveryOptions & RecoverySocketOptions} SocketOptions
   */

  /**
   * One joined topic on a WebSocket that comes back by itself.
   *
   * Events: those of Recovery, and "refused" (a join's error response; it is tried again).
   */
  class RecoverySocket extends Recovery {
    #url;
    #options;
    #serverEvents = new EventTarget();
    #leaveController = new AbortController();

    #topic = "";
    /** @type {Params} */ #params = {};
    /** @type {WebSocket | null} */ #connection = null;
    /** @type {string | null} */ #joinRef = null;
    /** @type {(response: Payload) => void} */ #resolveJoin = () => {};
    /** @type {Map<string, (reply: Reply) => void>} */ #replyCallbacks = new Map();
    #shouldConnect = false;
    #isSilent = false;
    #lastRef = 0;
    #tries = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #heartbeatTimer;

    /** @param {string} url as for a WebSocket, or a path of this page's own host @param {SocketOptions} [options] */
    constructor(url, options = {}) {
      const address = new URL(url, globalThis.location?.href);
      address.protocol = address.protocol.replace("http", "ws");
      super(options.viewId ?? address.pathname, options);
      this.#url = address.href;
      this.#options = { heartbeatMs: 30_000, timeoutMs: 10_000, reconnectAfterMs, rejoinAfterMs, ...options };
      this.carry({
        send: (event, payload, answered) => {
          this.#replyCallbacks.set(this.#send(this.#topic, event, payload), answered);
          return true;
        },
        rejoin: () => this.drop(), // by a new connection, which may reach another node
      });
    }

    /**
     * Connect and join, and again after every drop. Gives the first join's response; "outcome" tells each one's.
     * @param {string} topic @param {Params} [params] @returns {Promise<Payload>}
     */
    join(topic, params = {}) {
      if (this.#topic) throw new Error(`this socket has joined ${this.#topic}: one topic on one socket`);
      this.#topic = topic;
      this.#params = params;
      const { signal } = this.#leaveController;
      for (const type of ["online", "pageshow", "visibilitychange", "resume"]) {
        globalThis.addEventListener?.(type, () => this.#handleWake(), { capture: true, signal });
      }
      this.connect();
      return new Promise((resolve) => (this.#resolveJoin = resolve));
    }

    /** Hear what the server pushes. Gives a function that stops it.
     * @param {string} event @param {(payload: any) => void} callback */
    on(event, callback) {
      const listener = (/** @type {Event} */ pushed) => callback(/** @type {CustomEvent} */ (pushed).detail);
      this.#serverEvents.addEventListener(event, listener);
      return () => this.#serverEvents.removeEventListener(event, listener);
    }

    /** Connect again after `disconnect`. */
    connect() {
      this.#shouldConnect = !this.#leaveController.signal.aborted;
      this.ready.then(() => this.#open());
    }

    /** Give up the connection until `connect`; what is pushed meanwhile is kept. */
    disconnect() {
      this.#shouldConnect = false;
      this.#closeConnection(CLOSE_NORMAL);
    }

    /** Cut the connection, as a bad network would; it comes back by itself. */
    drop() {
      this.#closeConnection(CLOSE_DROPPED);
      if (this.#shouldConnect) this.#schedule(this.#options.reconnectAfterMs(++this.#tries), () => this.#open());
    }

    /** Leave for good. The token stays: `forget` removes it. */
    leave() {
      this.#leaveController.abort();
      if (this.status === "connected") this.#send(this.#topic, "phx_leave", {});
      this.disconnect();
      this.giveUp();
    }

    // Connection

    #open() {
      if (!this.#shouldConnect || !this.#topic || this.#connection) return;
      this.connecting();
      const connection = new globalThis.WebSocket(this.#url);
      this.#connection = connection;
      connection.onerror = () => {}; // "close" follows and says it all
      connection.onopen = () => this.#handleOpen();
      connection.onmessage = ({ data }) => this.#handleFrame(data);
      connection.onclose = () => this.drop();
      this.#schedule(this.#options.timeoutMs, () => this.drop());
    }

    #handleOpen() {
      this.#heartbeatTimer = setTimeout(() => this.#sendHeartbeat(), this.#options.heartbeatMs);
      this.#join();
    }

    /** Let go of the connection at once, whether or not the other side can still hear of it. @param {number} code */
    #closeConnection(code) {
      clearTimeout(this.#timer);
      clearTimeout(this.#heartbeatTimer);
      const connection = this.#connection;
      if (!connection) return;
      this.#connection = null;
      connection.onopen = connection.onmessage = connection.onclose = null;
      connection.close(code);
      this.#markDropped();
    }

    /** Ask for a sign of life: whatever arrives is one. @param {number} [withinMs] */
    #sendHeartbeat(withinMs = this.#options.heartbeatMs) {
      this.#isSilent = true;
      this.#send("phoenix", "heartbeat", {});
      clearTimeout(this.#heartbeatTimer);
      this.#heartbeatTimer = setTimeout(() => (this.#isSilent ? this.drop() : this.#sendHeartbeat()), withinMs);
    }

    /** The page is awake or online again: don't wait for timers that slept. */
    #handleWake() {
      if (globalThis.document?.visibilityState === "hidden") return;
      if (this.status === "connected") return this.#sendHeartbeat(this.#options.timeoutMs);
      if (this.#shouldConnect) this.connect();
    }

    // Channel

    #join() {
      this.#joinRef = String(this.#lastRef + 1);
      this.#send(this.#topic, "phx_join", this.joinPayload(this.#params));
      // a reply that never comes can't be toPageEvent from one that is late: only a new connection gets out of both
      this.#schedule(this.#options.timeoutMs, () => this.drop());
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
      const answered = this.#replyCallbacks.get(ref);
      this.#replyCallbacks.delete(ref);
      answered?.(reply);
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
      this.#tries = 0;
      this.#resolveJoin(this.joined(response));
    }

    /** @param {Payload} response */
    #handleJoinError(response) {
      this.tell("refused", response);
      this.#scheduleJoin();
    }

    #scheduleJoin() {
      this.#markDropped();
      this.#schedule(this.#options.rejoinAfterMs(++this.#tries), () => this.#join());
    }

    #markDropped() {
      this.#joinRef = null;
      this.#replyCallbacks.clear();
      this.dropped();
    }

    /** @param {string} topic @param {string} event @param {Payload} payload */
    #send(topic, event, payload) {
      const ref = String(++this.#lastRef);
      const joinRef = topic === this.#topic ? this.#joinRef : null;
      this.#connection?.send(JSON.stringify([joinRef, ref, topic, event, payload]));
      return ref;
    }

    /** Do one thing later, instead of what was to be done. @param {number} ms @param {() => void} then */
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
// One file for both kinds of script tag. `export` is a syntax error in a plain script, so only a module may see it.
// In a module `await` is a keyword, and a regular expression follows it. In a plain script `await` is a name, `/`
// divides it by an array, and `/*` opens a comment that hides the exports. Neither is ever evaluated.

// prettier-ignore
false && await /[/*]/;
export const {
  Recovery, LiveViewRecovery, RecoverySocket, EventError, fullJitter, reconnectAfterMs, rejoinAfterMs,
} = RecoveryApp;
//*/ 0];
