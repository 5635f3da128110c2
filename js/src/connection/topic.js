import { GOOD_AFTER_MS } from "../backoff.js";
import { supply, SUPPLY_MS } from "../supply.js";
import { Timer } from "../timer.js";
import { CLOSE_DEAD, CLOSE_DROPPED, CLOSE_NORMAL } from "./close_codes.js";
import { Deadline } from "./deadline.js";
import { Refusals } from "./refusals.js";
/** @import { Recovery } from "../recovery.js" */
/** @import { Backoff, Log, Payload, Reply, SocketParams } from "../types.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Frame } from "./frames.js" */

/** @typedef {{ timeoutMs: number, rejoinAfterMs: Backoff, log: Log }} TopicOptions */

/** Return the params that a page gives for a join. @param {any} params @returns {Payload} */
function checkParams(params = {}) {
  if (params === null || typeof params !== "object" || Array.isArray(params)) {
    throw new TypeError("the params of a join must be an object, or a function that returns or promises one");
  }
  return params;
}

/** Throw a TypeError for what can't be joined. @param {unknown} name @param {unknown} params */
export function checkJoin(name, params) {
  if (typeof name !== "string" || name === "") throw new TypeError("a topic must be a string that isn't empty");
  if (typeof params !== "function") checkParams(params);
}

/** One view's topic on a connection: its joins, and what is sent and received for it. */
export class Topic {
  /** Whether the page wants to be joined, and the server hasn't ended that. */ isWanted = false;
  /** Whether the view may join: it knows its token. */ isPrepared = false;
  #params;
  #connection;
  #options;
  #log;
  /** The try to join that is going on, if any: one that is over must not send. @type {object | null} */ #joining = null;
  /** @type {string | null} */ #joinRef = null;
  /** @type {Map<string, (reply: Reply) => void>} */ #replyCallbacks = new Map();
  /** @type {(response: Payload) => void} */ #resolve = () => {};
  /** @type {(error: Error) => void} */ #reject = () => {};
  #isWaiting = false;
  #isEnded = false;
  /** Tries since a join has held. */ #tries = 0;
  #refusals = new Refusals();
  #deadline;
  #timer = new Timer();
  #goodTimer = new Timer();

