import { reconnectAfterMs, rejoinAfterMs } from "./backoff.js";
import { CLOSE_DEAD, CLOSE_DROPPED, CLOSE_NORMAL, isDenial } from "./connection/close_codes.js";
import { decodeFrame, encodeFrame } from "./connection/frames.js";
import { Heartbeat } from "./connection/heartbeat.js";
import { Refusals } from "./connection/refusals.js";
import { WakeUps } from "./connection/wake_ups.js";
import { Recovery } from "./recovery.js";
import { Timer } from "./timer.js";
/** @import { Params, Payload, Reply, SocketOptions } from "./types.js" */

/** How long a connection has to hold after its join until it counts as good. */
const GOOD_AFTER_MS = 5_000;

/** How many times longer than `timeoutMs` a slow join may take, once shorter times were too short. */
const MAX_PATIENCE = 8;

/**
 * One topic on a WebSocket that reconnects automatically.
 *
 * Dispatches the events of Recovery, and "refused". Its detail is the error response of a join, or
 * `{ reason: "closed", code, tries }` if the server closes the connection with a code that means so (4xxx, 1008), or
 * `{ reason: "handshake", code, tries }` if the connection can't be opened again and again. All is tried again, less
 * and less often.
 */
export class RecoverySocket extends Recovery {
  #url;
  /** Path and query: the default name of the view, together with the topic. */ #place;
  #options;
  #serverEvents = new EventTarget();
  #leaveController = new AbortController();
  #wakeUps = new WakeUps(() => this.#handleWake());

  #topic = "";
  /** @type {Params} */ #params = {};
  /** @type {WebSocket | null} */ #connection = null;
  /** @type {string | null} */ #joinRef = null;
  /** @type {(response: Payload) => void} */ #resolveJoin = () => {};
  /** @type {(error: Error) => void} */ #rejectJoin = () => {};
  /** @type {Map<string, (reply: Reply) => void>} */ #replyCallbacks = new Map();
  #shouldConnect = false;
  #lastRef = 0;
  /** Tries since a connection has held. */ #tries = 0;
  #refusals = new Refusals();
  #isOpen = false;
  #joinedAt = 0;
  /** How many times `timeoutMs` a connection or a join may take. */ #patience = 1;
  #goodTimer = new Timer();
  #timer = new Timer();
  #heartbeat;

