import { rejoinAfterMs } from "./backoff.js";
import { namesOfPage, onPageLife, refuseOldStorage, whenActive } from "./browser.js";
import { CLOSE_DEAD, CLOSE_TOO_LARGE, suspicionOf } from "./connection/close_codes.js";
import { ConnectionState } from "./connection/connection_state.js";
import { phoenixChannel } from "./connection/phoenix_channel.js";
import { SharedSocket } from "./connection/phoenix_socket.js";
import { Delivery } from "./delivery.js";
import { EventQueue } from "./events/event_queue.js";
import { copyEvent, toPageEvent } from "./events/page_event.js";
import { EventStorage } from "./events/event_storage.js";
import { logTo } from "./logger.js";
import { closeView, openView } from "./open_views.js";
import { checkOptions } from "./options.js";
import { ReceivedPushes } from "./received_pushes.js";
import { takePageToken } from "./tokens/page_tokens.js";
import { TokenStore } from "./tokens/token_store.js";
import { View } from "./view.js";
/** @import { ConnectionDetail, Log, Outcome, PageEvent, Params, Payload, PhoenixChannel, PhoenixSocket, PushOptions, RecoveryOptions, Status, Transport } from "./types.js" */

/** Outcomes by which the server tells that the token is this person's. */
const CONTINUING_OUTCOMES = ["recovered", "copied"];

/**
 * The recovery of one view: its token, its events, the status of its connection, and the outcome of its last join.
 *
 * Dispatches "status" (detail: a Status), "connection" (a ConnectionDetail), "outcome" (an OutcomeDetail), "lost" (a
 * LostDetail), "reply" (a ReplyDetail, for an event that was pushed before the page was reloaded), "missed", where
 * pushes of the server are gone, and "kept" (the new value of `isKept`).
 * Other clients call `joinPayload`, `joined`, `dropped`, `keep`, `heard` and, to send events, `carry`.
 */
export class Recovery extends View {
  #tokens;
  #queue;
  #storage;
  #pushes;
  /** The token in the page's HTML, until a join has used it. @type {string | null} */ #pageToken = null;
  #listeners = new AbortController();
  #delivery;
  #rejoins;
  #isForgotten = false;
  /** Whether the view belongs to the next one now. */ #isClosed = false;
  /** Whether another page has continued the state since the last join: as somebody else, perhaps. */ #isContinued = false;
  /** Whether the last join had a token. */ #showsToken = false;
  /** Counts what happens to the connection. */ #changes = 0;
  #isActive;
  /** What the page was told. */ #wasKept;
  #connectionState = new ConnectionState((detail) => this.tell("connection", detail));
  /** Whether the page is on a state that it goes on with: it knows the join's outcome, and waits for no other. */ #hearsPushes = false;
  /** @type {Log} */ #log;
  /** @type {number | null} */ #offlineSince = null;
  /** @type {Status} */ status = "disconnected";
  /** @type {Outcome | null} */ outcome = null;

