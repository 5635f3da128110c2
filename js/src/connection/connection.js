import { supply, SUPPLY_MS } from "../supply.js";
import { Timer } from "../timer.js";
import { addressOf } from "./address.js";
import { CLOSE_DEAD, CLOSE_DROPPED, CLOSE_NORMAL, CLOSE_TOO_LARGE, isDenial, suspicionOf } from "./close_codes.js";
import { Deadline } from "./deadline.js";
import { decodeFrame, encodeFrame } from "./frames.js";
import { Heartbeat } from "./heartbeat.js";
import { Refusals } from "./refusals.js";
import { Turns } from "./turns.js";
import { WakeUps } from "./wake_ups.js";
/** @import { Backoff, Log, Payload } from "../types.js" */
/** @import { Topic } from "./topic.js" */

/** @typedef {{ heartbeatMs: number, timeoutMs: number, reconnectAfterMs: Backoff, protocols?: any, log: Log }} ConnectionOptions */

/** A WebSocket that reconnects, and the topics that share it. It is open as long as one of them is wanted. */
export class Connection {
  /** Whether the page has closed it for ever. */ isClosed = false;
  isOpen = false;
  #url;
  #options;
  #log;
  /** @type {Map<string, Topic>} */ #topics = new Map();
  #shouldConnect = false;
  /** The try, or the connection, that there is: what belongs to an earlier one is ignored. @type {object | null} */ #attempt = null;
  /** @type {WebSocket | null} */ #webSocket = null;
  #lastRef = 0;
  /** Tries since a connection has held. */ #tries = 0;
  #refusals = new Refusals();
  /** @type {Turns<Topic>} */ #turns = new Turns();
  #deadline;
  #timer = new Timer();
  #heartbeat;
  #wakeUps = new WakeUps(() => this.#handleWake());

