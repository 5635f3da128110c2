/** A page with a view, with either of the two transports: the same tests run with both. */
import assert from "node:assert/strict";
import { Socket } from "phoenix";
import { FakeBrowser, FakeStorage, dispatched } from "./browser.js";
import { TIMEOUT_MS, TestServer } from "./server.js";

export const SOON = { reconnectAfterMs: () => 5, rejoinAfterMs: () => 5 };
export const KEY = "lv_recovery_form";

const OPENERS = {
  "its own socket": (t, server, tab, { clock, tries, ...options }) => {
    const view = new tab.app.RecoverySocket(`${server.origin}/ws/form/`, { viewId: "form", ...SOON, ...options });
    t.after(() => view.disconnect());
    return { view, join: () => view.join("form:1"), goOffline: () => view.disconnect(), goOnline: () => view.connect() };
  },
  "the npm client": (t, server, tab, { clock, tries, ...options }) => {
    const socket = new Socket(`${server.origin}/socket`, { transport: tab.WebSocket, timeout: TIMEOUT_MS, ...SOON });
    const view = new tab.app.Recovery("form", { ...SOON, ...options });
    const channel = view.channel(socket, "form:1");
    socket.connect();
    t.after(() => socket.disconnect());
    const goOnline = () => until(() => !socket.conn).then(() => socket.connect());
    return { view, socket, channel, join: () => channel.join(), goOffline: () => socket.disconnect(), goOnline };
  },
};

/** One tab with one view: `open` it, `join`, go offline and online, `reload`. */
export class Page {
  constructor(t, server, way, { tab = new FakeBrowser().open(), ...options } = {}) {
    Object.assign(this, { t, server, way, tab, options }, OPENERS[way](t, server, tab, options));
  }

  /** Join, and return the detail of the outcome. */
  async joined() {
    const outcome = dispatched(this.view, "outcome");
    this.join();
    return outcome;
  }

  /** Cut the connection and wait for the next join. */
  async cut() {
    const outcome = dispatched(this.view, "outcome");
    this.server.cut();
    return outcome;
  }

  /** Reconnect after `goOffline`. */
  async back() {
    const outcome = dispatched(this.view, "outcome");
    this.goOnline();
    return outcome;
  }

  add(...items) {
    return items.map((item) => this.view.push("add", { item }));
  }

  /** Return the page after a reload, not joined yet; the previous page can't change its storage any more. */
  reload() {
    const tab = this.tab.reload();
    this.tab.sessionStorage = new FakeStorage();
    this.goOffline();
    return new Page(this.t, this.server, this.way, { ...this.options, tab });
  }

  /** Return a page with the next view of this name, on the same page of the browser. */
  next() {
    return new Page(this.t, this.server, this.way, { ...this.options, tab: this.tab });
  }

  duplicate() {
    return new Page(this.t, this.server, this.way, { ...this.options, tab: this.tab.duplicate() });
  }

  /** The view's events in the tab's storage. */
  get stored() {
    return JSON.parse(this.tab.sessionStorage.getItem(`${KEY}:events`) ?? "[]");
  }
}

/** Events are never resent by the timer, so that no test passes only because of it. */
const NO_RESENDS = { timeoutMs: 3_600_000 };

/** Run a test with each transport, with a server and a page that has not joined yet. */
export function onEachTransport(test, name, run, options = () => NO_RESENDS) {
  // At the same time, as pages wait for real clocks: each has a server and a browser of its own.
  test(name, { concurrency: true }, (t) => {
    const ways = Object.keys(OPENERS).map((way) =>
      t.test(way, async (t) => {
        const server = await TestServer.start(t);
        await run(new Page(t, server, way, options()), server, t);
      }),
    );
    return Promise.all(ways);
  });
}

/** Wait until everything that is ready has run. */
export const immediate = () => new Promise((resolve) => setImmediate(resolve));

/** Wait for a condition that no event reports. */
export async function until(condition) {
  const end = Date.now() + TIMEOUT_MS;
  while (!condition()) {
    assert.ok(Date.now() < end, `still not: ${condition}`);
    await immediate();
  }
}