  /** @param {Recovery} view @param {Connection} connection @param {string} name @param {SocketParams} params
   * @param {TopicOptions} options */
  constructor(view, connection, name, params, options) {
    this.view = view;
    this.name = name;
    this.#params = params;
    this.#connection = connection;
    this.#options = options;
    this.#log = options.log;
    this.#deadline = new Deadline(options.timeoutMs);
    view.on("outcome", ({ isWaiting }) => (this.#isWaiting = isWaiting));
    view.carry({
      takesPushes: true,
      send: (event, payload, onReply) => {
        this.#replyCallbacks.set(connection.send(this.#joinRef, this.name, event, payload), onReply);
        return true;
      },
      rejoin: () => this.#rejoin(),
      isBusy: () => connection.bufferedAmount > 0,
      // a little longer than until the next resend: its reply may arrive together with those to the events
      probe: () => connection.probe(options.timeoutMs * 1.1),
    });
  }

  /** Start to join a topic that was not known before. @param {string} name @param {SocketParams} params */
  startAs(name, params) {
    this.name = name;
    this.#params = params;
    return this.start();
  }

  /** Join, now or when there is a connection, and after each disconnect. Return a promise for the first response.
   * @returns {Promise<Payload>} */
  start() {
    if (!this.#isEnded) this.#connection.add(this);
    this.view.beginWith(this.name);
    /** @type {Promise<Payload>} */
    const joined = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    joined.catch(() => {}); // a page that leaves before it has joined may not wait for it
    if (this.#isEnded || this.#connection.isClosed) this.#reject(new Error("the socket was closed"));
    else this.#connection.connect(this);
    return joined;
  }

  /** Ask the connection to be joined, once the view may do that. */
  want() {
    if (this.#isEnded) return;
    this.isWanted = true;
    this.view.ready.then(() => {
      this.isPrepared = true;
      this.#connection.request(this);
    });
  }

  /** Stop for ever. @param {boolean} isLeave whether the server is told, though the connection may be closed */
  end(isLeave) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#joinRef !== null && (isLeave || !this.#connection.isOnly(this))) this.#sendLeave();
    this.#drop(CLOSE_NORMAL, null);
    this.isWanted = false;
    this.#connection.remove(this);
    this.#reject(new Error("the socket was closed before it had joined"));
  }

  /** Whether the view works: a lost connection would disturb it. */
  get isWorking() {
    return this.view.status === "connected" && !this.#isWaiting;
  }

  /** Whether nothing is being tried. */
  get isIdle() {
    return this.#joining === null && !this.#timer.isSet;
  }

  /** Join on the open connection. */
  join() {
    const joining = {};
    this.#joining = joining;
    this.view.connecting();
    this.#timer.set(SUPPLY_MS, () => this.#fail(new Error("the params took too long")));
    const isCurrent = () => this.#joining === joining;
    const send = (/** @type {Payload} */ params) => isCurrent() && this.#sendJoin(params);
    supply(this.#params, checkParams, send, (error) => isCurrent() && this.#fail(error));
  }

  /** @param {Payload} params */
  #sendJoin(params) {
    this.#log("debug", "joining", { topic: this.name });
    this.#joinRef = this.#connection.nextRef;
    this.#connection.send(this.#joinRef, this.name, "phx_join", this.view.joinPayload(params));
    this.#timer.set(this.#deadline.begin(), () => this.#handleTimeout());
  }

  #sendLeave() {
    this.#connection.send(this.#joinRef, this.name, "phx_leave", {});
  }

  /** @param {unknown} error of the page's function */
  #fail(error) {
    this.#refuse({ reason: "params", error, tries: this.#refusals.count + 1 });
  }

  /** Give the next join more time. If others work on this connection, it isn't the line that is slow. If none does, the
   * joins of the others end with it, and need more time, too. */
  #handleTimeout() {
    if (this.#connection.hasOthers(this)) {
      this.#deadline.extend();
      this.#sendLeave();
      return this.#scheduleJoin();
    }
    for (const topic of this.#connection.topics) topic.#deadline.extend();
    this.#connection.lose(CLOSE_DEAD);
  }

  #rejoin() {
    if (!this.#connection.hasOthers(this)) return this.#connection.renew(); // which may reach another node
    this.#sendLeave();
    this.#drop(CLOSE_DROPPED, 0);
    this.join();
  }

  /** @param {Frame} frame */
  handleFrame([joinRef, ref, , event, payload]) {
    if (joinRef !== null && joinRef !== this.#joinRef) return;
    if (event === "phx_reply" && ref === this.#joinRef) this.#handleJoinReply(payload);
    else if (event === "phx_reply") this.#handleEventReply(ref ?? "", payload);
    else if (event === "phx_error") this.#scheduleJoin();
    else if (event === "phx_close") this.#handleClose();
    else {
      if (event === "recovery:token") this.view.keep(payload);
      this.view.heard(event, payload);
    }
  }

  /** @param {string} ref @param {Reply} reply to an event */
  #handleEventReply(ref, reply) {
    const onReply = this.#replyCallbacks.get(ref);
    this.#replyCallbacks.delete(ref);
    onReply?.(reply);
    this.#connection.settle(this);
  }

  /** @param {{ status: string, response: Payload }} reply to the join */
  #handleJoinReply({ status, response }) {
    if (status !== "ok") return this.#refuse(response);
    this.#timer.clear();
    this.#goodTimer.set(GOOD_AFTER_MS, () => this.#handleGood());
    this.#deadline.meet();
    this.#resolve(this.view.joined(response));
    this.#connection.settle(this);
  }

  /** Begin the backoff anew, as the join has held. */
  #handleGood() {
    this.#tries = this.#refusals.count = 0;
    this.#connection.markGood();
  }

  /** Count a refusal, tell the page, and try again. @param {Payload} detail */
  #refuse(detail) {
    this.#refusals.count += 1;
    this.#log("warn", "join refused", { topic: this.name, tries: this.#refusals.count });
    this.view.tell("refused", detail);
    if (this.isWanted && this.#joining) this.#scheduleJoin();
  }

  #scheduleJoin() {
    const ms = Math.max(this.#options.rejoinAfterMs(++this.#tries), this.#refusals.retryAfterMs);
    this.#drop(undefined, ms);
    if (!this.isWanted || !this.#connection.isOpen) return; // by a listener of the page's
    this.#timer.set(ms, () => this.join());
    this.#connection.settle(this);
  }

  /** Stay out, as the server has ended this, until the page connects again. */
  #handleClose() {
    this.#log("warn", "closed by the server", { topic: this.name });
    this.#drop(CLOSE_NORMAL, null);
    this.isWanted = false;
    this.#connection.release(this);
  }

  /** Note that the connection is lost. @param {number} code @param {number | null} nextDelayMs @param {boolean} isBlamed */
  handleLost(code, nextDelayMs, isBlamed) {
    if (this.isWanted) this.#drop(code, nextDelayMs, isBlamed);
  }

  /** @param {number | undefined} code @param {number | null} nextDelayMs @param {boolean} [isBlamed] */
  #drop(code, nextDelayMs, isBlamed) {
    this.#joining = this.#joinRef = null;
    this.#timer.clear();
    this.#goodTimer.clear();
    this.#replyCallbacks.clear();
    this.view.dropped(code, nextDelayMs, isBlamed);
  }
}
