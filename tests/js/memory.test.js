/** Pages whose memory goes back in time, and pages that wait for a state: with either transport. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeBrowser, FakeClock, FakeStorage, dispatched, record } from "./support/browser.js";
import { immediate, KEY, onEachTransport, Page, until } from "./support/pages.js";

const named = (name, reason) => (error) => error.name === name && (reason === undefined || error.reason === reason);
const items = (server) => server.of("add").map(({ payload }) => payload.item);

/** Return another page of the same tab, which runs while the first sleeps in the back/forward cache. */
function navigate(page) {
  page.goOffline();
  return new Page(page.t, page.server, page.way, { ...page.options, tab: page.tab.reload() });
}

/** Show the first page again, as the browser does with one from the back/forward cache. */
async function goBack(page, other) {
  other.goOffline();
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  return page.back();
}

// ---------------------------------------------------------------------------------------------- The back/forward cache

onEachTransport(test, "a page from the back/forward cache continues what the page after it has done", async (page) => {
  await page.joined();
  await page.add("a")[0];
  const other = navigate(page);
  await other.joined();
  await other.add("b")[0];
  const { outcome, response } = await goBack(page, other);
  assert.deepEqual([outcome, response.state], ["recovered", ["a", "b"]]);
  assert.deepEqual((await page.add("c")[0]).state, ["a", "b", "c"]);
});