  /** @param {any} url a value or a function @param {ConnectionOptions} options */
  constructor(url, options) {
    this.#url = typeof url === "function" ? url : addressOf(url);
    this.#options = options;
    this.#log = options.log;
    this.#deadline = new Deadline(options.timeoutMs);
    this.#heartbeat = new Heartbeat({
      intervalMs: options.heartbeatMs,
      send: () => this.send(null, "phoenix", "heartbeat", {}),
      bufferedAmount: () => this.bufferedAmount,
      onDead: () => this.lose(CLOSE_DEAD),
    });
  }

  /** Path and query, if they are known. @returns {string | null} */
  get place() {
    return typeof this.#url === "function" ? null : this.#url.pathname + this.#url.search;
  }

  get bufferedAmount() {
    return this.#webSocket?.bufferedAmount ?? 0;
  }

  get nextRef() {
    return String(this.#lastRef + 1);
  }

  get topics() {
    return [...this.#topics.values()];
  }

  /** Those that may join. */
  get #ready() {
    return this.topics.filter(({ isWanted, isPrepared }) => isWanted && isPrepared);
  }

  // Topics

  /** @param {Topic} topic */
  add(topic) {
    const { name } = topic;
    if (this.#topics.has(name)) throw new Error(`this socket has already joined ${name}: each topic once`);
    this.#topics.set(name, topic);
  }

  /** @param {Topic} topic */
  remove(topic) {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
    this.release(topic);
  }

  /** Close the connection if nobody wants it any more. @param {Topic} topic that doesn't */
  release(topic) {
    if (this.topics.some(({ isWanted }) => isWanted)) this.#turns.leave(topic);
    else this.disconnect();
  }

  /** Join a topic, now or when the connection is open. @param {Topic} topic */
  request(topic) {
    if (!topic.isWanted || !topic.isIdle) return;
    if (!this.isOpen) return this.#open();
    this.#turns.take(topic, () => topic.join());
  }

  /** Whether there are no others. @param {Topic} topic */
  isOnly(topic) {
    return this.topics.every((each) => each === topic);
  }

  /** Whether others work, which would be disturbed by another connection. @param {Topic} topic */
  hasOthers(topic) {
    return this.topics.some((each) => each !== topic && each.isWorking);
  }

  /** Note that a topic has joined, or was refused, or that its events have replies. @param {Topic} topic */
  settle(topic) {
    if (!topic.isWorking) this.#turns.leave(topic);
    else if (topic.view.sentBytes === 0) this.#turns.pass(topic);
  }

  // Connection

  /** Connect, also for topics that the server has ended. @param {Topic} [only] */
  connect(only) {
    if (this.isClosed) return;
    this.#shouldConnect = true;
    this.#wakeUps.listen();
    for (const topic of only ? [only] : this.topics) topic.want();
  }

  disconnect() {
    this.#shouldConnect = false;
    this.#wakeUps.stop();
    this.#end(CLOSE_NORMAL, CLOSE_NORMAL, null);
  }

  /** Replace the connection by another one at once. */
  renew() {
    this.#end(CLOSE_DROPPED, CLOSE_DROPPED, 0);
    this.#open();
  }

  /** Reconnect after a lost connection, at the latest after the time that its refusals ask for.
   * @param {number} code of the server, or of this client */
  lose(code) {
    if (!this.#shouldConnect) return this.#end(CLOSE_DROPPED, code, null);
    const ms = Math.max(this.#options.reconnectAfterMs(++this.#tries), this.#refusals.retryAfterMs);
    this.#log("warn", "connection lost", { code, nextDelayMs: ms });
    this.#end(CLOSE_DROPPED, code, ms);
    // the page may have done otherwise in a listener
    if (this.#shouldConnect && this.#attempt === null) this.#timer.set(ms, () => this.#open());
  }

  /** Begin the backoff anew, as the connection has held. */
  markGood() {
    this.#tries = 0;
    this.#refusals.forgive();
  }

  /** Find out soon whether the connection is dead. @param {number} withinMs */
  probe(withinMs) {
    this.#heartbeat.send(withinMs);
  }

  /** @param {string | null} joinRef @param {string} topic @param {string} event @param {Payload} payload */
  send(joinRef, topic, event, payload) {
    const ref = String(++this.#lastRef);
    this.#webSocket?.send(encodeFrame([joinRef, ref, topic, event, payload]));
    return ref;
  }

  #open() {
    const topics = this.#ready;
    if (!this.#shouldConnect || this.#attempt !== null || topics.length === 0) return;
    const attempt = {};
    this.#attempt = attempt;
    const isCurrent = () => this.#attempt === attempt;
    for (const { view } of topics) view.connecting();
    this.#timer.set(SUPPLY_MS, () => this.#fail("url", new Error("the URL took too long")));
    /** @type {(source: any, read: (value: any) => any, reason: string, then: (value: any) => void) => void} */
    const ask = (source, read, reason, then) => {
      const fail = (/** @type {unknown} */ error) => isCurrent() && this.#fail(reason, error);
      supply(source, read, (value) => isCurrent() && then(value), fail);
    };
    ask(this.#url, addressOf, "url", ({ href }) =>
      ask(this.#options.protocols, (value) => value, "protocols", (protocols) =>
        ask(protocols, () => new globalThis.WebSocket(href, protocols), "protocols", (made) => this.#use(made)),
      ),
    );
  }

  /** @param {WebSocket} webSocket */
  #use(webSocket) {
    this.#log("debug", "connecting");
    this.#webSocket = webSocket;
    webSocket.onerror = () => {}; // "close" follows
    webSocket.onopen = () => this.#handleOpen();
    webSocket.onmessage = ({ data }) => this.#handleFrame(data);
    webSocket.onclose = ({ code }) => this.#handleClose(code);
    this.#timer.set(this.#deadline.begin(), () => {
      this.#deadline.extend();
      this.lose(CLOSE_DEAD);
    });
  }

  #handleOpen() {
    this.isOpen = true;
    this.#timer.clear();
    this.#deadline.meet();
    this.#heartbeat.start();
    for (const topic of this.#ready) this.#turns.take(topic, () => topic.join());
  }

  /** @param {unknown} data */
  #handleFrame(data) {
    this.#heartbeat.hear();
    const frame = decodeFrame(data);
    if (frame !== null) this.#topics.get(frame[2])?.handleFrame(frame);
  }

  /** @param {number} code */
  #handleClose(code) {
    const tries = this.#refusals.count + 1;
    const isDenied = isDenial(code);
    if (isDenied) this.#refusals.deny();
    if (isDenied || (!this.isOpen && this.#refusals.areDenial)) {
      return this.#refuse({ reason: isDenied ? "closed" : "handshake", code, tries });
    }
    if (!this.isOpen) this.#refusals.count += 1;
    this.lose(code);
  }

  /** @param {string} reason @param {unknown} error of a function of the page's, or of what it has given */
  #fail(reason, error) {
    this.#refuse({ reason, error, tries: this.#refusals.count + 1 });
  }

  /** Count a refusal, tell the page, and try again. @param {{ reason: string, tries: number, code?: number, error?: unknown }} detail */
  #refuse(detail) {
    const attempt = this.#attempt;
    const { error, ...told } = detail;
    this.#refusals.count += 1;
    this.#log("warn", "refused", told);
    for (const { view, isWanted } of this.topics) if (isWanted) view.tell("refused", detail);
    if (attempt === this.#attempt) this.lose(told.code ?? CLOSE_DROPPED);
  }

  /** End the connection without waiting for the server. @param {number} closeCode
   * @param {number} lostCode why it is lost @param {number | null} nextDelayMs */
  #end(closeCode, lostCode, nextDelayMs) {
    this.#timer.clear();
    this.#heartbeat.stop();
    const webSocket = this.#webSocket;
    this.#attempt = this.#webSocket = null;
    this.isOpen = false;
    if (webSocket) {
      webSocket.onopen = webSocket.onmessage = webSocket.onclose = null;
      webSocket.close(closeCode);
    }
    this.#turns.clear();
    this.#tellLost(lostCode, nextDelayMs);
  }

  /** Tell the topics that the connection is lost. @param {number} code @param {number | null} nextDelayMs */
  #tellLost(code, nextDelayMs) {
    const topics = this.topics;
    const sizes = topics.map(({ view }) => view.sentBytes);
    if (nextDelayMs !== null && suspicionOf(code) > 0) this.#turns.suspect(topics.filter((_, place) => sizes[place] > 0));
    const largest = topics[sizes.indexOf(Math.max(...sizes))];
    for (const topic of topics) topic.handleLost(code, nextDelayMs, code !== CLOSE_TOO_LARGE || topic === largest);
  }

  /** Check the connection when the page wakes up or is online again, as its timers may have been suspended. */
  #handleWake() {
    // the browser may have closed it while the page slept, without telling
    if (this.#webSocket !== null && this.#webSocket.readyState > 1) this.#end(CLOSE_DROPPED, CLOSE_DROPPED, 0);
    if (this.isOpen) return this.probe(this.#options.timeoutMs);
    for (const topic of this.topics) if (topic.isWanted) topic.want();
  }
}
