/** A page with a view, on either of the two ways that carry events: what holds for events holds on both. */
import assert from "node:assert/strict";
import { Socket } from "phoenix";
import { FakeBrowser, FakeStorage, told } from "./browser.js";
import { PATIENCE_MS, TestServer } from "./server.js";

export const SOON = { reconnectAfterMs: () => 5, rejoinAfterMs: () => 5 };
export const KEY = "lv_recovery_form";

const OPENERS = {
  "its own socket": (t, server, tab, options) => {
    const view = new tab.app.RecoverySocket(`${server.origin}/ws/form/`, { viewId: "form", ...SOON, ...options });
    t.after(() => view.disconnect());
    return { view, join: () => view.join("form:1"), goOffline: () => view.disconnect(), goOnline: () => view.connect() };
  },
  "the npm client": (t, server, tab, options) => {
    const socket = new Socket(`${server.origin}/socket`, { transport: tab.WebSocket, timeout: PATIENCE_MS, ...SOON });
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

  /** Join, and give what the page is told of it. */
  async joined() {
    const outcome = told(this.view, "outcome");
    this.join();
    return outcome;
  }

  /** Let the connection be lost and come back. */
  async cut() {
    const outcome = told(this.view, "outcome");
    this.server.cut();
    return outcome;
  }

  /** Come back after `goOffline`. */
  async back() {
    const outcome = told(this.view, "outcome");
    this.goOnline();
    return outcome;
  }

  add(...items) {
    return items.map((item) => this.view.push("add", { item }));
  }

  /** The page after a reload, not joined yet; the page before has no say any more. */
  reload() {
    const tab = this.tab.reload();
    this.tab.sessionStorage = new FakeStorage();
    this.goOffline();
    return new Page(this.t, this.server, this.way, { ...this.options, tab });
  }

  duplicate() {
    return new Page(this.t, this.server, this.way, { ...this.options, tab: this.tab.duplicate() });
  }

  /** What of the view's events is in the tab's storage. */
  get stored() {
    return JSON.parse(this.tab.sessionStorage.getItem(`${KEY}:events`) ?? "[]");
  }
}

/** No event is sent again because its reply takes long: a test that would pass by that alone fails. */
const PATIENT = { timeoutMs: 3_600_000 };

/** Run a test on each way, with a server and a page that has not joined yet. */
export function onEachWay(test, name, run, options = () => PATIENT) {
  for (const way of Object.keys(OPENERS)) {
    test(`${name} (${way})`, async (t) => {
      const server = await TestServer.start(t);
      await run(new Page(t, server, way, options()), server, t);
    });
  }
}

/** Let what is ready happen. */
export const immediate = () => new Promise((resolve) => setImmediate(resolve));

/** Wait for something that no event tells. */
export async function until(condition) {
  const end = Date.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(Date.now() < end, `still not: ${condition}`);
    await immediate();
  }
}