onEachTransport(test, "an event that the page after it delivered is settled with its reply, also on the page before", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  const numbered = page.view.push("add", { item: "a" });
  await server.next("add");
  page.goOffline();
  server.isSlow = false;
  const [unnumbered, refused] = [page.view.push("add", { item: "b" }), page.view.push("refuse")];
  const lost = record(page.view, "lost");
  const other = navigate(page);
  await other.joined();
  assert.deepEqual((await other.add("c")[0]).state, ["a", "b", "c"]);
  await goBack(page, other);
  assert.deepEqual((await unnumbered).state, ["a", "b"]);
  await numbered;
  await assert.rejects(refused, named("EventRefused"));
  assert.deepEqual((await page.add("d")[0]).state, ["a", "b", "c", "d"]);
  assert.deepEqual([lost, page.view.pending, page.stored], [[], [], []]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "events that the page after it left behind are sent by the page before, and told as replies", async (page, server) => {
  await page.joined();
  const other = navigate(page);
  await other.joined();
  other.goOffline();
  other.add("b");
  const replies = record(page.view, "reply");
  await goBack(page, other);
  assert.deepEqual((await page.add("c")[0]).state, ["b", "c"]);
  assert.deepEqual(replies.map(([, { payload }]) => payload.item), ["b"]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "an event that was lost on the page after it is lost on the page before", async (page, server) => {
  await page.joined();
  page.goOffline();
  const lost = page.view.push("add", { item: "a" });
  const other = navigate(page);
  server.outcomes.push("expired");
  await other.joined();
  await goBack(page, other);
  await assert.rejects(lost, named("EventLost", "expired"));
  assert.deepEqual((await page.add("b")[0]).state, ["b"]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "a page from the back/forward cache forgets what was forgotten meanwhile", async (page, server) => {
  await page.joined();
  page.goOffline();
  const forgotten = page.view.push("add", { item: "a" });
  const other = navigate(page);
  other.view.forget();
  await goBack(page, other);
  await assert.rejects(forgotten, named("EventLost", "forgotten"));
  assert.deepEqual([server.joins.at(-1)._recovery, items(server)], [undefined, []]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "what a page has pushed for nobody is sent by itself, though no page of the tab may store it", async (page, server) => {
  server.owner = undefined;
  await page.joined();
  const other = navigate(page);
  const own = page.view.push("add", { item: "a" });
  await other.joined();
  await goBack(page, other);
  assert.deepEqual((await own).state, ["a"]);
});

onEachTransport(test, "events of a page that didn't join again are sent by the page before, after its own", async (page) => {
  await page.joined();
  const other = navigate(page);
  await other.joined();
  await goBack(page, other);
  page.goOffline();
  const own = page.view.push("add", { item: "a" });
  other.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  other.add("b");
  assert.equal((await goBack(page, other)).outcome, "recovered");
  assert.deepEqual((await own).state, ["a"]);
  assert.deepEqual((await page.add("c")[0]).state, ["a", "b", "c"]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "a page that is connected joins again for the events that another page has left", async (page, server) => {
  await page.joined();
  const others = JSON.stringify([{ id: "x", event: "add", payload: { item: "b" }, seq: null, line: null, owner: "ann" }]);
  page.tab.sessionStorage.setItem(`${KEY}:events`, others);
  const outcome = dispatched(page.view, "outcome");
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await outcome;
  assert.deepEqual((await page.add("c")[0]).state, ["b", "c"]);
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await page.add("d")[0];
  assert.equal(server.joins.length, 2);
}, () => ({ owner: "ann" }));

onEachTransport(test, "what is pushed on a page that comes back to another state is sent", async (page, server) => {
  await page.joined();
  await Promise.all(page.add("a", "b", "c"));
  const other = navigate(page);
  server.outcomes.push("expired");
  await other.joined();
  await other.add("d")[0];
  other.goOffline();
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  const [pushed] = page.add("e");
  assert.equal((await page.back()).outcome, "recovered");
  assert.deepEqual((await pushed).state, ["d", "e"]);
}, () => ({ owner: "ann" }));

test("Firefox, whose cache would keep an old storage with the page, doesn't keep it while a view needs the storage", async () => {
  const open = (page) => {
    const locks = [];
    const request = (name, { mode }, hold) => Promise.resolve(locks.push([name, mode, hold()]));
    return { locks, app: new FakeBrowser().open({ navigator: { locks: { request } }, ...page }).app };
  };
  const others = open({});
  new others.app.Recovery("form");
  const firefox = open({ mozInnerScreenX: 0 });
  new firefox.app.Recovery("memory", { storage: "none" });
  assert.deepEqual([others.locks, firefox.locks], [[], []]);
  const view = new firefox.app.Recovery("form");
  const [[name, mode, held]] = firefox.locks;
  assert.deepEqual([name, mode], ["lv_recovery:storage", "shared"]);
  let isReleased = false;
  held.then(() => (isReleased = true));
  await immediate();
  assert.equal(isReleased, false);
  view.close();
  await held;
  new (open({ mozInnerScreenX: 0, navigator: {} }).app.Recovery)("over plain HTTP");
});

test("a page that can't store its token keeps it through the back/forward cache", () => {
  const tab = new FakeBrowser().open();
  const view = new tab.app.Recovery("form", { storage: "none" });
  view.keep({ token: "t1" });
  tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(view.token, "t1");
});

test("a page whose storage is full keeps its own token through the back/forward cache, and not the older one that is stored", () => {
  const tab = new FakeBrowser().open();
  const view = new tab.app.Recovery("form");
  view.keep({ token: "t1" });
  tab.sessionStorage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  view.keep({ token: "t2" });
  tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(view.token, "t2");
  tab.sessionStorage.items.set(KEY, "t3");
  tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.equal(view.token, "t3");
});

test("a page that was prerendered takes the token when it is shown", () => {
  const tab = new FakeBrowser().open();
  tab.document = Object.assign(new EventTarget(), { visibilityState: "hidden", prerendering: true });
  const view = new tab.app.Recovery("form");
  tab.sessionStorage.setItem(KEY, "t2");
  tab.document.dispatchEvent(new Event("prerenderingchange"));
  assert.equal(view.token, "t2");
});

test("a socket of a page that is being prerendered connects when it is shown", async () => {
  const tab = new FakeBrowser().open();
  tab.document = Object.assign(new EventTarget(), { visibilityState: "hidden", prerendering: true });
  const urls = [];
  tab.WebSocket = class {
    constructor(url) {
      urls.push(url);
    }
    close() {}
  };
  const socket = new tab.app.RecoverySocket("wss://app.test/s", { viewId: "form" });
  socket.join("form:1");
  await immediate();
  assert.deepEqual(urls, []);
  tab.document.prerendering = false;
  tab.document.dispatchEvent(new Event("prerenderingchange"));
  await until(() => urls.length === 1);
  socket.disconnect();
});

// ---------------------------------------------------------------------------------------------- Copies

onEachTransport(test, "after copied, events that the copy is known to contain are settled, and all others are lost", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  const applied = page.view.push("add", { item: "a" });
  const refused = page.view.push("refuse");
  await server.next("refuse");
  page.goOffline();
  server.isSlow = false;
  const unsent = page.view.push("add", { item: "b" });
  server.outcomes.push("copied");
  const { outcome, response } = await page.back();
  assert.deepEqual([outcome, response.state], ["copied", ["a"]]);
  assert.deepEqual(await applied, {});
  await assert.rejects(refused, named("EventRefused"));
  await assert.rejects(unsent, named("EventLost", "copied"));
  assert.deepEqual((await page.add("c")[0]).state, ["a", "c"]);
  assert.equal(server.of("add").at(-1).payload._seq, 1);
});

onEachTransport(test, "a number of another line in a copy isn't taken for one's own", async (page, server) => {
  await page.joined();
  const other = page.duplicate();
  page.goOffline();
  const own = page.view.push("add", { item: "a" });
  await other.joined();
  await other.add("b")[0];
  server.outcomes.push("copied");
  assert.deepEqual((await page.back()).response.state, ["b"]);
  await assert.rejects(own, named("EventLost", "copied"));
});

onEachTransport(test, "what was pushed before the join of a tab that was duplicated then is applied once", async (page, server) => {
  await page.joined();
  const early = page.reload();
  early.add("a");
  const duplicate = early.duplicate();
  await early.joined();
  await early.add("b")[0];
  const lost = record(duplicate.view, "lost");
  server.outcomes.push("copied");
  await duplicate.joined();
  assert.deepEqual((await duplicate.add("c")[0]).state, ["a", "b", "c"]);
  assert.deepEqual(lost.map(([, { reason, events }]) => [reason, events.length]), [["copied", 1]]);
}, () => ({ owner: "ann" }));

// ---------------------------------------------------------------------------------------------- Lines

onEachTransport(test, "a number that another page has used for its own event isn't a reply to this page's", async (page, server) => {
  await page.joined();
  await page.add("a")[0];
  server.overlooked = 2;
  const [first, second] = page.add("b", "c");
  await until(() => items(server).length === 3);
  page.goOffline();
  const unnumbered = page.view.push("add", { item: "d" });
  // another tab with the same token, and without this one's events
  const tab = page.tab.browser.open();
  tab.sessionStorage.setItem(KEY, page.view.token);
  const other = new Page(page.t, server, page.way, { ...page.options, tab });
  await other.joined();
  assert.deepEqual((await other.add("x")[0]).state, ["a", "x"]);
  await page.back();
  await assert.rejects(first, named("EventLost", "superseded"));
  await assert.rejects(second, named("EventLost", "superseded"));
  assert.deepEqual((await unnumbered).state, ["a", "x", "d"]);
});

onEachTransport(test, "a server that knows no lines is sent none", async (page, server) => {
  server.knowsLines = false;
  await page.joined();
  await page.add("a")[0];
  assert.deepEqual(server.of("add")[0].payload, { item: "a", _seq: 1, _ack: 0 });
});

// ---------------------------------------------------------------------------------------------- Waiting for the state

test("a page waits for its state for a minute, and then works on a fresh one", async () => {
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const view = new tab.app.Recovery("form");
  const sent = [];
  let rejoins = 0;
  view.carry({ send: (event, payload) => sent.push(payload) > 0, rejoin: () => void rejoins++ });
  const join = (outcome) => {
    view.joinPayload();
    view.joined({ _recovery: { token: outcome === "new" ? "t1" : null, outcome, ttl: 300, seq: 0, owner: "ann" } });
  };
  join("new");
  view.dropped();
  const waiting = record(view, "outcome");
  const [kept, lost] = [view.push("add"), dispatched(view, "lost")];
  join("unavailable");
  for (let tried = 0; waiting.at(-1)[1].isWaiting; join("unavailable")) {
    assert.deepEqual(sent, []);
    for (let ms = 0; rejoins === tried && ms < 10_001; ms += 100) clock.tick(100);
    tried = rejoins;
  }
  assert.ok(clock.performance.now() >= 60_000 && clock.performance.now() < 60_200);
  assert.equal((await lost).reason, "unavailable");
  await assert.rejects(kept, named("EventLost"));
  view.push("add", { item: "b" });
  assert.equal(sent.length, 1);
  clock.tick(9_000);
  // it doesn't wait again in the same outage
  view.dropped();
  join("unavailable");
  assert.equal(waiting.at(-1)[1].isWaiting, false);
  assert.equal(view.token, "t1");
  join("recovered");
  view.dropped();
  join("unavailable");
  assert.equal(waiting.at(-1)[1].isWaiting, true, "it is another outage");
});

onEachTransport(test, "after failed the page works at once, keeps its token, and its events are lost", async (page, server) => {
  await page.joined();
  const token = page.view.token;
  page.goOffline();
  const lost = page.view.push("add", { item: "a" });
  server.outcomes.push("failed");
  await page.back();
  await assert.rejects(lost, named("EventLost", "failed"));
  assert.deepEqual((await page.add("b")[0]).state, ["b"]);
  assert.equal(page.view.token, token);
});

// ---------------------------------------------------------------------------------------------- What can't be delivered

onEachTransport(test, "an event over which the connection is cut three times is given up, and those after it go on", async (page, server) => {
  await page.joined();
  const lost = record(page.view, "lost");
  const replies = [...page.add("a"), page.view.push("kill"), ...page.add("b", "c")];
  await assert.rejects(replies[1], named("EventLost", "undeliverable"));
  assert.deepEqual((await replies[3]).state, ["a", "b", "c"]);
  assert.equal(server.of("kill").length, 3);
  assert.deepEqual(lost.map(([, { reason, events }]) => [reason, events.length]), [["undeliverable", 1]]);
});

onEachTransport(test, "the count of cuts outlives a reload, and a suspect is sent alone", async (page, server) => {
  await page.joined();
  page.view.push("kill");
  page.add("a");
  await until(() => page.stored[0]?.cuts === 2);
  const reloaded = page.reload();
  server.frames.length = 0;
  const reply = dispatched(reloaded.view, "reply");
  await reloaded.joined();
  assert.deepEqual((await reply).response.state, ["a"]);
  assert.deepEqual(server.frames.map(({ event }) => event).filter((event) => event !== "phx_join" && event !== "phx_leave"), ["kill", "add"]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "a server that stops three times is no reason to give an event up", async (page, server) => {
  await page.joined();
  server.overlooked = 5;
  const [reply] = page.add("a");
  for (let round = 1; round <= 5; round++) {
    await until(() => items(server).length === round);
    const outcome = dispatched(page.view, "outcome");
    for (const connection of server.sockets.clients) connection.close(1012);
    await outcome;
  }
  assert.deepEqual((await reply).state, ["a"]);
});

onEachTransport(test, "an event over which the server closes the connection again and again is given up, whatever the code", async (page, server) => {
  await page.joined();
  const shut = page.view.push("shut", { code: 1012 });
  const [behind] = page.add("a");
  await assert.rejects(shut, named("EventLost", "undeliverable"));
  assert.deepEqual((await behind).state, ["a"]);
  assert.ok(server.of("shut").length > 5, String(server.of("shut").length));
});

onEachTransport(test, "a page that disconnects again and again gives no event up", async (page, server) => {
  await page.joined();
  server.overlooked = 8;
  const [reply] = page.add("a");
  for (let round = 1; round <= 8; round++) {
    await until(() => items(server).length === round);
    page.goOffline();
    await page.back();
  }
  assert.deepEqual((await reply).state, ["a"]);
});

onEachTransport(test, "a line that is cut all the time, before it has held, blocks no event and is no reason to give it up", async (page, server) => {
  await page.joined();
  const [reply] = page.add("a");
  server.overlooked = 4;
  server.cut();
  for (let round = 1; round <= 6; round++) {
    await dispatched(page.view, "outcome");
    await immediate();
    if (round === 6) server.overlooked = 0;
    server.cut();
  }
  assert.deepEqual((await reply).state, ["a"]);
});

// ---------------------------------------------------------------------------------------------- Many events

test("a long queue is stored together, and when the page is left", () => {
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const view = new tab.app.Recovery("form", { owner: "ann" });
  let writes = 0;
  const plain = FakeStorage.prototype.setItem;
  tab.sessionStorage.setItem = function (...item) {
    writes += 1;
    plain.apply(this, item);
  };
  const stored = () => JSON.parse(tab.sessionStorage.getItem(`${KEY}:events`)).length;
  for (let count = 0; count < 1_000; count++) view.push("add", { count });
  assert.ok(writes < 100, String(writes));
  tab.dispatchEvent(new Event("pagehide"));
  assert.equal(stored(), 1_000);
  view.push("add");
  clock.tick(250);
  assert.equal(stored(), 1_001 - 1); // the queue is full
  const sent = [];
  view.carry({ send: (event, payload, onReply) => sent.push([payload, onReply]) > 0, rejoin: () => {} });
  view.joinPayload();
  view.joined({ _recovery: { token: "t1", outcome: "new", ttl: 300, seq: 0, owner: "ann" } });
  writes = 0;
  while (sent.length > 0) {
    const [{ _seq }, onReply] = sent.shift();
    onReply({ status: "ok", response: { _recovery: { seq: _seq } } });
  }
  assert.ok(writes < 100, String(writes));
  assert.deepEqual([view.pending.length, tab.sessionStorage.getItem(`${KEY}:events`)], [0, null]);
});

/** How a page is disturbed while it sends a long queue. Each returns the page that goes on. */
const DISTURBED = {
  "is cut": (page) => page.cut().then(() => page),
  "is reloaded, as after a crash": async (page) => {
    const reloaded = page.reload();
    await reloaded.joined();
    return reloaded;
  },
  "goes to another page and comes back": async (page, server) => {
    const other = navigate(page);
    await other.joined();
    await until(() => items(server).length > 120);
    await goBack(page, other);
    return page;
  },
};

for (const [what, disturb] of Object.entries(DISTURBED)) {
  onEachTransport(test, `each of many events is applied once and in order, though the page ${what} meanwhile`, async (page, server) => {
    await page.joined();
    page.goOffline();
    const pushed = Array.from({ length: 200 }, (_, place) => place);
    for (const reply of page.add(...pushed)) reply.catch(() => {});
    await page.back();
    await until(() => items(server).length > 60);
    const next = await disturb(page, server);
    assert.deepEqual((await next.add("end")[0]).state, [...pushed, "end"]);
  }, () => ({ owner: "ann", timeoutMs: 3_600_000 }));
}

test("events of an earlier page come before this page's by their numbers, also those of another name of the person's", () => {
  const stored = (id, seq, owner) => ({ id, event: "add", payload: { item: id }, seq, line: "l", isEarly: false, isAnswered: false, cuts: 0, owner });
  const tab = new FakeBrowser().open();
  const view = new tab.app.Recovery("form", { owner: "ann" });
  const sent = [];
  view.carry({ send: (event, { item, _seq }) => sent.push([item, _seq]) > 0, rejoin: () => {} });
  const join = (seq, aliases) => {
    view.joinPayload();
    view.joined({ _recovery: { token: "t1", outcome: "recovered", ttl: 300, seq, owner: "ann", aliases, lines: [] } });
  };
  join(0);
  view.push("add", { item: "a" });
  view.push("add", { item: "b" });
  view.dropped(4000);
  const others = [...JSON.parse(tab.sessionStorage.getItem(`${KEY}:events`)), stored("c", 3, "nobody")];
  tab.sessionStorage.setItem(`${KEY}:events`, JSON.stringify(others));
  tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  sent.length = 0;
  join(0, ["nobody"]);
  assert.deepEqual(sent, [["a", 1], ["b", 2], ["c", 3]]);
});
