/*! django-recovery-app 0.1.0 | BSD-3-Clause */

// src/backoff.js
/** Waiting times between tries. */
/** How long a connection or a join has to hold until the next one that is lost counts as the first. */
var GOOD_AFTER_MS = 5e3;
/**
 * Return a backoff with full jitter: a random time between zero and a bound that doubles with each try. It spreads
 * out the clients that reconnect after a server restart.
 * @param {number} baseMs @param {number} capMs @returns {Backoff}
 */
function fullJitter(baseMs, capMs) {
  return (tries) => Math.random() * Math.min(capMs, baseMs * 2 ** (tries - 1));
}
/** The backoff after a lost connection; also an option of the npm clients. */
var reconnectAfterMs = /* @__PURE__ */ fullJitter(100, 5e3);
/** The backoff after a refused join or a crashed channel; also an option of the npm clients. */
var rejoinAfterMs = /* @__PURE__ */ fullJitter(1e3, 1e4);

// src/event_error.js
/** @typedef {"EventRefused" | "EventUnconfirmed" | "EventLost" | "QueueFull"} EventErrorName */
/** @type {Record<string, EventErrorName>} */
var NAMES = {
  refused: "EventRefused",
  unconfirmed: "EventUnconfirmed",
  closed: "EventUnconfirmed",
  in_flight: "EventUnconfirmed",
  full: "QueueFull"
};
/** Why an event has no reply, or an error as its reply. `name` tells the cases apart. */
var EventError = class extends Error {
  /** @type {EventErrorName} */
  name;
  /** The name of the event, as it was pushed. @type {string} */
  event;
  /** @type {Payload} */
  payload;
  /** @type {LostReason | "refused"} */
  reason;
  /** The response of the server, if it refused the event. @type {Payload | undefined} */
  response;
  /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
  constructor({ event, payload }, reason, response) {
    super(`the event ${event} has no reply: ${reason}`);
    this.name = NAMES[reason ?? ""] ?? "EventLost";
    this.event = event;
    this.payload = payload;
    this.reason = reason;
    this.response = response;
  }
};

// src/connection/close_codes.js
/** WebSocket close codes. */
var CLOSE_NORMAL = 1e3;
/** What a browser tells of a connection that was lost without a close code; also of one that is silent. */
var CLOSE_DEAD = 1006;
var CLOSE_POLICY = 1008;
/** A message is larger than the server accepts. */
var CLOSE_TOO_LARGE = 1009;
/** This client has dropped the connection. Codes from 4000 on are for applications. */
var CLOSE_DROPPED = 4e3;
var CUT_CODES = [1002, 1003, 1005, 1006, 1007, 1011];
/** Return how much a close code says that the connection may have been lost over an event. A server that stops says why; but
 * if it does so time and again, that may be over the event, too. @param {number} code */
function suspicionOf(code) {
  if (CUT_CODES.includes(code) || isDenial(code)) return 1;
  return code === CLOSE_TOO_LARGE || code === CLOSE_DROPPED ? 0 : 0.5;
}
/** Return whether a server closes a connection with this code because of who the client is. @param {number} code */
function isDenial(code) {
  return code === CLOSE_POLICY || code > CLOSE_DROPPED;
}

// src/connection/phoenix_timer.js
/**
 * Have a timer of the npm client count its tries until what was tried has held for a while. The client itself begins
 * anew as soon as a connection is open or a channel has joined: with a server that closes it right after that, it would
 * try again and again without any backoff. Return a function to call whenever it seems to hold.
 * @param {{ timerCalc?: (tries: number) => number } | undefined} timer
 */
function keepCounting(timer) {
  const { timerCalc } = timer ?? {};
  let tries = 0;
  let heldSince = Infinity;
  if (timer && typeof timerCalc === "function") {
    timer.timerCalc = () => {
      tries = performance.now() - heldSince >= GOOD_AFTER_MS ? 1 : tries + 1;
      heldSince = Infinity;
      return timerCalc.call(timer, tries);
    };
  }
  return () => void (heldSince = Math.min(heldSince, performance.now()));
}

// src/connection/turns.js
/**
 * Whose turn it is to send, of those who share a socket.
 *
 * After a connection was lost when several had events under way, one of which may be why, they send them one after the
 * other: the events of one must not be given up over those of another.
 * @template {object} T
 */
