/**
 * Browser pages with the real recovery.js. Reads one command per line from stdin and writes one answer per line to
 * stdout. The test controls time, randomness, the network and the storage: nothing happens here without a command.
 */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { compileFunction } from "node:vm";

const [RECOVERY, PHOENIX] = process.argv.slice(2, 4).map((path) => readFileSync(path, "utf8"));
const TOPIC = "ledger";

/** The effects of the current command, in order. */
let effects = [];
/** @type {Map<number, Page>} */
let pages = new Map();
/** @type {Map<number, FakeSocket>} */
let sockets = new Map();
let seed = 1;

/** Mulberry32: the same numbers after each reset. */
Math.random = () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

class FakeStorage {
  constructor(items = []) {
    this.items = new Map(items);
  }

  getItem(key) {
    return this.items.get(key) ?? null;
  }

  setItem(key, value) {
    this.items.set(key, String(value));
  }

  removeItem(key) {
    this.items.delete(key);
  }
}

/** A WebSocket whose other end is the test. */
class FakeSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  constructor(page) {
    this.page = page;
    this.number = sockets.size + 1;
    sockets.set(this.number, this);
    effects.push(["dial", page.number, this.number]);
  }

  send(text) {
    if (this.readyState === 0) throw new DOMException("still connecting", "InvalidStateError");
    if (this.readyState === 1) effects.push(["send", this.number, text]);
  }

  close(code) {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    effects.push(["hang_up", this.number, code]);
    queueMicrotask(() => this.closed(code));
  }

  opened() {
    this.readyState = 1;
    this.onopen?.({});
  }

  heard(data) {
    if (this.readyState === 1) this.onmessage?.({ data });
  }

  closed(code = 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** Whom each page was made for, so that what it pushes before it has joined outlives a reload. */
const owner = process.argv[4];

/** The transports of a page. */
const WAYS = {
  socket(page) {
    const view = new page.RecoveryApp.RecoverySocket("ws://test/ledger/", { viewId: "ledger", owner });
    view.join(TOPIC);
    return view;
  },
  npm(page) {
    const { Recovery, reconnectAfterMs, rejoinAfterMs } = page.RecoveryApp;
    const options = { transport: page.WebSocket, sessionStorage: page.sessionStorage, reconnectAfterMs, rejoinAfterMs };
    const socket = new page.Phoenix.Socket("ws://test/ledger", options);
    const view = new Recovery("ledger", { owner });
    view.channel(socket, TOPIC).join();
    socket.connect();
    return view;
  },
};

/** One page: a global object with a clock, recovery.js and, if used, the npm client. */
class Page extends EventTarget {
  document = { visibilityState: "visible" };
  isAlive = true;
  now = 0;
  timers = new Set();

  constructor(number, way, sessionStorage) {
    super();
    this.number = number;
    this.way = way;
    this.sessionStorage = sessionStorage;
    const page = this;
    this.WebSocket = class extends FakeSocket {
      constructor() {
        super(page);
      }
    };
    const outside = {
      globalThis: this,
      setTimeout: (callback, ms = 0) => {
        const timer = { callback, at: this.now + ms };
        this.timers.add(timer);
        return timer;
      },
      clearTimeout: (timer) => this.timers.delete(timer),
      performance: { now: () => this.now },
    };
    const load = (text, names) => compileFunction(text, Object.keys(names))(...Object.values(names));
    load(RECOVERY, outside);
    const module = { exports: {} };
    if (way === "npm") load(PHOENIX, { ...outside, module });
    this.Phoenix = module.exports;
    this.view = WAYS[way](this);
    for (const type of ["outcome", "lost", "reply"]) {
      this.view.addEventListener(type, ({ detail }) => this.note(type, detail));
    }
    for (const type of ["told", "missed"]) this.view.on(type, (detail) => this.note(type, detail));
  }

  note(type, detail) {
    if (this.isAlive) effects.push(["note", this.number, type, detail]);
  }

  push(event, payload) {
    this.view.push(event, payload).then(
      (response) => this.note("settled", { id: payload.id, status: "ok", response }),
      ({ name, reason, response }) => {
        if (name === "EventRefused") this.note("settled", { id: payload.id, status: "error", response });
        else this.note("given_up", { id: payload.id, name, reason });
      },
    );
  }

  /** Fire the next timer. */
  tick() {
    const [timer] = [...this.timers].sort((a, b) => a.at - b.at);
    if (timer === undefined) return;
    this.timers.delete(timer);
    this.now = Math.max(this.now, timer.at);
    timer.callback();
  }

  /** Unload the page: the browser closes its connections and stops its scripts. */
  leave() {
    this.dispatchEvent(new Event("pagehide"));
    this.isAlive = false;
    this.timers.clear();
    for (const socket of sockets.values()) {
      if (socket.page !== this || socket.readyState >= 2) continue;
      socket.readyState = 3;
      effects.push(["hang_up", socket.number, 1001]);
    }
  }
}

const COMMANDS = {
  reset() {
    [pages, sockets, seed] = [new Map(), new Map(), 1];
  },
  open: (page, way) => void pages.set(page, new Page(page, way, new FakeStorage())),
  reload(page, next) {
    const { way, sessionStorage } = pages.get(page);
    pages.get(page).leave();
    pages.set(next, new Page(next, way, sessionStorage));
  },
  duplicate(page, copy) {
    const { way, sessionStorage } = pages.get(page);
    pages.set(copy, new Page(copy, way, new FakeStorage(sessionStorage.items)));
  },
  push: (page, event, ids) => ids.forEach((id) => pages.get(page).push(event, { id })),
  tick: (page) => pages.get(page).tick(),
  opened: (socket) => sockets.get(socket).opened(),
  heard: (socket, texts) => texts.forEach((text) => sockets.get(socket).heard(text)),
  closed: (socket) => sockets.get(socket).closed(),
  look: (page) => effects.push(["storage", page, Object.fromEntries(pages.get(page).sessionStorage.items)]),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = JSON.parse(line);
  COMMANDS[command](...words);
  // let promises settle first
  await new Promise((resolve) => setImmediate(resolve));
  process.stdout.write(`${JSON.stringify(effects)}\n`);
  effects = [];
}