  /** @param {string} url as for a WebSocket, or a path on this page's host @param {SocketOptions} [options] */
  constructor(url, options = {}) {
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    super(options.viewId ?? null, options);
    this.#place = address.pathname + address.search;
    this.#url = address.href;
    this.#options = { heartbeatMs: 30_000, timeoutMs: 10_000, reconnectAfterMs, rejoinAfterMs, ...options };
    this.#heartbeat = new Heartbeat({
      intervalMs: this.#options.heartbeatMs,
      send: () => this.#send("phoenix", "heartbeat", {}),
      bufferedAmount: () => this.#bufferedAmount,
      onDead: () => this.#lose(CLOSE_DEAD),
    });
    this.carry({
      takesPushes: true,
      send: (event, payload, onReply) => {
        this.#replyCallbacks.set(this.#send(this.#topic, event, payload), onReply);
        return true;
      },
      rejoin: () => {
        this.#closeConnection(CLOSE_DROPPED);
        this.#open(); // a new connection may reach another node
      },
      isBusy: () => this.#bufferedAmount > 0,
      // a little longer than until the next resend: its reply may arrive together with those to the events
      probe: () => this.#heartbeat.send(this.#options.timeoutMs * 1.1),
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
    this.beginWith(topic);
    /** @type {Promise<Payload>} */
    const joined = new Promise((resolve, reject) => {
      this.#resolveJoin = resolve;
      this.#rejectJoin = reject;
    });
    joined.catch(() => {}); // a page that leaves before it has joined may not wait for it
    if (this.#leaveController.signal.aborted) this.#rejectJoin(new Error("the socket was closed"));
    this.connect();
    return joined;
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
    if (this.#shouldConnect && this.#topic) this.#wakeUps.listen();
    this.ready.then(() => this.#open());
  }

  /** Close the connection until `connect`. Events pushed meanwhile are queued. */
  disconnect() {
    this.#shouldConnect = false;
    this.#wakeUps.stop();
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
    const ms = Math.max(this.#options.reconnectAfterMs(++this.#tries), this.#refusals.retryAfterMs);
    this.#timer.set(ms, () => this.#open());
  }

  /** Count a refusal, and tell the page. @param {Payload} detail */
  #refused(detail) {
    this.#refusals.count += 1;
    this.tell("refused", detail);
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
    this.#timer.set(this.#options.timeoutMs * this.#patience, () => this.#handleTimeout());
  }

  /** @param {number} code */
  #handleClose(code) {
    const tries = this.#refusals.count + 1;
    if (isDenial(code)) {
      this.#refusals.deny();
      this.#refused({ reason: "closed", code, tries });
    } else if (!this.#isOpen && this.#refusals.areDenial) this.#refused({ reason: "handshake", code, tries });
    else if (!this.#isOpen) this.#refusals.count += 1;
    this.#lose(code);
  }

  /** Give the next connection more time, as the line or the server may only be slow. */
  #handleTimeout() {
    this.#patience = Math.min(MAX_PATIENCE, this.#patience * 2);
    this.#lose(CLOSE_DEAD);
  }

  #handleOpen() {
    this.#isOpen = true;
    this.#heartbeat.start();
    this.#join();
  }

  get #bufferedAmount() {
    return this.#connection?.bufferedAmount ?? 0;
  }

  /** Close the connection without waiting for the server. @param {number} code
   * @param {number} [lostCode] why it is lost */
  #closeConnection(code, lostCode = code) {
    this.#timer.clear();
    this.#goodTimer.clear();
    this.#heartbeat.stop();
    const connection = this.#connection;
    if (!connection) return;
    this.#connection = null;
    connection.onopen = connection.onmessage = connection.onclose = null;
    connection.close(code);
    this.#markDropped(lostCode);
  }

  /** Check the connection when the page wakes up or is online again, as its timers may have been suspended. */
  #handleWake() {
    // the browser may have closed it while the page slept, without telling
    if (this.#connection !== null && this.#connection.readyState > 1) this.#closeConnection(CLOSE_DROPPED);
    if (this.status === "connected") return this.#heartbeat.send(this.#options.timeoutMs);
    if (this.#shouldConnect) this.connect();
  }

  // Channel

  #join() {
    this.#joinRef = String(this.#lastRef + 1);
    this.#send(this.#topic, "phx_join", this.joinPayload(this.#params));
    this.#joinedAt = performance.now();
    // a late reply to this join can't arrive on a new connection
    this.#timer.set(this.#options.timeoutMs * this.#patience, () => this.#handleTimeout());
  }

  /** @param {unknown} data */
  #handleFrame(data) {
    this.#heartbeat.hear();
    const frame = decodeFrame(data);
    if (frame === null) return;
    const [joinRef, ref, topic, event, payload] = frame;
    if (topic !== this.#topic || (joinRef !== null && joinRef !== this.#joinRef)) return;
    if (event === "phx_reply" && ref === this.#joinRef) this.#handleJoinReply(payload);
    else if (event === "phx_reply") this.#handleEventReply(ref, payload);
    else if (event === "phx_error") this.#scheduleJoin();
    else if (event === "phx_close") this.disconnect();
    else this.#handleServerEvent(event, payload);
  }

  /** @param {string | null} ref @param {Reply} reply to an event */
  #handleEventReply(ref, reply) {
    const onReply = this.#replyCallbacks.get(ref ?? "");
    this.#replyCallbacks.delete(ref ?? "");
    onReply?.(reply);
  }

  /** @param {string} event @param {any} payload */
  #handleServerEvent(event, payload) {
    if (event === "recovery:token") this.keep(payload);
    const detail = this.receive(payload);
    if (detail !== null) this.#serverEvents.dispatchEvent(new CustomEvent(event, { detail }));
  }

  /** @param {{ status: string, response: Payload }} reply to the join */
  #handleJoinReply({ status, response }) {
    if (status !== "ok") {
      this.#refused(response);
      return this.#scheduleJoin();
    }
    this.#timer.clear();
    this.#goodTimer.set(GOOD_AFTER_MS, () => this.#handleGood());
    if (performance.now() - this.#joinedAt < this.#options.timeoutMs / 2) this.#patience = 1;
    this.#resolveJoin(this.joined(response));
  }

  /** Begin the backoff anew, as the connection has held. */
  #handleGood() {
    this.#tries = this.#refusals.count = 0;
  }

  #scheduleJoin() {
    this.#markDropped();
    this.#goodTimer.clear();
    const ms = Math.max(this.#options.rejoinAfterMs(++this.#tries), this.#refusals.retryAfterMs);
    this.#timer.set(ms, () => this.#join());
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
    this.#connection?.send(encodeFrame([joinRef, ref, topic, event, payload]));
    return ref;
  }
}