var Turns = class {
  /** Whose events may be why connections were lost, until they have had their turn. @type {Set<T>} */
  #suspected = /* @__PURE__ */ new Set();
  /** Whose turn it is. @type {T | undefined} */
  #current;
  /** Those who wait for their turn, and how they start. @type {Map<T, () => void>} */
  #waiting = /* @__PURE__ */ new Map();
  #isCareful = false;
  /** Note who had events under way on a connection that may have been lost over one of them. @param {T[]} busy */
  suspect(busy) {
    if (busy.length < 2 && !this.#isCareful) return;
    this.#isCareful = true;
    for (const one of busy) this.#suspected.add(one);
  }
  /** Let one of them start, now or when it is its turn. @param {T} one @param {() => void} start */
  take(one, start) {
    if (!this.#isCareful) return start();
    if ((this.#current ?? one) !== one) return void this.#waiting.set(one, start);
    this.#current = one;
    start();
  }
  /** Note that one has nothing under way, which ends its turn. @param {T} one */
  pass(one) {
    this.#suspected.delete(one);
    if (this.#suspected.size === 0) this.#isCareful = false;
    this.leave(one);
  }
  /** Go on without one, whose turn comes again if it starts again. @param {T} one */
  leave(one) {
    this.#waiting.delete(one);
    if (this.#current !== one) return;
    this.#current = void 0;
    this.#next();
  }
  /** Forget who was to start, as the connection is lost. */
  clear() {
    this.#waiting.clear();
    this.#current = void 0;
  }
  #next() {
    for (const [one, start] of this.#waiting) {
      if (this.#current !== void 0) return;
      this.#waiting.delete(one);
      this.take(one, start);
    }
  }
};

// src/connection/phoenix_socket.js
/** @type {WeakMap<object, SharedSocket>} */
var sharedSockets = /* @__PURE__ */ new WeakMap();
/**
 * What the views on one socket of the npm client share. A lost connection counts against the events of one view, where
 * that can be told: by its close code, or as they are sent one view after the other next time.
 */
var SharedSocket = class _SharedSocket {
  /** Those that had events under way when the connection was lost. @type {Set<EventQueue>} */
  #busy = /* @__PURE__ */ new Set();
  /** @type {Turns<EventQueue>} */
  #turns = new Turns();
  /** Return what the views on a socket share. @param {any} socket @returns {SharedSocket} */
  static of(socket) {
    const shared = sharedSockets.get(socket) ?? new _SharedSocket(socket);
    sharedSockets.set(socket, shared);
    return shared;
  }
  /** @param {any} socket */
  constructor(socket) {
    socket.onOpen?.(keepCounting(socket.reconnectTimer));
    socket.onClose?.((event) => {
      const code = event?.code ?? CLOSE_DEAD;
      this.#handleClose(code, socket.closeWasClean ? 0 : suspicionOf(code));
    });
  }
  /** Note that a view's channel has joined: have it send its events, now or when it is its turn.
   * @param {EventQueue} queue @param {() => void} start */
  start(queue, start) {
    this.#turns.suspect([...this.#busy]);
    this.#busy.clear();
    this.#turns.take(queue, () => {
      start();
      this.settle(queue);
    });
  }
  /** Note that a view's events have replies. @param {EventQueue} queue */
  settle(queue) {
    if (queue.sentBytes === 0) this.#turns.pass(queue);
  }
  /** Note that a view's channel no longer sends. @param {EventQueue} queue that hasn't stopped yet */
  stop(queue) {
    if (queue.sentBytes > 0) this.#busy.add(queue);
    this.#turns.leave(queue);
  }
  /** @param {EventQueue} queue of a view that is closed */
  remove(queue) {
    this.#busy.delete(queue);
    this.#turns.pass(queue);
  }
  /** @param {number} code @param {number} suspicion */
  #handleClose(code, suspicion) {
    const busy = [...this.#busy];
    for (const { suspects } of busy) suspects.suspicion = Math.min(suspects.suspicion, suspicion);
    if (suspicion === 0) this.#busy.clear();
    if (code !== CLOSE_TOO_LARGE) return;
    busy.sort((one, other) => other.suspects.largestBytes - one.suspects.largestBytes);
    busy[0]?.suspects.blameLargest();
  }
};

// src/options.js
/** The options of a page, checked: a wrong one must not show weeks later, in an outage. */
var MAX_MS = 2 ** 31 - 1;
/** @typedef {[isRight: (value: any) => boolean, what: string]} Kind */
/** @param {string} type @param {any} value */
var is = (type, value) => typeof value === type;
/** @type {Kind} */
var TEXT = [(value) => is("string", value), "a string"];
/** @type {Kind} */
var FUNCTION = [(value) => is("function", value), "a function"];
/** @type {Kind} */
var COUNT = [(value) => is("number", value) && value >= 0, "a number"];
/** @type {Kind} */
var MS = [
  (value) => is("number", value) && value > 0 && value <= MAX_MS,
  `a positive number of milliseconds, such as 10000, and at most ${MAX_MS}`
];
/** @type {Kind} */
var SIGNAL = [(value) => is("function", value?.addEventListener), "an AbortSignal"];
/** @param {any} value */
var isText = (value) => is("string", value) || Array.isArray(value) && value.every((each) => is("string", each));
/** @type {Record<string, Kind>} */
var VIEW_OPTIONS = {
  viewId: TEXT,
  storage: [(value) => ["sessionStorage", "localStorage", "none"].includes(value), '"sessionStorage", "localStorage" or "none"'],
  owner: TEXT,
  maxKept: COUNT,
  maxKeptChars: COUNT,
  timeoutMs: MS,
  heartbeatMs: MS,
  reconnectAfterMs: FUNCTION,
  rejoinAfterMs: FUNCTION,
  protocols: [(value) => is("function", value) || isText(value), "a string, an array of strings, or a function that returns or promises one"],
  logger: [(value) => is("function", value) || is("object", value) && value !== null, "a function, or an object such as console"]
};
/** @type {Record<string, Kind>} */
var PUSH_OPTIONS = { signal: SIGNAL, timeoutMs: MS };
/** Return how many letters two names begin with in common. @param {string} one @param {string} other */
function likeness(one, other) {
  return [...one, ""].findIndex((letter, place2) => letter.toLowerCase() !== other[place2]?.toLowerCase());
}
/** Return the options that the page has given: undefined is none. Throw a TypeError for one that means nothing.
 * @template {object} T @param {string} where @param {T} options @param {Record<string, Kind>} kinds @returns {T} */
function check(where, options, kinds) {
  if (options === null || !is("object", options)) throw new TypeError(`${where}: the options must be an object`);
  const given = Object.entries(options).filter(([, value]) => value !== void 0);
  for (const [name, value] of given) {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : void 0;
    if (kind === void 0) {
      const [nearest] = Object.keys(kinds).sort((a, b) => likeness(name, b) - likeness(name, a));
      throw new TypeError(`${where}: there is no option ${name}. Did you mean ${nearest}?`);
    }
    const shown = is("string", value) || is("number", value) ? value : value === null ? "null" : typeof value;
    if (!kind[0](value)) throw new TypeError(`${where}: ${name} must be ${kind[1]}, not ${shown}. Leave it out for the default.`);
  }
  return (
    /** @type {T} */
    Object.fromEntries(given)
  );
}
/** Check the options of a view or a socket. @template {object} T @param {string} where @param {T} options */
function checkOptions(where, options) {
  return check(where, options, VIEW_OPTIONS);
}
/** Check the options of a push. @template {object} T @param {T} options */
function checkPushOptions(options) {
  return check("push", options, PUSH_OPTIONS);
}

// src/browser.js
/** What the page asks of its browser. */
/** Return the result of `action`, or null if it throws, as any access to a storage may.
 * @template T @param {() => T} action @returns {T | null} */
function tryOrNull(action) {
  try {
    return action();
  } catch {
    return null;
  }
}
/** Return a word that no other page has. */
function randomWord() {
  return Math.random().toString(36).slice(2, 12);
}
/** Return the names of the person that the page was made for, if it knows any. @param {string} [given] */
function namesOfPage(given) {
  const element = tryOrNull(() => globalThis.document?.querySelector("[data-recovery-owner]"));
  const names = given || /** @type {HTMLElement | null} */
  element?.dataset.recoveryOwner || "";
  return names.split(" ").filter((name) => name !== "");
}
/** Resolves when the page is no longer being prepared: until it is shown, its storage may be a copy.
 * @param {() => void} wake called when it is shown, unless it is already @returns {Promise<void>} */
function whenActive(wake) {
  const page = (
    /** @type {any} */
    globalThis.document
  );
  if (!page?.prerendering) return Promise.resolve();
  return new Promise((resolve) => page.addEventListener("prerenderingchange", () => resolve(wake()), { once: true }));
}
/** Call a function when the page comes back from the back/forward cache, and one when it may be left for good.
 * @param {AbortSignal} signal ends that @param {() => void} wake @param {() => void} save */
function onPageLife(signal, wake, save) {
  const listening = { capture: true, signal };
  const show = ({ persisted }) => persisted && wake();
  globalThis.addEventListener?.("pageshow", show, listening);
  for (const type of ["pagehide", "visibilitychange"]) globalThis.addEventListener?.(type, save, listening);
}
/** Call a function with the detail of each event of a type. Return a function that ends that.
 * @param {EventTarget} target @param {string} type @param {(detail: any) => void} callback */
function listen(target, type, callback) {
  if (typeof callback !== "function") throw new TypeError(`on(${JSON.stringify(type)}, …) needs a function to call`);
  const listener = (event) => callback(
    /** @type {CustomEvent} */
    event.detail
  );
  target.addEventListener(type, listener);
  return () => target.removeEventListener(type, listener);
}
/**
 * Have Firefox load this page again when somebody comes back to it. From its back/forward cache, a page would come with
 * the sessionStorage of when it was left, and never see what the pages after it have stored. Firefox doesn't keep a page
 * that holds a lock there; others keep it with the tab's storage.
 * @param {AbortSignal} signal aborted when the page no longer needs its storage
 */
function refuseOldStorage(signal) {
  if (!("mozInnerScreenX" in globalThis)) return;
  const isDone = new Promise((resolve) => signal.addEventListener("abort", resolve));
  // only pages from HTTPS or this machine have locks
  globalThis.navigator.locks?.request("lv_recovery:storage", { mode: "shared" }, () => isDone).catch(() => {
  });
}

// src/timer.js
/** A function that is called later, at most one at a time. */
var Timer = class {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #id;
  /** Whether it was set, and not cleared since. */
  get isSet() {
    return this.#id !== void 0;
  }
  /** Call a function after so long, in place of what was to be called. @param {number} ms @param {() => void} then */
  set(ms, then) {
    clearTimeout(this.#id);
    this.#id = setTimeout(then, ms);
  }
  clear() {
    clearTimeout(this.#id);
    this.#id = void 0;
  }
};

// src/connection/connection_state.js
/** How long a change has to last until the page is told: what is shorter would only flicker. */
var SETTLED_AFTER_MS = 1e3;
/** @type {ConnectionDetail} */
var NOTHING = { status: "disconnected", code: null, attempt: 0, nextDelayMs: null };
/**
 * The state of a view's connection, and what the page has been told of it.
 *
 * A first "connected" and each "disconnected", which the page or the server has asked for, are told at once. An
 * outage is told once it has lasted for a second, and its end once that has. So an outage of many tries, or of
 * connections that don't hold, is told as one.
 */
var ConnectionState = class {
  current = NOTHING;
  /** @type {ConnectionStatus} */
  #told = "disconnected";
  #hasJoined = false;
  #isTrying = false;
  #timer = new Timer();
  #tell;
  /** @param {(detail: ConnectionDetail) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }
  /** Note that a connection, or a join, is being tried. */
  markTrying() {
    const attempt = this.current.attempt + Number(!this.#isTrying);
    this.#isTrying = true;
    this.#set({ ...this.current, status: this.#lack, attempt, nextDelayMs: null });
  }
  markJoined() {
    this.#isTrying = false;
    this.#hasJoined = true;
    this.#set({ ...NOTHING, status: "connected" });
  }
  /** @param {number | null} code @param {number | null | undefined} nextDelayMs until the next try; null if there is none */
  markLost(code, nextDelayMs) {
    this.#isTrying = false;
    if (nextDelayMs !== null) return this.#set({ ...this.current, status: this.#lack, code, nextDelayMs: nextDelayMs ?? null });
    this.#hasJoined = false;
    this.#set({ ...NOTHING, code });
  }
  /** Tell the page nothing more. */
  stop() {
    this.#timer.clear();
  }
  /** @returns {ConnectionStatus} */
  get #lack() {
    return this.#hasJoined ? "reconnecting" : "connecting";
  }
  /** @param {ConnectionDetail} next */
  #set(next) {
    this.current = Object.freeze(next);
    const isAtOnce = next.status === "disconnected" || next.status === "connected" && this.#told !== "reconnecting";
    if (next.status === this.#told) this.#timer.clear();
    else if (isAtOnce) this.#announce();
    else if (!this.#timer.isSet) this.#timer.set(SETTLED_AFTER_MS, () => this.#announce());
  }
  #announce() {
    this.#timer.clear();
    this.#told = this.current.status;
    this.#tell(this.current);
  }
};

// src/connection/phoenix_transport.js
/**
 * Return a transport for a channel of the npm `phoenix` client. It bypasses the channel's buffer, which is sent after
 * the next join, when the queue resends the same events.
 * @param {any} channel @returns {Transport}
 */
function phoenixTransport(channel) {
  const send = channel.push.bind(channel);
  return {
    takesPushes: typeof channel.trigger === "function",
    send(event, payload, onReply) {
      if (!channel.canPush()) return false;
      const push = send(event, payload);
      for (const status of ["ok", "error", "timeout"]) {
        push.receive(status, (response) => onReply({ status, response }));
      }
      return true;
    },
    // as if the server had reported a crash: the only way to make the client rejoin by its own rules
    rejoin: () => channel.trigger("phx_error")
  };
}

// src/connection/phoenix_channel.js
/** The events of a channel that no server has pushed. */
var PROTOCOL_EVENT = /^(phx_|chan_reply_)/;
/** Those and what is pushed to the view itself. */
var OWN_EVENT = /^(phx_|chan_reply_|recovery:)/;
/**
 * Have a view told what happens to a channel of the npm `phoenix` client, and send its events. Return the channel.
 * @template {PhoenixChannel} C @param {Recovery} view @param {C} channel
 * @param {() => void} onPush called when the page uses the channel's own `push`
 */
function phoenixChannel(view, channel, onPush) {
  const join = channel.join.bind(channel);
  const markJoined = keepCounting(channel.rejoinTimer);
  channel.join = (timeout) => join(timeout).receive("ok", (reply) => {
    markJoined();
    view.joined(reply);
  });
  channel.on("recovery:token", (pushed) => view.keep(pushed));
  // after the page's own `disconnect`, nothing is tried
  channel.onError(() => channel.socket?.closeWasClean ? view.dropped(void 0, null) : view.dropped());
  channel.onClose(() => view.dropped(void 0, null));
  const trigger = channel.trigger?.bind(channel);
  if (trigger) {
    channel.trigger = (event, payload, ...rest) => {
      const told = OWN_EVENT.test(event) ? payload : view.receive(payload);
      if (told !== null) trigger(event, told, ...rest);
    };
  }
  const { onMessage } = channel;
  channel.onMessage = (...message) => {
    if (!PROTOCOL_EVENT.test(message[0])) view.heard(message[0], message[1]);
    return onMessage ? onMessage.apply(channel, message) : message[1];
  };
  view.carry(phoenixTransport(channel));
  const push = channel.push.bind(channel);
  channel.push = (...what) => {
    onPush();
    return push(...what);
  };
  return channel;
}

// src/events/sender.js
/** How long a connection has to hold before an event is sent that is about to be given up. */
var SUSPECT_AFTER_MS = 1e3;
/** How many events may await a reply at the same time. The server keeps its replies to twice as many. */
var MAX_IN_FLIGHT = 32;
/**
 * The sender of a queue's events from one join until the next disconnect: in order, a limited number at a time, and
 * again if there is no reply.
 *
 * `isNumbered`: whether the server recognizes repeated events. Otherwise none is resent.
 * `hasLines`: whether the server knows whose numbers are whose.
 * @typedef {Transport & { seq: number, isNumbered: boolean, hasLines: boolean, timeoutMs: number }} SenderOptions
 */
var Sender = class {
  #queue;
  #options;
  /** The highest number that was applied or sent. */
  #lastSentSeq;
  #round = 0;
  /** The event before the last gap that was handled. @type {number | null} */
  #lastGap = null;
  #isStopped = false;
  #timer = new Timer();
  #holdTimer = new Timer();
  /** @param {EventQueue} queue @param {SenderOptions} options */
  constructor(queue, options) {
    this.#queue = queue;
    this.#options = options;
    this.#lastSentSeq = options.seq;
    if (options.isNumbered && queue.suspects.hold()) {
      this.#holdTimer.set(SUSPECT_AFTER_MS, () => {
        this.#holdTimer.clear();
        this.flush();
      });
    }
  }
  /**
   * Send as many events as allowed. All queued events get their numbers, and are stored with them, before any is
   * sent: a tab that is duplicated now must not assign other numbers to events that the state already contains.
   */
  flush() {
    if (this.#isStopped) return this.#queue.saveSoon();
    this.#assignNumbers();
    const ready = this.#ready();
    for (const queued of ready) queued.stage = "sent";
    if (ready.some(({ isStored }) => !isStored)) this.#queue.save();
    else this.#queue.saveSoon();
    let isSent = true;
    for (const queued of ready) if (!(isSent &&= this.#send(queued))) queued.stage = "queued";
    this.#startTimer();
  }
  /** Give a number to the events that have none: the last ones. */
  #assignNumbers() {
    const { events, line } = this.#queue;
    let place2 = events.length;
    while (events[place2 - 1]?.seq === null) place2 -= 1;
    let seq = this.#lastSeqBefore(place2);
    for (const queued of events.slice(place2)) Object.assign(queued, { seq: ++seq, line, isStored: false });
  }
  /** Return the events to send now, in order. */
  #ready() {
    const { events, nextPlace } = this.#queue;
    if (!this.#options.isNumbered) return events.slice(nextPlace);
    // a larger number could make the server drop its reply to the first event that awaits one
    const maxSeq = this.#acknowledgedSeq() + MAX_IN_FLIGHT;
    const next = events.slice(nextPlace, nextPlace + MAX_IN_FLIGHT);
    return next.filter(({ stage, seq }) => stage === "queued" && Number(seq) <= maxSeq).slice(0, this.#room());
  }
  /** Stop sending and ignore later replies. */
  stop() {
    this.#isStopped = true;
    this.#timer.clear();
    this.#holdTimer.clear();
    if (!this.#options.isNumbered) this.#queue.discard(this.#queue.underWay, "unconfirmed");
  }
  /** Return how many events may be sent now. A suspect is sent alone. */
  #room() {
    if (this.#holdTimer.isSet) return 0;
    return Math.max(0, (this.#queue.suspects.first ? 1 : MAX_IN_FLIGHT) - this.#queue.underWay.length);
  }
  /** Return whether an event is sent. @param {QueuedEvent} queued */
  #send(queued) {
    const round = this.#round;
    this.#lastSentSeq = Math.max(this.#lastSentSeq, queued.seq ?? 0);
    const numbers = this.#options.isNumbered ? { _seq: queued.seq, _ack: this.#acknowledgedSeq() } : {};
    if (this.#options.hasLines && queued.line !== null) Object.assign(numbers, { _line: queued.line });
    return this.#options.send(queued.event, { ...queued.payload, ...numbers }, (reply) => {
      if (!this.#isStopped) this.#handleReply(queued, reply, round);
    });
  }
  /** @param {QueuedEvent} queued @param {Reply} reply @param {number} round in which it was sent */
  #handleReply(queued, { status, response }, round) {
    const { _recovery, ...rest } = response ?? {};
    if (status === "timeout") return this.#handleTimeout(queued);
    const reason = status === "error" && rest.reason;
    if (_recovery && reason === "seq_gap") return this.#handleGap(rest.seq, round);
    if (_recovery && reason === "seq_taken") return this.#handleTaken(queued);
    if (this.#options.isNumbered && !_recovery && reason === "unmatched topic") return this.#options.rejoin();
    this.#lastGap = null;
    queued.handleReply({ status, response: rest });
    if (_recovery) this.#queue.releaseUpTo(_recovery.seq);
    else this.#queue.remove([queued]);
    this.#timer.clear();
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
    this.#timer.clear();
    this.flush();
  }
  /** Discard an event whose number is another page's. @param {QueuedEvent} queued */
  #handleTaken(queued) {
    this.#queue.discard([queued], "superseded");
    this.#timer.clear();
    this.flush();
  }
  /** Wait for any reply before resending on the same connection: a handler may just be slow. */
  #startTimer() {
    if (!this.#options.isNumbered || this.#queue.events.length === 0) return;
    if (!this.#timer.isSet) this.#timer.set(this.#options.timeoutMs, () => this.#resend());
  }
  #resend() {
    this.#timer.clear();
    // what was sent is still on its way: a second copy would only be slower
    if (this.#options.isBusy?.()) return this.#startTimer();
    this.#options.probe?.();
    this.#round += 1;
    const { events, underWay } = this.#queue;
    // only a reply tells what was stored since the last one, and a full queue would never send again without it
    const last = events.at(-1);
    if (last && events.every(({ stage }) => stage === "replied")) last.stage = "queued";
    for (const queued of underWay) queued.stage = "queued";
    this.flush();
  }
  /** Return the highest number up to which every event has its reply. */
  #acknowledgedSeq() {
    const { events } = this.#queue;
    const first = events.find(({ isAnswered }) => !isAnswered);
    return (first?.seq ?? this.#lastSeqBefore(events.length) + 1) - 1;
  }
  /** Return the last number in use. @param {number} place in the queue, of the first event without a number */
  #lastSeqBefore(place2) {
    return Math.max(this.#lastSentSeq, this.#queue.events[place2 - 1]?.seq ?? 0);
  }
};

// src/rejoins.js
/** Outcomes after which the state may still be recovered: a page that has shown a token sends nothing until a later
 * join does so, or until it has waited for long enough. */
var RETRY_OUTCOMES = ["version", "unavailable"];
/** How long a page waits for its state at most. */
var MAX_WAIT_MS = 6e4;
/** The joins of a view that waits for its state, or whose topic the server doesn't know. */
var Rejoins = class {
  /** How many joins in a row haven't brought the state. */
  tries = 0;
  #timer = new Timer();
  /** Until when to wait for the state. @type {number | null} */
  #waitUntil = null;
  #backoff;
  /** @param {Backoff} backoff */
  constructor(backoff) {
    this.#backoff = backoff;
  }
  get isScheduled() {
    return this.#timer.isSet;
  }
  /** Return whether to wait for the state that a token stands for. @param {Outcome | null} outcome @param {boolean} showsToken */
  mustWait(outcome, showsToken) {
    if (!RETRY_OUTCOMES.includes(outcome ?? "")) {
      this.#waitUntil = null;
      return false;
    }
    this.#waitUntil ??= performance.now() + MAX_WAIT_MS;
    return showsToken && performance.now() < this.#waitUntil;
  }
  /** @param {number} tries @param {() => void} rejoin */
  schedule(tries, rejoin) {
    const remainingMs = this.#waitUntil === null ? Infinity : this.#waitUntil - performance.now();
    this.#timer.set(Math.max(0, Math.min(this.#backoff(tries), remainingMs)), rejoin);
  }
  stop() {
    this.#timer.clear();
  }
};

// src/delivery.js
/** How the events of a view leave the page: by its transport, from each join until the connection is lost. */
var Delivery = class {
  /** @type {Transport | null} */
  transport = null;
  /** With an npm client. @type {SharedSocket | null} */
  sharedSocket = null;
  #queue;
  #timeoutMs;
  #isJoined;
  /** @param {EventQueue} queue @param {Backoff} rejoinAfterMs @param {number} timeoutMs @param {() => boolean} isJoined */
  constructor(queue, rejoinAfterMs2, timeoutMs, isJoined) {
    this.rejoins = new Rejoins(rejoinAfterMs2);
    this.#queue = queue;
    this.#timeoutMs = timeoutMs;
    this.#isJoined = isJoined;
  }
  /** Start to send events. @param {number} seq of the last one in the state @param {boolean} isNumbered @param {boolean} hasLines */
  start(seq, isNumbered, hasLines) {
    this.rejoins.tries = 0;
    const { transport, sharedSocket } = this;
    if (transport === null) return;
    /** @type {Transport["send"]} */
    const send = (event, payload, onReply) => transport.send(event, payload, (reply) => {
      onReply(reply);
      sharedSocket?.settle(this.#queue);
    });
    const rejoin = () => {
      this.stop();
      this.rejoin(1);
    };
    const { isBusy, probe } = transport;
    const options = { send, rejoin, isBusy, probe, seq, isNumbered, hasLines, timeoutMs: this.#timeoutMs };
    const start = () => this.#queue.startSending(new Sender(this.#queue, options));
    if (sharedSocket) sharedSocket.start(this.#queue, start);
    else start();
  }
  /** Send an event now or not at all, outside the queue. Return whether it was sent. @param {PageEvent} pushed */
  sendNow({ event, payload }) {
    if (!this.#queue.isSending || this.transport?.isBusy?.()) return false;
    return this.transport?.send(event, payload, () => {
    }) ?? false;
  }
  /** @param {number} [suspicion] that an event is why */
  stop(suspicion) {
    this.sharedSocket?.stop(this.#queue);
    this.#queue.stopSending(suspicion);
  }
  /** Join again, after a while. @param {number} tries */
  rejoin(tries) {
    const { transport } = this;
    if (transport !== null && this.#isJoined()) this.rejoins.schedule(tries, () => transport.rejoin());
  }
};

// src/tokens/place_in_tab.js
/** Where a page is among the frames of its tab, which share the tab's storage. */
/** The place of this page, which it keeps as long as it is shown. @type {string | undefined} */
var place;
/** Return the place of this page in its tab: "" for the tab's own page. It is the same after a reload, in whatever order
 * the frames are loaded. */
function placeInTab() {
  place ??= placeOf(globalThis);
  return place;
}
/** Return whether the page around this one, or one around that, is of the same origin. */
function isInOwnPage() {
  for (let frame = (
    /** @type {any} */
    globalThis
  ); frame !== frame.parent; frame = frame.parent) {
    if (tryOrNull(() => frame.parent.document)) return true;
  }
  return false;
}
/** @param {any} frame a window, perhaps of another origin @returns {string} */
function placeOf(frame) {
  const { parent } = frame;
  if (!parent || parent === frame) return "";
  const place2 = tryOrNull(() => placeOfElement(frame.frameElement)) ?? placeAmong(parent, frame);
  return `${placeOf(parent)}/${place2}`;
}
/** Return the place of an element in its document: by its name or id, or else among those that have neither.
 * @param {Element} element @returns {string} */
function placeOfElement(element) {
  const { localName } = element;
  const name = nameOf(element);
  const root = (
    /** @type {ShadowRoot} */
    element.getRootNode()
  );
  const alike = Array.from(root.querySelectorAll(localName)).filter((other) => nameOf(other) === name);
  const place2 = [localName, encodeURIComponent(name), alike.indexOf(element)].join();
  return root.host ? `${placeOfElement(root.host)}>${place2}` : place2;
}
/** @param {Element} element */
function nameOf(element) {
  return element.getAttribute("name") || element.id;
}
/** Return the place of a frame in a page of another origin, which hides its elements: by the frame's name, if that can be
 * read, or else by its number. @param {any} parent @param {any} frame @returns {string} */
function placeAmong(parent, frame) {
  const name = tryOrNull(() => encodeURIComponent(frame.name)) ?? "";
  const frames = Array.from({ length: parent.length }, (_, number) => parent[number]);
  const before = frames.slice(0, frames.indexOf(frame));
  const alike = name ? before.filter((other) => tryOrNull(() => encodeURIComponent(other.name)) === name) : before;
  return [name, alike.length].join();
}

// src/tokens/stored_value.js
/** One value in a browser's storage, which may be forbidden, full, or none. */
var StoredValue = class {
  #key;
  /** @param {StorageKind} kind @param {string} key */
  constructor(kind, key) {
    /** Which storage it is in. */
    this.kind = kind;
    this.#key = key;
  }
  /** Return the text, or null if there is none. @returns {string | null} */
  read() {
    return tryOrNull(() => this.#storage.getItem(this.#key)) || null;
  }
  /** Return what the text means as JSON, or null. @returns {any} */
  readJSON() {
    return tryOrNull(() => JSON.parse(this.read() ?? ""));
  }
  /** Write a text, or remove it. Return whether it is written. @param {string | null} text @returns {boolean} */
  write(text) {
    return tryOrNull(() => {
      if (text === null) this.#storage.removeItem(this.#key);
      else this.#storage.setItem(this.#key, text);
      return true;
    }) ?? false;
  }
  /** The storage, if there is one: accesses to it may throw anyway. @returns {Storage} */
  get #storage() {
    return (
      /** @type {any} */
      globalThis[this.kind]
    );
  }
};

// src/tokens/storage_keys.js
/** Names in the browser's storages. */
/** What the names of all that belongs to a view end with: its token, its events, and what is known of them. */
var ENDINGS = ["", ":events", ":events:settled", ":events:received"];
/** Return the key of the number of the newest push that a view has. @param {string} viewId */
function receivedKeyOf(viewId) {
  return `${keyOf(viewId)}:events:received`;
}
/** Return the key of a view's token. That of its events ends with ":events". Frames share the storage of their tab, so
 * each has keys of its own. @param {string} viewId */
function keyOf(viewId) {
  const place2 = placeInTab();
  return place2 === "" ? pageKeyOf(viewId) : `${pageKeyOf(viewId)}:events:frame${place2}`;
}
/** Return the key of a view's token on the tab's own page, in which no view's name must bring about ":events".
 * @param {string} viewId */
function pageKeyOf(viewId) {
  // what looks like a ":events" that was replaced is replaced as well, so that no two names become one
  return `lv_recovery_${viewId.replace(/%(?=(25)*3Aevents)/g, "%25").replaceAll(":events", "%3Aevents")}`;
}
/**
 * Take over, once, what an earlier version has stored for a view in a frame: under the key of the tab's own page. If there
 * is a page of the same origin around the frame, that is the page's, and stays.
 * @param {string} viewId @param {StorageKind} kind
 */
function moveToFrame(viewId, kind) {
  if (placeInTab() === "" || isInOwnPage()) return;
  const values = (key) => ENDINGS.map((ending) => new StoredValue(kind, key + ending));
  const moved = values(keyOf(viewId));
  if (moved.some((value) => value.read())) return;
  values(pageKeyOf(viewId)).forEach((value, place2) => moved[place2].write(value.read()) && value.write(null));
}

// src/events/queued_event.js
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
var MAX_LINES = 16;
/** An event of the page, from its push until the server has stored its effect. */
var QueuedEvent = class {
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
};
/** Return whether a value has the shape that `toJSON` returns: a storage may contain anything. @param {any} stored */
function isStoredEvent(stored) {
  const { event, payload, seq, owner } = stored ?? {};
  const isEvent = typeof event === "string" && payload instanceof Object && (seq === null || Number.isSafeInteger(seq) && seq > 0);
  return isEvent && typeof owner === "string" && owner !== "";
}

// src/events/event_storage.js
/** How many events of other pages, and how many characters of their replies, are remembered as settled. */
var MAX_SETTLED = 100;
var MAX_SETTLED_CHARS = 1e5;
/** What closed views of this page have left, and the tab's storage doesn't have: what was pushed before anybody had joined,
 * or with the storage "none". By the key of the view. @type {Map<string, StoredEvent[]>} */
var leftInMemory = /* @__PURE__ */ new Map();
/** Forget it on a page that comes back from the back/forward cache: somebody else may be there. @param {any} shown */
var forgetLeft = ({ persisted }) => persisted && leftInMemory.clear();
/** What a page has learned of another page's event. @typedef {{ reply?: Reply, reason?: LostReason }} Settled */
/** The events of one view in the tab's storage, under `lv_recovery_<viewId>:events`. */
var EventStorage = class {
  #key;
  #events;
  #settled;
  /** @param {string} viewId @param {StorageKind} storage */
  constructor(viewId, storage) {
    this.#key = `${keyOf(viewId)}:events`;
    const kind = storage === "none" ? storage : "sessionStorage";
    this.#events = new StoredValue(kind, this.#key);
    this.#settled = new StoredValue(kind, `${this.#key}:settled`);
  }
  /** @returns {StoredEvent[]} */
  load() {
    return tryOrNull(() => this.#events.readJSON().filter(isStoredEvent)) ?? [];
  }
  #loadIds() {
    return new Set(this.load().map(({ id }) => id));
  }
  /** Leave events to the page's next `Recovery` of this view. @param {QueuedEvent[]} events */
  leave(events) {
    const stored = this.#loadIds();
    leftInMemory.set(this.#key, events.filter(({ id }) => !stored.has(id)).map((queued) => queued.toJSON()));
    globalThis.addEventListener?.("pageshow", forgetLeft, { capture: true });
  }
  /** Return what was left, for one `Recovery`. @returns {StoredEvent[]} */
  takeLeft() {
    const left = leftInMemory.get(this.#key) ?? [];
    leftInMemory.delete(this.#key);
    return left;
  }
  /** What pages of this tab have learned of events that others had pushed, by their ids. @returns {Map<string, Settled>} */
  loadSettled() {
    return tryOrNull(() => new Map(this.#settled.readJSON())) ?? /* @__PURE__ */ new Map();
  }
  /** Remember for the page that has pushed an event what became of it: that page may only sleep.
   * @param {string} id @param {Settled} what */
  settle(id, what) {
    const settled = [...this.loadSettled(), [id, what]].slice(-MAX_SETTLED);
    while (JSON.stringify(settled).length > MAX_SETTLED_CHARS) settled.shift();
    this.#settled.write(JSON.stringify(settled));
  }
  forgetSettled() {
    this.#settled.write(null);
  }
  /** Store events, in place of those before. Return whether all of them are stored: if there is no room for them, only
   * some of those that were stored already are. @param {QueuedEvent[]} events */
  save(events) {
    if (this.#write(events)) return true;
    const ids = this.#loadIds();
    const stored = events.filter(({ id }) => ids.has(id));
    // an outdated copy is worse than none: it may contain, as never sent, events that were sent since
    if (JSON.stringify(stored) === this.#events.read()) return false;
    while (!this.#write(stored) && stored.length > 0) stored.splice(-Math.ceil(stored.length / 8));
    return false;
  }
  /** @param {QueuedEvent[]} events */
  #write(events) {
    return this.#events.write(events.length > 0 ? JSON.stringify(events) : null);
  }
};

// src/events/page_event.js
/** Events as the page pushes them. */
/** How deeply a payload may be nested. The server's JSON parser rejects more, and then never replies. */
var MAX_DEPTH = 500;
/** Keys of the protocol. An event with a number of the page's own would take the place of another, which would then be
 * answered and never applied. */
var PROTOCOL_KEYS = ["_seq", "_ack", "_line", "_recv"];
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
  for (const key of PROTOCOL_KEYS) delete copy[key];
  if (isDeeperThan(copy, MAX_DEPTH)) throw new TypeError(`a payload may be nested at most ${MAX_DEPTH} levels deep`);
  return { event, payload: copy };
}
/** Return the public part of an event. @param {PageEvent} queued @returns {PageEvent} */
function toPageEvent({ event, payload }) {
  return { event, payload };
}

// src/events/listeners.js
/** Whom a page tells what became of an event. */
/** @typedef {(type: string, detail: unknown) => void} Emit tells the page */
/** Return a listener that settles the promise of the event.
 * @param {PageEvent} pushed @param {(response: Payload) => void} resolve @param {(error: Error) => void} reject
 * @returns {Listener} */
function promiseListener(pushed, resolve, reject) {
  return {
    onReply: ({ status, response }) => status === "ok" ? resolve(response) : reject(new EventError(pushed, "refused", response)),
    onLost: reject
  };
}
/** Return a listener for an event whose promise was lost with a reload, or belongs to a page that sleeps.
 * @param {StoredEvent} pushed @param {(id: string, what: Settled) => void} remember for the page that sleeps
 * @param {Emit} emit @returns {Listener} */
function orphanListener(pushed, remember, emit) {
  const settle = (what) => pushed.id && remember(pushed.id, what);
  return {
    onReply: (reply) => {
      settle({ reply });
      emit("reply", { ...toPageEvent(pushed), ...reply });
    },
    onLost: (error) => settle({ reason: (
      /** @type {any} */
      error.reason
    ) })
  };
}

// src/events/ownership.js
/** For whom the page acts: each event belongs to the person it was pushed by, and isn't sent for another. */
var Ownership = class {
  /** @type {Owner} */
  owner;
  /** Whom the page was made for, if it knows that itself, and other names of theirs. */
  #namesOfPage;
  /** @param {string[]} namesOfPage */
  constructor(namesOfPage2) {
    this.#namesOfPage = namesOfPage2;
    this.owner = this.ownerOfPage;
  }
  /** @returns {Owner} */
  get ownerOfPage() {
    return this.#namesOfPage[0] ?? null;
  }
  /** @param {QueuedEvent} queued */
  isOwn(queued) {
    return queued.owner === this.owner;
  }
  /** @param {QueuedEvent} queued */
  isEarlyAndUnowned({ owner, isEarly }) {
    return owner === null && isEarly;
  }
  /** Return whether an event from before the first join is of the person who has joined, as far as the page knows.
   * @param {Owner} joined @param {QueuedEvent} queued */
  isEarlyFor(joined, queued) {
    const isOfPage = queued.owner === this.ownerOfPage && this.#namesOfPage.includes(joined ?? "");
    return this.isEarlyAndUnowned(queued) || queued.isEarly && isOfPage;
  }
  /** Forget the other names: somebody else may be at the page by now. */
  forgetAliases() {
    this.#namesOfPage = this.#namesOfPage.slice(0, 1);
  }
};

// src/events/patience.js
/** How long a page waits for the response to an event. */
/** Call a function once the page has waited for long enough. Return a function that puts an end to that.
 * @param {PushOptions} options @param {() => void} giveUp @returns {() => void} */
function onImpatience({ signal, timeoutMs }, giveUp) {
  const timer = timeoutMs === void 0 ? void 0 : setTimeout(giveUp, timeoutMs);
  signal?.addEventListener("abort", giveUp, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  };
}

// src/events/state_changes.js
/** What becomes of a queue's events when the state is not as this page left it. */
/** Discard an event that the state doesn't contain: it contains none of those after it, which get new numbers.
 * @param {EventQueue} queue @param {QueuedEvent | undefined} skipped @param {LostReason} reason */
function skip(queue, skipped, reason) {
  if (skipped === void 0) return;
  for (const queued of queue.events.slice(queue.events.indexOf(skipped) + 1)) queued.seq = null;
  queue.discard([skipped], reason);
}
/** Discard events whose numbers are those of another page's events in the state, and all that were numbered after
 * them. @param {EventQueue} queue @param {number} seq of the last event in the state @param {Line[]} lines */
function discardTaken(queue, seq, lines) {
  const first = queue.events.findIndex((queued) => queued.isTakenIn(seq, lines));
  if (first >= 0) queue.discard(queue.events.slice(first).filter((queued) => queued.seq !== null), "superseded");
}
/** Settle the events that a copied state is known to contain. @param {EventQueue} queue @param {Original} original */
function settleApplied(queue, { seq, lines, errors }) {
  for (const queued of [...queue.events]) {
    if (!queued.isAppliedIn(seq, lines)) continue;
    queued.handleReply({ status: errors.includes(Number(queued.seq)) ? "error" : "ok", response: {} });
    queue.remove([queued]);
  }
}
/** Learn what other pages have made of this page's events. The page is told when it is known that the same person is there.
 * @param {EventQueue} queue @param {Map<string, StoredEvent>} stored @param {Map<string, Settled>} settled */
function learn(queue, stored, settled) {
  for (const queued of [...queue.events]) {
    const { seq, line, cuts } = stored.get(queued.id) ?? queued;
    Object.assign(queued, { seq, line, cuts });
    const { reply, reason = queued.seq === null ? "superseded" : void 0 } = settled.get(queued.id) ?? {};
    const isGone = !stored.has(queued.id) && queued.owner !== null;
    if (reply || isGone && reason) queued.learned = { reply, reason, isGone };
  }
}
/** Tell the page what it has learned of its events. @param {EventQueue} queue */
function tellLearned(queue) {
  for (const queued of [...queue.events]) {
    const { reply, reason, isGone } = queued.learned ?? {};
    queued.learned = null;
    if (reply) queued.handleReply(reply);
    if (isGone && reply) queue.remove([queued]);
    else if (isGone && reason) queue.discard([queued], reason);
  }
}

// src/events/suspects.js
/** After how many cuts, or crashes of a server, an event that was next is given up. The close of a server that stops counts as half. */
var MAX_CUTS = 3;
/** What is known of events over which connections may have been lost: each would block all behind it for ever. */
var Suspects = class {
  #queue;
  /** The events without a reply when the connection was lost. @type {QueuedEvent[]} */
  #unanswered = [];
  /** How much it seems that one of them is why. */
  suspicion = 0;
  /** Whether an event that is about to be given up waits, or waited, until the connection had held. */
  #holds = false;
  /** The largest event that was being sent on the last connection. @type {QueuedEvent | undefined} */
  #largest;
  /** The event over whose size the connection seems to have been closed. @type {QueuedEvent | undefined} */
  #tooLarge;
  /** @param {{ events: QueuedEvent[], underWay: QueuedEvent[] }} queue */
  constructor(queue) {
    this.#queue = queue;
  }
  /** The first event without a reply, if connections were cut when it was next. */
  get first() {
    const first = this.#queue.events.find(({ isAnswered }) => !isAnswered);
    return first !== void 0 && first.cuts > 0 ? first : void 0;
  }
  /** Return whether to send nothing until the connection has held for a while. If it is cut before that, the event is
   * sent at once on the next one, which then proves nothing: a line that is cut all the time must not block it. */
  hold() {
    this.#holds = !this.#holds && (this.first?.cuts ?? 0) >= MAX_CUTS - 1;
    return this.#holds;
  }
  /** Begin anew, as there is a new connection. */
  forgetUnanswered() {
    this.#unanswered = [];
    this.suspicion = 0;
  }
  /** Note which events were being sent on a connection that is lost.
   * @param {boolean} wasSending whether any could be @param {number} suspicion */
  noteUnanswered(wasSending, suspicion) {
    const { underWay } = this.#queue;
    this.#largest = [...underWay].sort((one, other) => other.sizeBytes - one.sizeBytes)[0];
    if (!wasSending) return;
    this.#unanswered = underWay;
    this.suspicion = suspicion;
  }
  get largestBytes() {
    return this.#largest?.sizeBytes ?? 0;
  }
  /** Note that the server closed the connection over the size of a message: of the largest that was being sent. */
  blameLargest() {
    this.#tooLarge = this.#largest;
  }
  /** Return, once, the event that seemed too large, unless the state contains it: the message may have been another.
   * @param {number} seq of the last event in the state */
  takeTooLarge(seq) {
    const tooLarge = this.#tooLarge;
    this.#tooLarge = void 0;
    return tooLarge && !tooLarge.isUpTo(seq) && this.#queue.events.includes(tooLarge) ? tooLarge : void 0;
  }
  /** Return the next event if it has been next, and sent, when too many connections were cut.
   * @param {number} seq of the last event in the state */
  takeUndeliverable(seq) {
    const next = this.#queue.events.find((queued) => !queued.isUpTo(seq));
    if (this.suspicion === 0 || !next || !this.#unanswered.includes(next)) return void 0;
    if (next.cuts >= MAX_CUTS - 1 && !this.#holds) return void 0;
    next.cuts += this.suspicion;
    return next.cuts >= MAX_CUTS ? next : void 0;
  }
};

// src/events/event_queue.js
/** Up to how many events are stored at each change. More are stored together, after so long or when the page is left. */
var MAX_SAVED_AT_ONCE = 64;
var SAVE_AFTER_MS = 250;
/** @typedef {{ maxKept: number, maxKeptChars: number }} Limits */
/** The events of one view, oldest first. Each stays until the server has stored its effect or it is reported as lost.
 *
 * Stored events are set aside until it is known whether they belong to the page's owner. The queue decides what a join
 * means for its events; a `Sender` sends them.
 */
var EventQueue = class {
  /** @type {QueuedEvent[]} */
  events = [];
  /** Stored events that nobody sees until their owner is known. @type {QueuedEvent[]} */
  #setAside = [];
  /** @type {Sender | null} */
  #sender = null;
  /** By whom this page's numbers are assigned in the current state. */
  line = randomWord();
  suspects = new Suspects(this);
  #saveTimer = new Timer();
  #durableSeq = 0;
  /** The length of all payloads or more, so that it need not be counted at each push. */
  #maxChars = Infinity;
  /** Whether a reload would keep the events without a reply. */
  isKept = true;
  #hasJoined = false;
  #isClosed = false;
  #storage;
  #limits;
  #ownership;
  #emit;
  /** @param {EventStorage} storage @param {Limits} limits @param {string[]} namesOfPage @param {Emit} emit */
  constructor(storage, limits, namesOfPage2, emit) {
    this.#storage = storage;
    this.#limits = limits;
    this.#ownership = new Ownership(namesOfPage2);
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
    const place2 = this.events.findIndex(isSo);
    return place2 < 0 ? this.events.length : place2;
  }
  /** Whether events are sent now. */
  get isSending() {
    return this.#sender !== null;
  }
  /** Add an event, and return a promise for its reply.
   * @param {string} event @param {Payload} payload @param {PushOptions} [options] */
  add(event, payload, options = {}) {
    /** @type {PageEvent} */
    let copy;
    try {
      copy = copyEvent(event, payload);
      checkPushOptions(options);
    } catch (error) {
      return Promise.reject(error);
    }
    let stopClock = () => {
    };
    const reply = new Promise((resolve, reject) => {
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
    reply.then(stopClock, stopClock);
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
      const isCopy = original !== void 0;
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
    const isAlias = (queued) => queued.owner !== null && aliases.includes(queued.owner);
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
      this.#durableSeq = 0;
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
    const remember = (id, what) => this.#storage.settle(id, what);
    return orphanListener(pushed, remember, this.#emit);
  }
};

// src/logger.js
/** Return a function that writes to the page's logger, if it has one. What is written has no payload, token or URL.
 * @param {Logger | undefined} logger @returns {Log} */
function logTo(logger) {
  if (logger === void 0) return () => {
  };
  const write = typeof logger === "function" ? logger : (...[level, ...what]) => logger[level]?.(...what);
  return (...what) => tryOrNull(() => write(...what));
}

// src/open_views.js
/** The views of the page that have a `Recovery`: one each, or two would send the same events. */
/** @typedef {{ giveWay(): void }} OpenView */
/** @type {Map<string, OpenView>} */
var openViews = /* @__PURE__ */ new Map();
/** Record what a view has now. What it had before gives way. @param {string} viewId @param {OpenView} opened */
function openView(viewId, opened) {
  const before = openViews.get(viewId);
  openViews.set(viewId, opened);
  if (before !== void 0 && before !== opened) before.giveWay();
}
/** @param {OpenView} closed */
function closeView(closed) {
  for (const [viewId, opened] of openViews) if (opened === closed) openViews.delete(viewId);
}

// src/received_pushes.js
/** After how many pushes the server is told that the page has them, so that it keeps them no longer. */
var TOLD_AFTER = 32;
/**
 * The server's numbered pushes: each is told to the page once. Their number is stored with the token, as the state that
 * this is for goes on with them.
 */
var ReceivedPushes = class {
  #tokens;
  #acknowledge;
  #onMissed;
  /** Whether the next one may leave some out, as the page knows of those. */
  #mayLeaveOut = false;
  /** @param {() => TokenStore} tokens @param {(payload: Payload) => void} acknowledge @param {() => void} onMissed */
  constructor(tokens, acknowledge, onMissed) {
    this.#tokens = tokens;
    this.#acknowledge = acknowledge;
    this.#onMissed = onMissed;
  }
  /** The newest one that the page has, for its joins. */
  get newest() {
    return this.#tokens().received || null;
  }
  /** Handle the reply to a join, before its pushes. Return whether the page lacks some that are gone.
   * @param {Outcome | null} outcome @param {boolean} hasToken @param {boolean} missed */
  handleJoin(outcome, hasToken, missed) {
    // without a token, the page's own is still for a state whose pushes it has up to that number
    if (outcome !== "recovered" && hasToken) this.#tokens().saveReceived(0);
    this.#mayLeaveOut = missed;
    return missed;
  }
  /** Return what the page is told of a push, without its number; null if it was told already. @param {any} payload */
  receive(payload) {
    if (typeof payload?._push !== "number") return payload;
    const { _push: number, ...told } = payload;
    const received = this.#tokens().received;
    if (number <= received) return null;
    if (number > received + 1 && !this.#mayLeaveOut) this.#onMissed();
    this.#mayLeaveOut = false;
    this.#tokens().saveReceived(number);
    if (number % TOLD_AFTER === 0) this.#acknowledge({ _recv: number });
    return told;
  }
};

// src/tokens/page_tokens.js
/** Tokens that are in the page's HTML: its view has stored the state that the page begins with. */
var ELEMENT_ID = "recovery-state";
/** Those that a view of this page uses. @type {Set<string>} */
var taken = /* @__PURE__ */ new Set();
/** Return the page's token for the first join of a topic, the first time that anybody asks. @param {string} topic */
function takePageToken(topic) {
  /** @type {unknown} */
  const token = tryOrNull(() => JSON.parse(globalThis.document.getElementById(ELEMENT_ID)?.textContent ?? "")[topic]);
  if (typeof token !== "string" || taken.has(token)) return null;
  taken.add(token);
  return token;
}

// src/tokens/page_lock.js
/** A Web Lock that a page holds. */
/** How long a reloaded page waits for the previous page to release its lock. */
var LOCK_TIMEOUT_MS = 500;
/** Acquire a Web Lock. Return a function that releases it, or null if the lock isn't available.
 * @param {string} name @param {LockOptions} options @returns {Promise<(() => void) | null>} */
function requestLock(name, options) {
  return new Promise((resolve, reject) => {
    const hold = (granted) => {
      if (granted === null) return resolve(null);
      return (
        /** @type {Promise<void>} */
        new Promise((release) => resolve(release))
      );
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

// src/tokens/token_store.js
/** Tokens: secrets, which are kept in the tab's storage and never put into a URL or a log line. */
/** @type {Map<string, TokenStore>} */
var tokenStores = /* @__PURE__ */ new Map();
/** The token of one view, in memory and, if there is one, in the browser's storage. */
var TokenStore = class _TokenStore {
  /** @type {string | null} */
  #token = null;
  #key;
  #stored;
  #storedReceived;
  #received = 0;
  #isPresented = false;
  /** Whether the storage has the token. */
  isStored = true;
  /** What the storage had when this page last wrote or read it. @type {string | null} */
  #known = null;
  /** Return the page's only store for a view. @param {string} viewId @param {StorageKind} storage */
  static forView(viewId, storage) {
    const name = `${storage} ${viewId}`;
    const store = tokenStores.get(name) ?? new _TokenStore(viewId, storage);
    tokenStores.set(name, store);
    return store;
  }
  /** @param {string} viewId @param {StorageKind} storage */
  constructor(viewId, storage) {
    this.#key = keyOf(viewId);
    const kind = storage === "localStorage" ? "sessionStorage" : storage;
    this.#stored = new StoredValue(kind, this.#key);
    this.#storedReceived = new StoredValue(kind, receivedKeyOf(viewId));
    moveToFrame(viewId, kind);
    this.#load();
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
  /** @param {string | null} token null to remove it */
  save(token) {
    this.#token = token;
    this.isStored = this.#stored.write(token);
    this.#known = this.#stored.read();
  }
  /** Try again to store a token that the storage had no room for, unless another page has stored one since. */
  saveAgain() {
    if (!this.isStored && this.#stored.read() === this.#known) this.save(this.#token);
  }
  /** The number of the newest push that the page has, of the state that the token is for; 0 for none. */
  get received() {
    return this.#received;
  }
  /** @param {number} number of a push */
  saveReceived(number) {
    if (number === this.#received) return;
    this.#received = number;
    this.#storedReceived.write(String(number));
  }
  /** Take the token that another page of this tab has stored while this one slept. Return whether there is one, or
   * whether that page has removed it. What this page couldn't store, in a storage that is full, isn't another's. */
  readAgain() {
    if (this.#stored.read() === this.#known) return false;
    this.#load();
    return true;
  }
  remove() {
    this.save(null);
    this.saveReceived(0);
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
    this.#use("localStorage");
    this.#load();
  }
  /**
   * Find out whether this tab still owns the token in localStorage: browsers release the locks of a page in the
   * back/forward cache, and another tab may have continued the state. Until then, and if one has, this page keeps what
   * it had to itself. Resolves with whether the token is another one now; null if there was nothing to own.
   * @returns {Promise<boolean> | null}
   */
  regain() {
    if (this.#stored.kind !== "localStorage") return null;
    const before = this.#known;
    this.#use("sessionStorage");
    this.#known = this.#stored.read();
    this.#isPresented = false;
    const regained = acquirePageLock(this.#key).catch(() => null).then((release) => this.#handleLock(release, before));
    this.ready = regained.then(() => {
    });
    return regained;
  }
  /** @param {(() => void) | null} release @param {string | null} before what was stored when this tab was the owner */
  #handleLock(release, before) {
    if (release) this.#use("localStorage");
    const isContinued = release !== null && this.#stored.read() !== before;
    if (isContinued && this.#isPresented) {
      this.#use("sessionStorage");
      release();
    } else if (isContinued) {
      this.#load();
      return true;
    }
    if (this.#token !== null) this.save(this.#token);
    return false;
  }
  /** @param {StorageKind} kind */
  #use(kind) {
    this.#stored.kind = this.#storedReceived.kind = kind;
  }
  /** Take what the storage has. */
  #load() {
    this.isStored = true;
    this.#token = this.#known = this.#stored.read();
    this.#received = Number(this.#storedReceived.read()) || 0;
  }
};

// src/view.js
/** A view's own events. What else `on` hears was pushed by the server. */
var OWN_EVENTS = ["status", "connection", "outcome", "lost", "reply", "missed", "refused", "kept"];
/** What a page hears of a view: its own events, and those that the server pushes. */
var View = class extends EventTarget {
  #pushed = new EventTarget();
  /**
   * Call a function with the detail of each event of this view's ("status", "connection", "outcome", "lost", "reply",
   * "missed", "refused", "kept"), or with the payload of each event of any other name that the server pushes. Return a function that ends that.
   * @template {keyof ViewEvents} T
   * @overload
   * @param {T} type
   * @param {(detail: ViewEvents[T]) => void} callback
   * @returns {() => void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {(payload: any) => void} callback
   * @returns {() => void}
   */
  /** @param {string} type @param {(detail: any) => void} callback @returns {() => void} */
  on(type, callback) {
    return listen(OWN_EVENTS.includes(type) ? this : this.#pushed, type, callback);
  }
  /** Call a function with the payload of each event of this name that the server pushes, also if a view has an event of
   * that name itself. Return a function that ends that.
   * @param {string} event @param {(payload: any) => void} callback @returns {() => void} */
  onPushed(event, callback) {
    return listen(this.#pushed, event, callback);
  }
  /** Dispatch an event of the view's own. @param {string} type @param {unknown} detail */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
  /** Pass on an event that the server has pushed. @param {string} event @param {unknown} payload */
  heard(event, payload) {
    this.#pushed.dispatchEvent(new CustomEvent(event, { detail: payload }));
  }
};

// src/recovery.js
/** Outcomes by which the server tells that the token is this person's. */
var CONTINUING_OUTCOMES = ["recovered", "copied"];
/**
 * The recovery of one view: its token, its events, the status of its connection, and the outcome of its last join.
 *
 * Dispatches "status" (detail: a Status), "connection" (a ConnectionDetail), "outcome" (an OutcomeDetail), "lost" (a
 * LostDetail), "reply" (a ReplyDetail, for an event that was pushed before the page was reloaded), "missed", where
 * pushes of the server are gone, and "kept" (the new value of `isKept`).
 * Other clients call `joinPayload`, `joined`, `dropped`, `keep`, `heard` and, to send events, `carry`.
 */
var Recovery = class extends View {
  #tokens;
  #queue;
  #storage;
  #pushes;
  /** The token in the page's HTML, until a join has used it. @type {string | null} */
  #pageToken = null;
  #listeners = new AbortController();
  #delivery;
  #rejoins;
  #isForgotten = false;
  /** Whether the view belongs to the next one now. */
  #isClosed = false;
  /** Whether another page has continued the state since the last join: as somebody else, perhaps. */
  #isContinued = false;
  /** Whether the last join had a token. */
  #showsToken = false;
  /** Counts what happens to the connection. */
  #changes = 0;
  #isActive;
  /** What the page was told. */
  #wasKept;
  #connectionState = new ConnectionState((detail) => this.tell("connection", detail));
  /** Whether the page is on a state that it goes on with: it knows the join's outcome, and waits for no other. */
  #hearsPushes = false;
  /** @type {Log} */
  #log;
  /** @type {number | null} */
  #offlineSince = null;
  /** @type {Status} */
  status = "disconnected";
  /** @type {Outcome | null} */
  outcome = null;
  /**
   * @param {string | null} viewId part of the storage key: `lv_recovery_<viewId>`; null until `nameView`
   * @param {RecoveryOptions} [options]
   */
  constructor(viewId, options = {}) {
    super();
    if (viewId !== null && typeof viewId !== "string") throw new TypeError("Recovery: the viewId must be a string");
    const given = checkOptions("Recovery", options);
    // half of what browsers allow, as the page may use the same storage
    const { storage = "sessionStorage", maxKept = 1e3, maxKeptChars = 25e5 } = given;
    this.#log = logTo(given.logger);
    this.#storage = storage;
    this.#wasKept = storage !== "none";
    if (viewId !== null) openView(viewId, this);
    this.#tokens = viewId === null ? new TokenStore("", "none") : TokenStore.forView(viewId, storage);
    const emit = (type, detail) => {
      if (type === "kept") return this.#tellKept();
      if (type === "lost") this.#log("warn", "events lost", { reason: detail.reason, count: detail.events.length });
      this.tell(type, detail);
    };
    const events = new EventStorage(viewId ?? "", viewId === null ? "none" : storage);
    this.#queue = new EventQueue(events, { maxKept, maxKeptChars }, namesOfPage(given.owner), emit);
    const isJoined = () => this.status === "connected";
    this.#delivery = new Delivery(this.#queue, given.rejoinAfterMs ?? rejoinAfterMs, given.timeoutMs ?? 1e4, isJoined);
    this.#rejoins = this.#delivery.rejoins;
    const acknowledge = (payload) => {
      this.#delivery.transport?.send("recovery:received", payload, () => {
      });
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
    return Promise.all([this.#tokens.ready, this.#isActive]).then(() => {
    });
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
      if (this.isKept !== this.#wasKept) this.tell("kept", this.#wasKept = this.isKept);
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
    const token = this.#isClosed ? null : this.#tokens.present() ?? this.#pageToken;
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
};

// src/live_view_recovery.js
/** The recovery of all LiveViews of a page, by element id. */
var LiveViewRecovery = class {
  #options;
  /** @type {Map<string, Recovery>} */
  #views = /* @__PURE__ */ new Map();
  /** The channel of each view: what an earlier one still hears is of no matter. @type {Map<Recovery, object>} */
  #channels = /* @__PURE__ */ new Map();
  /** @param {{ storage?: StorageKind, owner?: string }} [options] */
  constructor(options = {}) {
    this.#options = checkOptions("LiveViewRecovery", options);
  }
  /** Return the recovery of one view. @param {string} id of its element */
  view(id) {
    const known = this.#views.get(id);
    if (known !== void 0) return known;
    const view = new Recovery(id, this.#options);
    view.beginWith(`lv:${id}`);
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
    return { ...typeof params === "function" ? params() : params };
  }
  /**
   * Watch a LiveSocket for new tokens. Call it before `liveSocket.connect()`. LiveView doesn't expose the replies to
   * its joins, so this hooks into each new channel, before LiveView: an exception in a page's hook loses no token.
   * @template {{ getSocket(): PhoenixSocket }} L @param {L} liveSocket @returns {L}
   */
  watch(liveSocket) {
    const socket = liveSocket.getSocket();
    SharedSocket.of(socket);
    const make = socket.channel.bind(socket);
    socket.channel = (topic, params) => {
      const view = topic.startsWith("lv:") ? this.view(topic.slice("lv:".length)) : null;
      let isNew = true;
      const channel = make(topic, view ? () => this.#begin(view, params(), isNew) : params);
      const markJoined = keepCounting(channel.rejoinTimer);
      if (view) this.#channels.set(view, channel);
      channel.onMessage = (event, payload) => {
        if (event === "phx_reply" && payload?.status === "ok") {
          markJoined();
          isNew = false;
        }
        const handle = () => view && this.#channels.get(view) === channel && this.#handleMessage(view, event, payload);
        // the main view is closed just before that of the next page
        if (event === "phx_close") queueMicrotask(handle);
        else handle();
        return payload;
      };
      return channel;
    };
    return liveSocket;
  }
  /** Return the payload of a join. A live navigation puts another page into the main view's element, and that page has a
   * state of its own. @param {Recovery} view @param {any} payload @param {boolean} isNew whether it has never joined */
  #begin(view, payload, isNew) {
    if (isNew && payload.redirect) {
      view.forget();
      delete payload.params._recovery;
      view.joinPayload();
    }
    return payload;
  }
  /** @param {Recovery} view @param {string} event @param {any} payload */
  #handleMessage(view, event, payload) {
    if (event === "recovery:token") view.keep(payload);
    else if (event === "phx_error") view.dropped();
    else if (event === "phx_close") view.dropped(void 0, null);
    else if (event === "phx_reply" && payload?.response?._recovery?.outcome) view.joined(payload.response);
  }
};

// src/recovery_channel.js
/** A view with a topic of its own on a shared `RecoverySocket`, made by its `channel`. */
var RecoveryChannel = class extends Recovery {
  #topic;
  /** @type {Promise<Payload> | null} */
  #joined = null;
  /** @param {RecoveryOptions & { viewId: string }} options @param {(view: Recovery) => ChannelTopic} makeTopic */
  constructor(options, makeTopic) {
    super(options.viewId, options);
    this.#topic = makeTopic(this);
  }
  /** Join, and do so again after every disconnect. Return a promise for the response of the first join, also if it is
   * called again. @returns {Promise<Payload>} */
  join() {
    this.#joined ??= this.#topic.start();
    this.#topic.want();
    return this.#joined;
  }
  /** Leave the topic permanently, and discard the events without a reply. The token stays; `forget` removes it. */
  leave() {
    this.#topic.end(true);
    this.giveUp();
  }
  /** Leave the topic permanently, and keep the events without a reply for the next view of this name. */
  close() {
    this.#topic.end(false);
    super.close();
  }
};

// src/supply.js
/** Values that the page gives, or a function that returns or promises them. */
/** How long such a function may take. It may ask a server. */
var SUPPLY_MS = 6e4;
/**
 * Call `then` with what `read` makes of a value, or of what a function returns or promises; at once, unless it is a
 * promise. Call `fail` with the error if there is none.
 * @template T @param {any} source @param {(value: any) => T} read @param {(value: T) => void} then
 * @param {(error: unknown) => void} fail
 */
function supply(source, read, then, fail) {
  const deliver = (value) => {
    /** @type {T} */
    let given;
    try {
      given = read(value);
    } catch (error) {
      return fail(error);
    }
    then(given);
  };
  try {
    const value = typeof source === "function" ? source() : source;
    if (typeof value?.then === "function") Promise.resolve(value).then(deliver, fail);
    else deliver(value);
  } catch (error) {
    fail(error);
  }
}

// src/connection/address.js
/** Where a WebSocket connects to. */
/** Return the address that a page means by a URL, or by a path on its host. Throw a TypeError if it is none.
 * @param {unknown} url @returns {URL} */
function addressOf(url) {
  if (typeof url !== "string" && !(url instanceof URL)) {
    throw new TypeError("the URL of a RecoverySocket must be a string, a URL, or a function that returns or promises one");
  }
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

// src/connection/deadline.js
/** How many times longer than usual a slow connection or join may take, once shorter times were too short. */
var MAX_FACTOR = 8;
/** How long a connection or a join may take: longer with each try that takes too long, as it may only be slow. */
var Deadline = class {
  #timeoutMs;
  #factor = 1;
  #startedAt = 0;
  /** @param {number} timeoutMs */
  constructor(timeoutMs) {
    this.#timeoutMs = timeoutMs;
  }
  /** Return how long what begins now may take. */
  begin() {
    this.#startedAt = performance.now();
    return this.#timeoutMs * this.#factor;
  }
  /** Note that it took too long. */
  extend() {
    this.#factor = Math.min(MAX_FACTOR, this.#factor * 2);
  }
  /** Note that it is done. */
  meet() {
    if (performance.now() - this.#startedAt < this.#timeoutMs / 2) this.#factor = 1;
  }
};

// src/connection/frames.js
/** Frames of version 2 of the Phoenix channels protocol. */
/** @typedef {[joinRef: string | null, ref: string | null, topic: string, event: string, payload: any]} Frame */
/** @param {Frame} frame */
function encodeFrame(frame) {
  return JSON.stringify(frame);
}
/** Return the frame, or null if it is none. @param {unknown} data @returns {Frame | null} */
function decodeFrame(data) {
  const frame = tryOrNull(() => JSON.parse(String(data)));
  return Array.isArray(frame) ? (
    /** @type {Frame} */
    frame
  ) : null;
}

// src/connection/heartbeat.js
/**
 * @typedef {object} HeartbeatOptions
 * @property {number} intervalMs time between heartbeats
 * @property {() => void} send
 * @property {() => number} bufferedAmount how many bytes are still to leave this machine
 * @property {() => void} onDead called when nothing has arrived in time
 */
/** The heartbeats of a connection, which find out whether the line is dead: a connection doesn't tell. */
var Heartbeat = class {
  #options;
  /** Whether nothing has arrived since the last heartbeat. */
  #isSilent = false;
  /** When the connection counts as dead, if it is silent. */
  #silentUntil = 0;
  #sentAt = 0;
  /** What was still to be sent when that was last looked at. */
  #bufferedAmount = 0;
  #timer = new Timer();
  /** @param {HeartbeatOptions} options */
  constructor(options) {
    this.#options = options;
  }
  start() {
    this.#sendAfter(this.#options.intervalMs);
  }
  stop() {
    this.#timer.clear();
  }
  /** Note that something has arrived. */
  hear() {
    this.#isSilent = false;
  }
  /** Send a heartbeat, and report the connection as dead if nothing at all arrives in time. One that has no answer yet
   * keeps its time unless less is left: who switches between tabs must not put it off. @param {number} [withinMs] */
  send(withinMs = this.#options.intervalMs) {
    const now = performance.now();
    const isPending = this.#isSilent && this.#silentUntil > now;
    this.#silentUntil = isPending ? Math.min(this.#silentUntil, now + withinMs) : now + withinMs;
    this.#isSilent = true;
    if (!isPending) {
      this.#sentAt = now;
      this.#options.send();
    }
    this.#timer.set(this.#silentUntil - now, () => this.#check());
  }
  #check() {
    if (this.#isSilent && !this.#isUploading()) return this.#options.onDead();
    this.#isSilent = false;
    this.#sendAfter(Math.max(0, this.#sentAt + this.#options.intervalMs - performance.now()));
  }
  /** @param {number} ms */
  #sendAfter(ms) {
    this.#timer.set(ms, () => this.send());
  }
  /** Return whether what was sent is still leaving this machine: a line that does that is slow, not dead. */
  #isUploading() {
    const before = this.#bufferedAmount;
    this.#bufferedAmount = this.#options.bufferedAmount();
    return this.#bufferedAmount > 0 && this.#bufferedAmount !== before;
  }
};

// src/connection/refusals.js
/** How many handshakes or joins may be refused in a row until that is more than a server that restarts. */
var FREE_REFUSALS = 5;
/** The longest wait of a page that isn't let in. Of one that was, and has a state to come back to before that expires: a
 * server that is away for minutes looks the same. */
var MAX_WAIT_MS2 = 3e5;
var MAX_WAIT_BACK_MS = 3e4;
/** The handshakes and joins that were refused since a connection has held. */
var Refusals = class {
  count = 0;
  /** How many of those that are free no longer are. */
  #denied = 0;
  #maxMs = MAX_WAIT_MS2;
  /** Begin anew, as the page is let in. */
  forgive() {
    this.count = this.#denied = 0;
    this.#maxMs = MAX_WAIT_BACK_MS;
  }
  /** Count as a denial at once, as the server has said that it lets this client in no more. */
  deny() {
    this.#denied = Math.max(this.#denied, FREE_REFUSALS - this.count);
    this.#maxMs = MAX_WAIT_MS2;
  }
  /** Whether the next refusal means more than a server that restarts. */
  get areDenial() {
    return this.#weight + 1 >= FREE_REFUSALS;
  }
  /** How long to wait at least until the next try: half of it is random. */
  get retryAfterMs() {
    if (this.#weight <= FREE_REFUSALS) return 0;
    const ms = Math.min(this.#maxMs, 1e3 * 2 ** (this.#weight - FREE_REFUSALS));
    return ms / 2 + Math.random() * ms / 2;
  }
  get #weight() {
    return this.count + this.#denied;
  }
};

// src/connection/wake_ups.js
/** Events that tell that the page may have slept, or is online again. */
var TYPES = ["online", "pageshow", "visibilitychange", "resume"];
/** Calls a function whenever the page wakes up, as its timers may have been suspended. */
var WakeUps = class {
  #onWake;
  /** @type {AbortController | null} */
  #controller = null;
  /** @param {() => void} onWake */
  constructor(onWake) {
    this.#onWake = onWake;
  }
  listen() {
    if (this.#controller !== null) return;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    for (const type of TYPES) globalThis.addEventListener?.(type, () => this.#handle(), { capture: true, signal });
  }
  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }
  #handle() {
    if (globalThis.document?.visibilityState !== "hidden") this.#onWake();
  }
};

// src/connection/connection.js
/** @typedef {{ heartbeatMs: number, timeoutMs: number, reconnectAfterMs: Backoff, protocols?: any, log: Log }} ConnectionOptions */
/** A WebSocket that reconnects, and the topics that share it. It is open as long as one of them is wanted. */
var Connection = class {
  /** Whether the page has closed it for ever. */
  isClosed = false;
  isOpen = false;
  #url;
  #options;
  #log;
  /** @type {Map<string, Topic>} */
  #topics = /* @__PURE__ */ new Map();
  #shouldConnect = false;
  /** The try, or the connection, that there is: what belongs to an earlier one is ignored. @type {object | null} */
  #attempt = null;
  /** @type {WebSocket | null} */
  #webSocket = null;
  #lastRef = 0;
  /** Tries since a connection has held. */
  #tries = 0;
  #refusals = new Refusals();
  /** @type {Turns<Topic>} */
  #turns = new Turns();
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
      onDead: () => this.lose(CLOSE_DEAD)
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
      const fail = (error) => isCurrent() && this.#fail(reason, error);
      supply(source, read, (value) => isCurrent() && then(value), fail);
    };
    ask(
      this.#url,
      addressOf,
      "url",
      ({ href }) => ask(
        this.#options.protocols,
        (value) => value,
        "protocols",
        (protocols) => ask(protocols, () => new globalThis.WebSocket(href, protocols), "protocols", (made) => this.#use(made))
      )
    );
  }
  /** @param {WebSocket} webSocket */
  #use(webSocket) {
    this.#log("debug", "connecting");
    this.#webSocket = webSocket;
    webSocket.onerror = () => {
    };
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
    if (isDenied || !this.isOpen && this.#refusals.areDenial) {
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
    if (nextDelayMs !== null && suspicionOf(code) > 0) this.#turns.suspect(topics.filter((_, place2) => sizes[place2] > 0));
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
};

// src/connection/topic.js
/** @typedef {{ timeoutMs: number, rejoinAfterMs: Backoff, log: Log }} TopicOptions */
/** Return the params that a page gives for a join. @param {any} params @returns {Payload} */
function checkParams(params = {}) {
  if (params === null || typeof params !== "object" || Array.isArray(params)) {
    throw new TypeError("the params of a join must be an object, or a function that returns or promises one");
  }
  return params;
}
/** Throw a TypeError for what can't be joined. @param {unknown} name @param {unknown} params */
function checkJoin(name, params) {
  if (typeof name !== "string" || name === "") throw new TypeError("a topic must be a string that isn't empty");
  if (typeof params !== "function") checkParams(params);
}
/** One view's topic on a connection: its joins, and what is sent and received for it. */
var Topic = class {
  /** Whether the page wants to be joined, and the server hasn't ended that. */
  isWanted = false;
  /** Whether the view may join: it knows its token. */
  isPrepared = false;
  #params;
  #connection;
  #options;
  #log;
  /** The try to join that is going on, if any: one that is over must not send. @type {object | null} */
  #joining = null;
  /** @type {string | null} */
  #joinRef = null;
  /** @type {Map<string, (reply: Reply) => void>} */
  #replyCallbacks = /* @__PURE__ */ new Map();
  /** @type {(response: Payload) => void} */
  #resolve = () => {
  };
  /** @type {(error: Error) => void} */
  #reject = () => {
  };
  #isWaiting = false;
  #isEnded = false;
  /** Tries since a join has held. */
  #tries = 0;
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
    view.on("outcome", ({ isWaiting }) => this.#isWaiting = isWaiting);
    view.carry({
      takesPushes: true,
      send: (event, payload, onReply) => {
        this.#replyCallbacks.set(connection.send(this.#joinRef, this.name, event, payload), onReply);
        return true;
      },
      rejoin: () => this.#rejoin(),
      isBusy: () => connection.bufferedAmount > 0,
      // a little longer than until the next resend: its reply may arrive together with those to the events
      probe: () => connection.probe(options.timeoutMs * 1.1)
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
    joined.catch(() => {
    });
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
    const send = (params) => isCurrent() && this.#sendJoin(params);
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
    if (!this.#connection.hasOthers(this)) return this.#connection.renew();
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
    this.#drop(void 0, ms);
    if (!this.isWanted || !this.#connection.isOpen) return;
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
};

// src/recovery_socket.js
/**
 * A WebSocket that reconnects automatically, with one topic that is joined by `join`, or several by `channel`.
 *
 * Dispatches the events of Recovery, and "refused", as its channels do: with the error response of a join; with
 * `{ reason: "closed", code, tries }` if the server closes the connection with a code that means so (4xxx, 1008); with
 * `{ reason: "handshake", code, tries }` if the connection can't be opened again and again; and with
 * `{ reason, error, tries }` if a function of the page's fails: "url", "protocols" or "params". All is tried again,
 * less and less often.
 */
var RecoverySocket = class extends Recovery {
  #connection;
  #topic;
  #options;
  #topicOptions;
  #hasJoined = false;
  /** @param {SocketUrl} url as for a WebSocket, or a path on this page's host; or a function that returns or promises one,
   * called for each connection @param {SocketOptions} [options] */
  constructor(url, options = {}) {
    const given = checkOptions("RecoverySocket", options);
    const log = logTo(given.logger);
    const settings = { heartbeatMs: 3e4, timeoutMs: 1e4, reconnectAfterMs, rejoinAfterMs, ...given, log };
    const connection = new Connection(url, settings);
    super(given.viewId ?? null, given);
    this.#options = given;
    this.#topicOptions = settings;
    this.#connection = connection;
    this.#topic = new Topic(this, connection, "", {}, settings);
  }
  /**
   * Connect and join, and do so again after every disconnect. Return a promise for the response of the first join;
   * "outcome" has that of each.
   * @param {string} topic @param {SocketParams} [params] called for each join, if it is a function
   * @returns {Promise<Payload>}
   */
  join(topic, params = {}) {
    if (this.#hasJoined) throw new Error(`this socket has already joined ${this.#topic.name}: one topic on one socket, or more by channel()`);
    checkJoin(topic, params);
    if (this.#options.viewId === void 0) this.nameView(this.#defaultName(topic));
    const joined = this.#topic.startAs(topic, params);
    this.#hasJoined = true;
    return joined;
  }
  /**
   * Return a view for another topic on this connection, which opens when the first one joins and closes when the last
   * one has left. Its options are those of the socket unless it has its own.
   * @overload
   * @param {string} topic
   * @param {SocketParams} [params]
   * @param {ChannelOptions} [options]
   * @returns {RecoveryChannel}
   */
  /**
   * @overload
   * @param {object} socket of an npm client: only for a `Recovery`
   * @param {string} topic
   * @param {any} [params]
   * @returns {never}
   */
  /** @param {any} topic @param {any} [params] @param {any} [options] @returns {any} */
  channel(topic, params = {}, options = {}) {
    checkJoin(topic, params);
    const { viewId, ...own } = checkOptions("channel", options);
    const settings = { ...this.#options, ...own, viewId: viewId ?? this.#defaultName(topic) };
    const topicOptions = { ...this.#topicOptions, ...own, log: logTo(settings.logger) };
    return new RecoveryChannel(settings, (view) => new Topic(view, this.#connection, topic, params, topicOptions));
  }
  /** @param {string} topic */
  #defaultName(topic) {
    const { place: place2 } = this.#connection;
    if (place2 !== null) return `${place2} ${topic}`;
    throw new TypeError("a socket whose URL is a function needs the option viewId, the same after a reload");
  }
  /** Connect again after `disconnect`. */
  connect() {
    this.#connection.connect();
  }
  /** Close the connection until `connect`. Events pushed meanwhile are queued. */
  disconnect() {
    this.#connection.disconnect();
  }
  /** Close the connection as a network failure would, and reconnect. */
  drop() {
    this.#connection.lose(CLOSE_DROPPED);
  }
  /** Leave all topics permanently. The tokens stay; `forget` removes them. */
  leave() {
    this.#end("leave");
    this.#topic.end(true);
    this.giveUp();
  }
  /** Close the connection permanently, and keep the events without a reply for the next sockets of these views: as a
   * component of a single-page app does that may be mounted again. */
  close() {
    this.#end("close");
    this.#topic.end(false);
    super.close();
  }
  /** @param {"leave" | "close"} how the channels end */
  #end(how) {
    this.#connection.isClosed = true;
    for (const { view } of this.#connection.topics) if (view instanceof RecoveryChannel) view[how]();
  }
};

// src/version.js
/** The version of the package, which is also that of the Python package. */
var version = "0.1.0";

// src/index.js
/** The package `django-recovery-app`: everything that it exports. */
export {
  EventError,
  LiveViewRecovery,
  Recovery,
  RecoveryChannel,
  RecoverySocket,
  fullJitter,
  reconnectAfterMs,
  rejoinAfterMs,
  version
};