  /**
   * @param {string | null} viewId part of the storage key: `lv_recovery_<viewId>`; null until `nameView`
   * @param {RecoveryOptions} [options]
   */
  constructor(viewId, options = {}) {
    super();
    if (viewId !== null && typeof viewId !== "string") throw new TypeError("Recovery: the viewId must be a string");
    const given = checkOptions("Recovery", options);
    // half of what browsers allow, as the page may use the same storage
    const { storage = "sessionStorage", maxKept = 1_000, maxKeptChars = 2_500_000 } = given;
    this.#log = logTo(given.logger);
    this.#storage = storage;
    this.#wasKept = storage !== "none";
    if (viewId !== null) openView(viewId, this);
    this.#tokens = viewId === null ? new TokenStore("", "none") : TokenStore.forView(viewId, storage);
    const emit = (/** @type {string} */ type, /** @type {any} */ detail) => {
      if (type === "kept") return this.#tellKept();
      if (type === "lost") this.#log("warn", "events lost", { reason: detail.reason, count: detail.events.length });
      this.tell(type, detail);
    };
    const events = new EventStorage(viewId ?? "", viewId === null ? "none" : storage);
    this.#queue = new EventQueue(events, { maxKept, maxKeptChars }, namesOfPage(given.owner), emit);
    const isJoined = () => this.status === "connected";
    this.#delivery = new Delivery(this.#queue, given.rejoinAfterMs ?? rejoinAfterMs, given.timeoutMs ?? 10_000, isJoined);
    this.#rejoins = this.#delivery.rejoins;
    const acknowledge = (/** @type {Payload} */ payload) => {
      this.#delivery.transport?.send("recovery:received", payload, () => {});
    };
    this.#pushes = new ReceivedPushes(() => this.#tokens, acknowledge, () => this.tell("missed", {}));
    if (storage !== "none") refuseOldStorage(this.#listeners.signal);
    onPageLife(this.#listeners.signal, () => this.#wake(), () => this.#queue.saveRest());
    this.#isActive = whenActive(() => this.#wake());
  }

  /** Give the view its name, where that wasn't known to the constructor: before it joins. @param {string} viewId */
  nameView(viewId) {
    openView(viewId, this);
    const { token } = this;
    this.#tokens = TokenStore.forView(viewId, this.#storage);
    if (token !== null) this.#tokens.save(token);
    this.#queue.use(new EventStorage(viewId, this.#storage));
    if (this.#queue.events.length > 0) this.#queue.save();
  }

  /** Have the first join show the token in the page's HTML, if the view has no other. @param {string} topic */
  beginWith(topic) {
    if (this.token === null && !this.#isForgotten) this.#pageToken = takePageToken(topic);
  }

  /** Resolves when the page may join: its token is known, and it is shown or in the background, not being prepared. */
  get ready() {
    return Promise.all([this.#tokens.ready, this.#isActive]).then(() => {});
  }

  /** Read token and events again: while this page slept, others of the same tab may have continued its state. */
  #wake() {
    this.#queue.dropUnowned();
    const regaining = this.#tokens.regain();
    if (regaining) regaining.then((isContinued) => this.#handleContinued(isContinued));
    else this.#handleContinued(this.#tokens.readAgain());
  }

  /** @param {boolean} isContinued whether another page may have continued the state */
  #handleContinued(isContinued) {
    this.#isContinued ||= isContinued;
    if (isContinued && this.token === null) return this.#queue.discardAll("forgotten");
    if (this.#queue.readAgain(isContinued) && this.status === "connected") this.#delivery.transport?.rejoin();
  }

  get token() {
    return this.#tokens.token;
  }

  /** The events without a reply, oldest first. Those from before a reload are here once it is known that the same
   * person is at the page: after the join, unless the page names its owner. @returns {PageEvent[]} */
  get pending() {
    return this.#queue.pending.map(toPageEvent);
  }

  /** Whether a reload would keep what is pending, and the state: the tab's storage may be full or forbidden. The event
   * "kept" tells when that changes. */
  get isKept() {
    return this.#storage !== "none" && this.#queue.isKept && this.#tokens.isStored;
  }

  /** Tell the page whether a reload would keep what is pending, if that is news: when what runs now has ended. */
  #tellKept() {
    this.#tokens.saveAgain();
    queueMicrotask(() => {
      if (this.isKept !== this.#wasKept) this.tell("kept", (this.#wasKept = this.isKept));
    });
  }

  /** What there is to say about the connection, for "reconnecting…": the event "connection" tells when that is due.
   * @returns {ConnectionDetail} */
  get connection() {
    return this.#connectionState.current;
  }

  /** Pass on an event that the server has pushed. @param {string} event @param {unknown} payload */
  heard(event, payload) {
    const told = this.receive(payload);
    if (told !== null) super.heard(event, told);
  }

  /** The size of the largest event that awaits its reply; 0 if none does. */
  get sentBytes() {
    return this.#queue.sentBytes;
  }

  /** Send an event, now or after the next join, in order. Return a promise for the response, which
   * rejects with an EventError if there is none.
   * @param {string} event @param {Payload} [payload] @param {PushOptions} [options] @returns {Promise<Payload>} */
  push(event, payload = {}, options = {}) {
    if (this.#rejoins.tries > 0 && !this.#rejoins.isScheduled) this.#delivery.rejoin(this.#rejoins.tries);
    return this.#queue.add(event, payload, options);
  }

  /** Send an event now or not at all, for what the next one replaces: a cursor, "is typing". It is neither numbered
   * nor kept nor sent again, and has no response. Return whether it was sent: not while the view hasn't joined, waits
   * for its state, or has more to send than the line takes.
   * @param {string} event @param {Payload} [payload] @returns {boolean} */
  pushVolatile(event, payload = {}) {
    return this.#delivery.sendNow(copyEvent(event, payload));
  }

  /** Remove the token and discard all events: the next join starts with a fresh state. */
  forget() {
    this.#isForgotten = true;
    this.#pageToken = null;
    this.#tokens.remove();
    this.#queue.discardAll("forgotten");
  }

  /** Discard the events without a reply, and all that are pushed later. */
  giveUp() {
    this.#stop();
    this.#queue.close();
  }

  /** Stop, and leave the events without a reply to the next `Recovery` of this view, in this page or after a reload.
   * Their promises are rejected with the reason "closed". */
  close() {
    this.#stop();
    this.#isClosed = true;
    this.#rejoins.stop();
    this.#queue.handOver();
  }

  #stop() {
    closeView(this);
    this.#listeners.abort();
    this.#connectionState.stop();
    this.#delivery.sharedSocket?.remove(this.#queue);
  }

  /** Close, as the page has made another `Recovery` for this view. */
  giveWay() {
    console.warn("recovery_app: of two views with one viewId, the earlier one is closed");
    this.close();
    this.tell("refused", { reason: "replaced" });
  }

  /** Use a transport for events from the next join on. @param {Transport} transport */
  carry(transport) {
    this.#delivery.transport = transport;
  }

  /**
   * Return a channel of the npm `phoenix` client that sends the token with every join, and that `push` of this object
   * sends events through. Events pushed with the channel's own `push` are neither queued nor resent.
   * @template {PhoenixChannel} C @param {PhoenixSocket<C>} socket
   * @param {string} topic @param {Params} [params] @returns {C}
   */
  channel(socket, topic, params = {}) {
    this.beginWith(topic);
    // the page continues with its fresh state, which another join would replace
    const onPush = () => {
      if (this.#rejoins.tries > 0 && this.#queue.events.length === 0) this.#rejoins.stop();
    };
    this.#delivery.sharedSocket = SharedSocket.of(socket);
    return phoenixChannel(this, socket.channel(topic, () => this.joinPayload(params)), onPush);
  }

  /** Record that a connection or a join is being tried. */
  connecting() {
    this.#hearsPushes = false;
    this.#changes += 1;
    this.#delivery.stop();
    this.#offlineSince ??= performance.now();
    this.#connectionState.markTrying();
    this.#setStatus("connecting");
  }

  /** Return the payload of a join that starts now. @param {Params} [params] @returns {Payload} */
  joinPayload(params = {}) {
    this.connecting();
    this.#isForgotten = false;
    const token = this.#isClosed ? null : (this.#tokens.present() ?? this.#pageToken);
    this.#showsToken = token !== null;
    const given = typeof params === "function" ? params() : params;
    if (typeof given?.then === "function") throw new TypeError("only a RecoverySocket takes a promise of params");
    const payload = { ...given };
    if (this.#delivery.transport !== null) payload._line = this.#queue.line;
    if (this.#delivery.transport?.takesPushes) payload._recv = this.#pushes.newest;
    return token === null ? payload : { ...payload, _recovery: token };
  }

  /** Handle a join's ok reply. Return it without `_recovery`. @param {Payload | null} [reply] @returns {Payload} */
  joined(reply) {
    const { _recovery, ...response } = reply ?? {};
    const { outcome = null, ttl = null, token, seq = 0, owner = null, aliases = [], missed = false, ...told } = _recovery ?? {};
    const elapsedMs = performance.now() - (this.#offlineSince ?? performance.now());
    const isWaiting = this.#rejoins.mustWait(outcome, this.#showsToken);
    this.#log("info", "joined", { outcome, elapsedMs, isWaiting });
    const changes = this.#changes;
    this.#hearsPushes = !isWaiting;
    this.#offlineSince = null;
    this.keep({ token });
    if (!isWaiting) this.#pageToken = null;
    const lacksPushes = this.#pushes.handleJoin(outcome, Boolean(token), missed);
    this.outcome = outcome;
    this.#queue.setOwner(owner, CONTINUING_OUTCOMES.includes(outcome) && !this.#isContinued, aliases);
    this.#isContinued &&= isWaiting;
    const wasConnected = this.status === "connected";
    this.status = "connected";
    this.#connectionState.markJoined();
    if (!isWaiting) this.#queue.handleJoin(outcome, seq, told);
    this.tell("outcome", { outcome, elapsedMs, ttl, response, isWaiting });
    if (lacksPushes) this.tell("missed", {});
    // the page may have closed the connection in a listener
    if (changes === this.#changes && !wasConnected) this.tell("status", "connected");
    if (changes !== this.#changes) return response;
    if (isWaiting) this.#delivery.rejoin(++this.#rejoins.tries);
    else this.#delivery.start(seq, outcome !== null, "lines" in told);
    return response;
  }

  /** Record that the connection or the channel is lost. @param {number} [closeCode] of the WebSocket, if known
   * @param {number | null} [nextDelayMs] how long until the next try, if known; null if there is none
   * @param {boolean} [isBlamed] whether it may have been closed over the size of an event of this view */
  dropped(closeCode, nextDelayMs, isBlamed = true) {
    this.#changes += 1;
    this.#rejoins.stop();
    this.#delivery.stop(nextDelayMs === null ? 0 : suspicionOf(closeCode ?? CLOSE_DEAD));
    if (closeCode === CLOSE_TOO_LARGE && isBlamed) this.#queue.suspects.blameLargest();
    this.#offlineSince ??= performance.now();
    this.#connectionState.markLost(closeCode ?? null, nextDelayMs);
    this.#setStatus("disconnected");
  }

  /** Store a new token, from a join or from the event `recovery:token`. Without one, the old token stays. A token of
   * a join from before `forget` is ignored. After a login on the same connection, the server names the new owner.
   * @param {{ token?: string | null, owner?: string }} pushed */
  keep({ token, owner }) {
    if (token && !this.#isForgotten && !this.#isClosed) {
      this.#tokens.save(token);
      this.#tellKept();
    }
    if (owner) this.#queue.setOwner(owner, true);
  }

  /** Take a push of the server. Return what to tell the page of it, or null for nothing: it was told already, or is of a
   * state that the page waits to leave, or of one whose token it never got. A transport that has each push pass through here says so (`takesPushes`).
   * @param {any} payload */
  receive(payload) {
    return this.#hearsPushes ? this.#pushes.receive(payload) : null;
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    this.tell("status", status);
  }
}
