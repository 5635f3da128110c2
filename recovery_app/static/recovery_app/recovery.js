"use strict";
/**
 * Keep the recovery token of a live view, and show it whenever the view joins again.
 *
 * Three ways, one for each kind of page:
 *
 *   Recovery          for a channel of the npm `phoenix` client
 *   LiveViewRecovery  for the npm LiveView client
 *   RecoverySocket    for a page with neither: a small socket of its own
 *
 * A token is a secret. It goes into join payloads and into the tab's storage, never into a URL or a log line.
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
 * Why events are lost. "unconfirmed": sent, but the connection went before the reply, so they may have been applied;
 * "full": too many were kept already; "left": the page left; else the outcome of a join that brought no state back.
 * @typedef {"unconfirmed" | "full" | "left" | Outcome | null} LostReason
 */
/** @typedef {{ reason: LostReason, events: PageEvent[] }} LostDetail what the event "lost" tells */
/**
 * @typedef {object} PhoenixChannel what is used of the npm client's Channel
 * @property {(timeout?: number) => any} join
 * @property {(event: string, callback: (payload: any) => void) => unknown} on
 * @property {(callback: () => void) => unknown} onError
 * @property {(callback: () => void) => unknown} onClose
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
  const LOCK_WAIT_MS = 500;

  /** Give what `action` gives, or null where the browser forbids it: storage may throw at any touch.
   * @template T @param {() => T} action @returns {T | null} */
  function attempt(action) {
    try {
      return action();
    } catch {
      return null;
    }
  }

  /** Hold a Web Lock until what this gives is called; null where there is none to be had.
   * @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} */
  function lock(name, options) {
    return new Promise((resolve, reject) => {
      const hold = (/** @type {Lock | null} */ granted) => {
        if (granted === null) return resolve(null);
        return /** @type {Promise<void>} */ (new Promise((release) => resolve(release)));
      };
      globalThis.navigator.locks.request(name, options, hold).catch(reject);
    });
  }

  /** Take a lock that is free, or one that the page before is about to release. @param {string} name */
  async function lockForThisPage(name) {
    const free = await lock(name, { ifAvailable: true });
    if (free !== null) return free;
    const patience = new AbortController();
    setTimeout(() => patience.abort(), LOCK_WAIT_MS);
    return lock(name, { signal: patience.signal });
  }

  /** @type {Map<string, TokenStore>} */
  const stores = new Map();

  /** The token of one view: in memory as long as the page lives, and in the storage where there is one. */
  class TokenStore {
    /** @type {string | null} */ #token;
    /** @type {StorageKind} */ #storage;
    #key;
    #shown = false;

    /** Give the page's one store for a view. @param {string} viewId @param {StorageKind} storage */
    static of(viewId, storage) {
      const name = `${storage} ${viewId}`;
      const store = stores.get(name) ?? new TokenStore(viewId, storage);
      stores.set(name, store);
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
      this.ready = storage === "localStorage" ? this.#claim() : Promise.resolve();
    }

    get token() {
      return this.#token;
    }

    /** Give the token to a join. */
    show() {
      this.#shown = true;
      return this.#token;
    }

    /** @param {string} token */
    keep(token) {
      this.#token = token;
      attempt(() => this.#shelf()?.setItem(this.#key, token));
    }

    forget() {
      this.#token = null;
      attempt(() => this.#shelf()?.removeItem(this.#key));
    }

    /**
     * Become the tab that owns the token in localStorage. A tab with a token of its own in sessionStorage stays
     * with that one, and so does a tab that joined before it knew: a second tab must never show the first one's.
     */
    async #claim() {
      if (this.#token !== null) return;
      const release = await lockForThisPage(this.#key).catch(() => null);
      if (this.#shown || this.#token !== null) return release?.();
      if (release === null) return;
      this.#storage = "localStorage";
      this.#token = this.#read();
    }

    #read() {
      return attempt(() => this.#shelf()?.getItem(this.#key)) || null;
    }

    /** @returns {Storage | null} */
    #shelf() {
      return this.#storage === "none" ? null : globalThis[this.#storage];
    }
  }

  // ---------------------------------------------------------------------------------------------- One view

  /**
   * The recovery of one view: its token, how its connection is, and what became of its state.
   *
   * Events: "status" (detail: a Status), "outcome" (an OutcomeDetail).
   * `joinPayload`, `joined`, `dropped` and `keep` are all that any other client has to call.
   */
  class Recovery extends EventTarget {
    #tokens;
    /** @type {number | null} */ #since = null;
    /** @type {Status} */ status = "disconnected";
    /** @type {Outcome | null} */ outcome = null;

    /**
     * @param {string} viewId names the token's place in the storage: `lv_recovery_<viewId>`
     * @param {{ storage?: StorageKind }} [options] with "localStorage", await `ready` before the first join
     */
    constructor(viewId, { storage = "sessionStorage" } = {}) {
      super();
      this.#tokens = TokenStore.of(viewId, storage);
    }

    get ready() {
      return this.#tokens.ready;
    }

    get token() {
      return this.#tokens.token;
    }

    /** Remove the token: the next join starts afresh. */
    forget() {
      this.#tokens.forget();
    }

    /**
     * Make a channel of the npm `phoenix` client that shows the token at every join. It joins as any other does.
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
      return channel;
    }

    /** Take note that a connection or a join is tried. */
    connecting() {
      this.#since ??= performance.now();
      this.#become("connecting");
    }

    /** Say what to send with a join, which starts now. @param {Params} [params] @returns {Payload} */
    joinPayload(params = {}) {
      this.connecting();
      const token = this.#tokens.show();
      const own = typeof params === "function" ? params() : params;
      return token === null ? { ...own } : { ...own, _recovery: token };
    }

    /** Take a join's ok reply, and give what else is in it. @param {Payload | null} [reply] @returns {Payload} */
    joined(reply) {
      const { _recovery, ...response } = reply ?? {};
      const { outcome = null, ttl = null, token } = _recovery ?? {};
      const elapsedMs = performance.now() - (this.#since ?? performance.now());
      this.#since = null;
      this.keep({ token });
      this.outcome = outcome;
      this.#become("connected");
      this.tell("outcome", { outcome, elapsedMs, ttl, response });
      return response;
    }

    /** Take note that the connection or the channel is gone. */
    dropped() {
      this.#since ??= performance.now();
      this.#become("disconnected");
    }

    /** Keep a new token, from a join or from the event `recovery:token`; without one the old one stays.
     * @param {{ token?: string | null }} pushed */
    keep({ token }) {
      if (token) this.#tokens.keep(token);
    }

    /** Tell the page. @param {string} type @param {unknown} detail */
    tell(type, detail) {
      this.dispatchEvent(new CustomEvent(type, { detail }));
    }

    /** @param {Status} status */
    #become(status) {
      if (status === this.status) return;
      this.status = status;
      this.tell("status", status);
    }
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
          if (topic.startsWith("lv:")) this.#hear(this.view(topic.slice("lv:".length)), event, payload);
          return payload;
        };
        return channel;
      };
      return liveSocket;
    }

    /** @param {Recovery} view @param {string} event @param {any} payload */
    #hear(view, event, payload) {
      if (event === "recovery:token") view.keep(payload);
      else if (event === "phx_error" || event === "phx_close") view.dropped();
      else if (event === "phx_reply" && payload?.response?._recovery?.outcome) view.joined(payload.response);
    }
  }

  // ---------------------------------------------------------------------------------------------- Events

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

  /** @typedef {{ ref: string | null, resolve(response: Payload): void, reject(error: Error): void }} Unanswered */
  /** @typedef {PageEvent & Unanswered} Kept */

  /**
   * The events of the page, oldest first, each kept until its reply.
   *
   * The policy for those on the wire when the connection goes is all in `interrupt`: the server does not tell yet
   * whether it has applied one, so none is sent twice.
   */
  class EventQueue {
    /** @type {Kept[]} */ #kept = [];
    #isClosed = false;
    #limit;
    #tellLost;

    /** @param {number} limit @param {(lost: LostDetail) => void} tellLost */
    constructor(limit, tellLost) {
      this.#limit = limit;
      this.#tellLost = tellLost;
    }

    /** Keep an event, as it is now, and promise its reply. @param {string} event @param {Payload} payload */
    add(event, payload) {
      const reply = new Promise((/** @type {(response: Payload) => void} */ resolve, reject) => {
        const kept = { event, payload: JSON.parse(JSON.stringify(payload)), ref: null, resolve, reject };
        if (this.#isClosed) this.#lose([kept], "left");
        else if (this.#kept.length >= this.#limit) this.#lose([kept], "full");
        else this.#kept.push(kept);
      });
      reply.catch(() => {}); // a page that listens to "lost" need not catch each promise too
      return reply;
    }

    /** Send what is not on the wire. @param {(kept: PageEvent) => string} send gives the ref it was sent with */
    flush(send) {
      for (const kept of this.#kept) kept.ref ??= send(kept);
    }

    /** Take a reply. @param {string} ref @param {{ status: string, response: Payload }} reply */
    settle(ref, { status, response }) {
      const [kept] = this.#remove((each) => each.ref === ref);
      if (status === "ok") kept?.resolve(response);
      else kept?.reject(new EventError(kept, "refused", response));
    }

    /** Take note that the connection is gone. */
    interrupt() {
      this.#lose(this.#remove((kept) => kept.ref !== null), "unconfirmed");
    }

    /** Give up all events. @param {LostReason} reason */
    clear(reason) {
      this.#lose(this.#remove(() => true), reason);
    }

    /** Give up all events, those to come too. */
    close() {
      this.#isClosed = true;
      this.clear("left");
    }

    /** @param {(kept: Kept) => boolean} matches */
    #remove(matches) {
      const removed = this.#kept.filter(matches);
      this.#kept = this.#kept.filter((kept) => !removed.includes(kept));
      return removed;
    }

    /** @param {Kept[]} lost @param {LostReason} reason */
    #lose(lost, reason) {
      for (const kept of lost) kept.reject(new EventError(kept, reason));
      const events = lost.map(({ event, payload }) => ({ event, payload }));
      if (events.length > 0) this.#tellLost({ reason, events });
    }
  }

  // ---------------------------------------------------------------------------------------------- A socket of its own

  /** Close codes: 1000 is a goodbye, 4000 and up are an application's own. */
  const [CLOSE_NORMAL, CLOSE_DROPPED] = [1000, 4000];

  /**
   * @typedef {object} SocketOptions
   * @property {string} [viewId] default: the URL's path
   * @property {StorageKind} [storage] default: "sessionStorage"
   * @property {number} [heartbeatMs] how often to ask for a sign of life
   * @property {number} [timeoutMs] how long a connection or a join may take
   * @property {number} [maxKept] how many events may wait for their replies
   * @property {Backoff} [reconnectAfterMs]
   * @property {Backoff} [rejoinAfterMs]
   */

  /**
   * One joined topic on a WebSocket that comes back by itself.
   *
   * Events: those of Recovery, "lost" (a LostDetail), and "refused" (a join's error response; it is tried again).
   */
  class RecoverySocket extends Recovery {
    #url;
    #options;
    #queue;
    #pushed = new EventTarget();
    #leaving = new AbortController();

    #topic = "";
    /** @type {Params} */ #params = {};
    /** @type {WebSocket | null} */ #connection = null;
    /** @type {string | null} */ #joinRef = null;
    /** @type {(response: Payload) => void} */ #firstJoined = () => {};
    #wanted = false;
    #joinedBefore = false;
    #silent = false;
    #lastRef = 0;
    #tries = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #next;
    /** @type {ReturnType<typeof setTimeout> | undefined} */ #heart;

    /** @param {string} url as for a WebSocket, or a path of this page's own host @param {SocketOptions} [options] */
    constructor(url, options = {}) {
      const address = new URL(url, globalThis.location?.href);
      address.protocol = address.protocol.replace("http", "ws");
      super(options.viewId ?? address.pathname, options);
      this.#url = address.href;
      this.#options = {
        heartbeatMs: 30_000, timeoutMs: 10_000, maxKept: 1_000, reconnectAfterMs, rejoinAfterMs, ...options,
      };
      this.#queue = new EventQueue(this.#options.maxKept, (lost) => this.tell("lost", lost));
    }

    /**
     * Connect and join, and again after every drop. Gives the first join's response; "outcome" tells each one's.
     * @param {string} topic @param {Params} [params] @returns {Promise<Payload>}
     */
    join(topic, params = {}) {
      if (this.#topic) throw new Error(`this socket has joined ${this.#topic}: one topic on one socket`);
      this.#topic = topic;
      this.#params = params;
      const { signal } = this.#leaving;
      for (const type of ["online", "pageshow", "visibilitychange", "resume"]) {
        globalThis.addEventListener?.(type, () => this.#wake(), { capture: true, signal });
      }
      this.connect();
      return new Promise((resolve) => (this.#firstJoined = resolve));
    }

    /** Send an event, now or after the next join, in order. Rejects with an EventError.
     * @param {string} event @param {Payload} [payload] @returns {Promise<Payload>} */
    push(event, payload = {}) {
      const reply = this.#queue.add(event, payload);
      if (this.status === "connected") this.#flush();
      return reply;
    }

    /** Hear what the server pushes. Gives a function that stops it.
     * @param {string} event @param {(payload: any) => void} callback */
    on(event, callback) {
      const listener = (/** @type {Event} */ heard) => callback(/** @type {CustomEvent} */ (heard).detail);
      this.#pushed.addEventListener(event, listener);
      return () => this.#pushed.removeEventListener(event, listener);
    }

    /** Connect again after `disconnect`. */
    connect() {
      this.#wanted = !this.#leaving.signal.aborted;
      this.ready.then(() => this.#open());
    }

    /** Give up the connection until `connect`; what is pushed meanwhile is kept. */
    disconnect() {
      this.#wanted = false;
      this.#abandon(CLOSE_NORMAL);
    }

    /** Cut the connection, as a bad network would; it comes back by itself. */
    drop() {
      this.#abandon(CLOSE_DROPPED);
      if (this.#wanted) this.#after(this.#options.reconnectAfterMs(++this.#tries), () => this.#open());
    }

    /** Leave for good. The token stays: `forget` removes it. */
    leave() {
      this.#leaving.abort();
      if (this.status === "connected") this.#send(this.#topic, "phx_leave", {});
      this.disconnect();
      this.#queue.close();
    }

    // Connection

    #open() {
      if (!this.#wanted || !this.#topic || this.#connection) return;
      this.connecting();
      const connection = new globalThis.WebSocket(this.#url);
      this.#connection = connection;
      connection.onerror = () => {}; // "close" follows and says it all
      connection.onopen = () => this.#opened();
      connection.onmessage = ({ data }) => this.#received(data);
      connection.onclose = () => this.drop();
      this.#after(this.#options.timeoutMs, () => this.drop());
    }

    #opened() {
      this.#heart = setTimeout(() => this.#beat(), this.#options.heartbeatMs);
      this.#join();
    }

    /** Let go of the connection at once, whether or not the other side can still hear of it. @param {number} code */
    #abandon(code) {
      clearTimeout(this.#next);
      clearTimeout(this.#heart);
      const connection = this.#connection;
      if (!connection) return;
      this.#connection = null;
      connection.onopen = connection.onmessage = connection.onclose = null;
      connection.close(code);
      this.#interrupt();
    }

    /** Ask for a sign of life: whatever arrives is one. @param {number} [withinMs] */
    #beat(withinMs = this.#options.heartbeatMs) {
      this.#silent = true;
      this.#send("phoenix", "heartbeat", {});
      clearTimeout(this.#heart);
      this.#heart = setTimeout(() => (this.#silent ? this.drop() : this.#beat()), withinMs);
    }

    /** The page is awake or online again: don't wait for timers that slept. */
    #wake() {
      if (globalThis.document?.visibilityState === "hidden") return;
      if (this.status === "connected") return this.#beat(this.#options.timeoutMs);
      if (this.#wanted) this.connect();
    }

    // Channel

    #join() {
      this.#joinRef = String(this.#lastRef + 1);
      this.#send(this.#topic, "phx_join", this.joinPayload(this.#params));
      // a reply that never comes can't be told from one that is late: only a new connection gets out of both
      this.#after(this.#options.timeoutMs, () => this.drop());
    }

    /** @param {unknown} data */
    #received(data) {
      this.#silent = false;
      const frame = attempt(() => JSON.parse(String(data)));
      if (!Array.isArray(frame)) return;
      const [joinRef, ref, topic, event, payload] = frame;
      if (topic !== this.#topic || (joinRef !== null && joinRef !== this.#joinRef)) return;
      if (event === "phx_reply") ref === this.#joinRef ? this.#answered(payload) : this.#queue.settle(ref, payload);
      else if (event === "phx_error") this.#rejoin();
      else if (event === "phx_close") this.disconnect();
      else this.#heard(event, payload);
    }

    /** @param {string} event @param {any} payload */
    #heard(event, payload) {
      if (event === "recovery:token") this.keep(payload);
      this.#pushed.dispatchEvent(new CustomEvent(event, { detail: payload }));
    }

    /** @param {{ status: string, response: Payload }} reply to the join */
    #answered({ status, response }) {
      if (status !== "ok") return this.#refused(response);
      clearTimeout(this.#next);
      this.#tries = 0;
      const outcome = response?._recovery?.outcome ?? null;
      // what was pushed on a state that is gone must not be applied to a fresh one
      if (this.#joinedBefore && outcome !== "recovered") this.#queue.clear(outcome);
      this.#joinedBefore = true;
      this.#firstJoined(this.joined(response));
      this.#flush();
    }

    /** @param {Payload} response */
    #refused(response) {
      this.tell("refused", response);
      this.#rejoin();
    }

    #rejoin() {
      this.#interrupt();
      this.#after(this.#options.rejoinAfterMs(++this.#tries), () => this.#join());
    }

    // Events

    #flush() {
      this.#queue.flush(({ event, payload }) => this.#send(this.#topic, event, payload));
    }

    #interrupt() {
      this.#joinRef = null;
      this.dropped();
      this.#queue.interrupt();
    }

    /** @param {string} topic @param {string} event @param {Payload} payload */
    #send(topic, event, payload) {
      const ref = String(++this.#lastRef);
      const joinRef = topic === this.#topic ? this.#joinRef : null;
      this.#connection?.send(JSON.stringify([joinRef, ref, topic, event, payload]));
      return ref;
    }

    /** Do one thing later, instead of what was to be done. @param {number} ms @param {() => void} then */
    #after(ms, then) {
      clearTimeout(this.#next);
      this.#next = setTimeout(then, ms);
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
