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
/**
 * @typedef {"new" | "recovered" | "expired" | "not_found" | "superseded" | "rejected" | "version" | "unavailable"
 * } Outcome
 */
/** @typedef {Record<string, any>} Payload */
/** @typedef {Payload | (() => Payload)} Params */
/** @typedef {(tries: number) => number} Backoff how many milliseconds to wait before try 1, 2, 3, … */

/**
 * What the event "outcome" tells; `outcome` is null where the server recovers nothing on this topic, and
 * `elapsedMs` runs from the drop (on the page's first join: from its start) to the join's ok.
 * @typedef {{ outcome: Outcome | null, elapsedMs: number, ttl: number | null, response: Payload }} OutcomeDetail
 */
/** @typedef {{ event: string, payload: Payload }} PageEvent */
/**
 * What the event "lost" tells: which events, and why. "unconfirmed": sent, but the connection went before the
 * reply, so they may have been applied; "full": too many were kept already; "left": the page left; else the
 * outcome of a join that did not bring the state back.
 * @typedef {{ reason: "unconfirmed" | "full" | "left" | Outcome | null, events: PageEvent[] }} LostDetail
 */

/** @typedef {{ receive(status: string, callback: (response: any) => void): any }} PhoenixPush */
/**
 * @typedef {object} PhoenixChannel what is used of the npm client's Channel
 * @property {(timeout?: number) => any} join
 * @property {(event: string, callback: (payload: any) => void) => unknown} on
 * @property {(callback: () => void) => unknown} onError
 * @property {(callback: () => void) => unknown} onClose
 */
/**
 * @typedef {object} PhoenixSocket what is used of the npm client's Socket
 * @property {(callback: (message: any) => void) => unknown} onMessage
 * @property {(callback: () => void) => unknown} onClose
 */

var RecoveryApp = (() => {
  // ---------------------------------------------------------------------------------------------- Waiting

  /**
   * Make a backoff with full jitter: anything from nothing to a bound that doubles with each try, so that the
   * clients of a server that restarts do not come back all at once.
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

  /** How long a reloaded page waits for the lock that the page before it is giving up. */
  const LOCK_WAIT_MS = 200;

  /** Give what `action` gives, or null where the browser forbids it: storage may throw at any touch.
   * @template T @param {() => T} action @returns {T | null} */
  function attempt(action) {
    try {
      return action();
    } catch {
      return null;
    }
  }

  /**
   * Ask for a Web Lock for the life of the page. Gives a function that releases it, or null without the lock.
   * @param {string} name @returns {Promise<(() => void) | null>}
   */
  function lockForThisPage(name) {
    return new Promise((resolve, reject) => {
      const patience = new AbortController();
      const timer = setTimeout(() => patience.abort(), LOCK_WAIT_MS);
      const hold = () => {
        clearTimeout(timer);
        return /** @type {Promise<void>} */ (new Promise((release) => resolve(release)));
      };
      globalThis.navigator.locks.request(name, { signal: patience.signal }, hold).catch(reject);
    }).catch(() => null);
  }

  /** @type {Map<string, TokenStore>} */
  const stores = new Map();

  /** The token of one view: in memory as long as the page lives, and in the storage where there is one. */
  class TokenStore {
    /** @type {string | null} */ #token = null;
    /** @type {StorageKind} */ #storage;
    /** @type {string} */ #key;
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
      const release = await lockForThisPage(this.#key);
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
     * Make a channel of the npm `phoenix` client that shows its token at every join. It joins as any other does.
     * @template {PhoenixChannel} C
     * @param {{ channel(topic: string, params: () => Payload): C }} socket
     * @param {string} topic
     * @param {Params} [params]
     * @returns {C}
     */
    channel(socket, topic, params = {}) {
      const channel = socket.channel(topic, () => this.joinPayload(params));
      const join = channel.join.bind(channel);
      channel.join = (timeout) =>
        join(timeout).receive("ok", (/** @type {Payload} */ response) => this.joined(response));
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

    /** Take a join's ok reply. @param {Payload | null} [response] */
    joined(response) {
      const { outcome = null, ttl = null, token } = response?._recovery ?? {};
      const elapsedMs = performance.now() - (this.#since ?? performance.now());
      this.#since = null;
      this.keep({ token });
      this.outcome = outcome;
      this.#become("connected");
      this.tell("outcome", { outcome, elapsedMs, ttl, response: response ?? {} });
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
     * @param {Element | undefined} el
     * @param {Params} [params]
     * @returns {Payload}
     */
    params(el, params = {}) {
      if (el?.id) return this.view(el.id).joinPayload(params);
      return { ...(typeof params === "function" ? params() : params) };
    }

    /**
     * Learn new tokens from what the socket receives: LiveView keeps the replies to its joins to itself.
     * @template {{ getSocket(): PhoenixSocket }} L @param {L} liveSocket @returns {L}
     */
    watch(liveSocket) {
      const socket = liveSocket.getSocket();
      socket.onMessage((message) => this.#received(message));
      socket.onClose(() => this.#views.forEach((view) => view.dropped()));
      return liveSocket;
    }

    /** @param {{ topic: string, event: string, payload: any }} message */
    #received({ topic, event, payload }) {
      const view = topic.startsWith("lv:") ? this.#views.get(topic.slice("lv:".length)) : undefined;
      if (!view) return;
      if (event === "recovery:token") view.keep(payload);
      if (event === "phx_error") view.dropped();
      if (event === "phx_reply" && payload.status === "ok" && payload.response?._recovery?.outcome) {
        view.joined(payload.response);
      }
    }
  }

  // ---------------------------------------------------------------------------------------------- Events

  /** Why a pushed event has no reply. `name` is one of EventRefused, EventUnconfirmed, EventLost, QueueFull. */
  class EventError extends Error {
    /** @param {string} name @param {PageEvent} pushed @param {string} why @param {Payload} [response] */
    constructor(name, pushed, why, response) {
      super(`${pushed.event}: ${why}`);
      this.name = name;
      this.event = pushed.event;
      this.payload = pushed.payload;
      this.response = response;
    }
  }

  /** @typedef {PageEvent & { ref: string | null, resolve(response: Payload): void, reject(error: Error): void }} Kept */

  /**
   * The events of the page, oldest first, each kept until its reply.
   *
   * The policy for events that were on the wire when the connection went is all in `interrupt`: the server can't
   * tell yet whether it has applied one, so none is sent twice.
   */
  class EventQueue {
    /** @type {Kept[]} */ #kept = [];
    #limit;

    /** @param {number} limit */
    constructor(limit) {
      this.#limit = limit;
    }

    get isFull() {
      return this.#kept.length >= this.#limit;
    }

    /** Keep an event, as it is now, and promise its reply. @param {string} event @param {Payload} payload */
    add(event, payload) {
      return new Promise((/** @type {(response: Payload) => void} */ resolve, reject) => {
        const copy = JSON.parse(JSON.stringify(payload));
        this.#kept.push({ event, payload: copy, ref: null, resolve, reject });
      });
    }

    /** Send what is not on the wire. @param {(kept: PageEvent) => string} send gives the ref it was sent with */
    flush(send) {
      for (const kept of this.#kept) kept.ref ??= send(kept);
    }

    /** Take a reply. @param {string} ref @param {{ status: string, response: Payload }} reply */
    settle(ref, { status, response }) {
      const kept = this.#remove((each) => each.ref === ref)[0];
      if (status === "ok") kept?.resolve(response);
      else kept?.reject(new EventError("EventRefused", kept, "the server refused it", response));
    }

    /** Give up the events on the wire, as the connection is gone, and say which. */
    interrupt() {
      const lost = this.#remove((kept) => kept.ref !== null);
      return this.#reject(lost, "EventUnconfirmed", "sent, but the connection went before the reply");
    }

    /** Give up all events, and say which. @param {string} why */
    clear(why) {
      return this.#reject(this.#remove(() => true), "EventLost", why);
    }

    /** @param {(kept: Kept) => boolean} matches */
    #remove(matches) {
      const removed = this.#kept.filter(matches);
      this.#kept = this.#kept.filter((kept) => !removed.includes(kept));
      return removed;
    }

    /** @param {Kept[]} lost @param {string} name @param {string} why @returns {PageEvent[]} */
    #reject(lost, name, why) {
      for (const kept of lost) kept.reject(new EventError(name, kept, why));
      return lost.map(({ event, payload }) => ({ event, payload }));
    }
  }

  // ---------------------------------------------------------------------------------------------- A socket of its own

  const CLOSE_NORMAL = 1000;
  const CLOSE_DROPPED = 4000;

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
    #listening = new AbortController();

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
      this.#queue = new EventQueue(this.#options.maxKept);
    }

    /**
     * Connect and join, and again after every drop. Gives the first join's response; "outcome" tells each one's.
     * @param {string} topic @param {Params} [params] @returns {Promise<Payload>}
     */
    join(topic, params = {}) {
      if (this.#topic) throw new Error(`this socket has joined ${this.#topic}: one topic on one socket`);
      this.#topic = topic;
      this.#params = params;
      const { signal } = this.#listening;
      for (const type of ["online", "pageshow", "visibilitychange", "resume"]) {
        globalThis.addEventListener?.(type, () => this.#wake(), { capture: true, signal });
      }
      this.connect();
      return new Promise((resolve) => (this.#firstJoined = resolve));
    }

    /** Send an event, now or after the next join, in order. Rejects with an EventError.
     * @param {string} event @param {Payload} [payload] @returns {Promise<Payload>} */
    push(event, payload = {}) {
      const reply = this.#queue.isFull ? this.#overflow({ event, payload }) : this.#queue.add(event, payload);
      reply.catch(() => {}); // a page that listens to "lost" need not catch each promise too
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
      this.#wanted = true;
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
      this.#listening.abort();
      if (this.status === "connected") this.#send(this.#topic, "phx_leave", {});
      this.disconnect();
      this.#lose("left", this.#queue.clear("the page left"));
    }

    // Connection

    #open() {
      if (!this.#wanted || this.#connection) return;
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
      if (status !== "ok") {
        this.tell("refused", response);
        return this.#rejoin();
      }
      clearTimeout(this.#next);
      this.#tries = 0;
      const outcome = response?._recovery?.outcome ?? null;
      // what was pushed on a state that is gone must not be applied to a fresh one
      const isGone = this.#joinedBefore && outcome !== "recovered";
      const lost = isGone ? this.#queue.clear(`the state is gone (${outcome})`) : [];
      this.#joinedBefore = true;
      this.joined(response);
      this.#lose(outcome, lost);
      this.#flush();
      this.#firstJoined(response);
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
      this.#lose("unconfirmed", this.#queue.interrupt());
    }

    /** @param {PageEvent} pushed @returns {Promise<Payload>} */
    #overflow(pushed) {
      this.#lose("full", [pushed]);
      return Promise.reject(new EventError("QueueFull", pushed, `${this.#options.maxKept} events wait already`));
    }

    /** @param {LostDetail["reason"]} reason @param {PageEvent[]} events */
    #lose(reason, events) {
      if (events.length > 0) this.tell("lost", { reason, events });
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

  return {
    Recovery, LiveViewRecovery, RecoverySocket, EventQueue, EventError, fullJitter, reconnectAfterMs, rejoinAfterMs,
  };
})();

// ------------------------------------------------------------------------------------------------ One file, two kinds of tag
//
// `export` is a syntax error in a plain script, so only a module may see it. In a module `await` is a keyword, and
// what follows it is a regular expression; in a plain script `await` is a name, `/` divides it by an array, and `/*`
// opens a comment that hides the export. Neither is ever evaluated.

Object.assign(globalThis, { RecoveryApp });

// prettier-ignore
false && await /[/*]/;
export const {
  Recovery, LiveViewRecovery, RecoverySocket, EventQueue, EventError, fullJitter, reconnectAfterMs, rejoinAfterMs,
} = RecoveryApp;
//*/ 0];
