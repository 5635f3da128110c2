/** How a page pushes: with a limit to its patience, volatile, and with a view that another one takes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { record, dispatched } from "./support/browser.js";
import { Page, onEachTransport, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

const lostAs = (name, reason) => (error) => error.name === name && error.reason === reason && error.event === "add";
const items = (server) => server.of("add").map(({ payload }) => payload.item);

// ---------------------------------------------------------------------------------------------- Patience

onEachTransport(test, "an event for which the page no longer waits is withdrawn, if it has no number yet", async (page, server) => {
  await page.joined();
  page.goOffline();
  const lost = record(page.view, "lost");
  const controller = new AbortController();
  const aborted = page.view.push("add", { item: "aborted" }, { signal: controller.signal });
  const late = page.view.push("add", { item: "late" }, { timeoutMs: 1 });
  const kept = page.view.push("add", { item: "kept" }, { timeoutMs: 60_000 });
  controller.abort();
  await assert.rejects(aborted, lostAs("EventLost", "withdrawn"));
  await assert.rejects(late, lostAs("EventLost", "withdrawn"));
  assert.deepEqual(page.view.pending, [{ event: "add", payload: { item: "kept" } }]);
  assert.deepEqual(page.stored.map(({ payload }) => payload.item), ["kept"]);
  await page.back();
  assert.deepEqual((await kept).state, ["kept"]);
  assert.deepEqual([items(server), lost], [["kept"], []]);
});

onEachTransport(test, "an event that is on its way is delivered, and its response is told by `reply`", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  const [lost, replies] = [record(page.view, "lost"), record(page.view, "reply")];
  const controller = new AbortController();
  const pushed = page.view.push("add", { item: "a" }, { signal: controller.signal });
  await server.next("add");
  controller.abort();
  await assert.rejects(pushed, lostAs("EventUnconfirmed", "in_flight"));
  assert.equal(page.view.pending.length, 1);
  server.release();
  await until(() => replies.length === 1);
  assert.deepEqual(replies[0][1], { event: "add", payload: { item: "a" }, status: "ok", response: { state: ["a"] } });
  assert.deepEqual([items(server), page.view.pending, lost], [["a"], [], []]);
});

onEachTransport(test, "an event whose signal was aborted before is never sent", async (page, server) => {
  await page.joined();
  const pushed = page.view.push("add", { item: "a" }, { signal: AbortSignal.abort() });
  await assert.rejects(pushed, lostAs("EventLost", "withdrawn"));
  await page.add("b")[0];
  assert.deepEqual(items(server), ["b"]);
});

onEachTransport(test, "a signal that is aborted after the response changes nothing, and isn't listened to any more", async (page) => {
  await page.joined();
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const counted = {
    aborted: false,
    addEventListener: (...what) => (listeners++, signal.addEventListener(...what)),
    removeEventListener: (...what) => (listeners--, signal.removeEventListener(...what)),
  };
  assert.deepEqual((await page.view.push("add", { item: "a" }, { signal: counted })).state, ["a"]);
  controller.abort();
  assert.equal(listeners, 0);
});

for (const [what, options] of [
  ["a time that is no number", { timeoutMs: "soon" }],
  ["no time at all", { timeoutMs: 0 }],
  ["a controller in place of its signal", { signal: new AbortController() }],
]) {
  onEachTransport(test, `${what} is a mistake that the page is told`, async (page) => {
    await assert.rejects(page.view.push("add", {}, options), TypeError);
    assert.deepEqual(page.view.pending, []);
  });
}

// ---------------------------------------------------------------------------------------------- Volatile

onEachTransport(test, "a volatile event is sent now, without a number, or not at all", async (page, server) => {
  assert.equal(page.view.pushVolatile("add", { item: "before the join" }), false);
  await page.joined();
  await page.add("a")[0];
  assert.equal(page.view.pushVolatile("add", { item: "moved", _seq: 2, _ack: 9, _line: "x", _recv: 9 }), true);
  await page.add("b")[0];
  page.goOffline();
  assert.equal(page.view.pushVolatile("add", { item: "offline" }), false);
  assert.deepEqual([page.view.pending, page.stored], [[], []]);
  await page.back();
  await page.add("c")[0];
  assert.deepEqual(items(server), ["a", "moved", "b", "c"]);
  assert.deepEqual(server.of("add").map(({ payload }) => payload._seq), [1, undefined, 2, 3]);
  assert.deepEqual(server.of("add")[1].payload, { item: "moved" });
});

onEachTransport(test, "a volatile event that no server accepts is a mistake at once", async (page) => {
  assert.throws(() => page.view.pushVolatile("phx_leave"), TypeError);
  assert.throws(() => page.view.pushVolatile("move", [1, 2]), TypeError);
});

test("a volatile event isn't sent while the line is busy", async (t) => {
  const server = await TestServer.start(t);
  const page = new Page(t, server, "its own socket");
  await page.joined();
  let bufferedAmount = 1_000;
  Object.defineProperty(page.tab.WebSocket.prototype, "bufferedAmount", { get: () => bufferedAmount, configurable: true });
  t.after(() => delete page.tab.WebSocket.prototype.bufferedAmount);
  assert.equal(page.view.pushVolatile("add", { item: "a" }), false);
  bufferedAmount = 0;
  assert.equal(page.view.pushVolatile("add", { item: "b" }), true);
  await until(() => server.of("add").length === 1);
  assert.deepEqual(items(server), ["b"]);
});

// ---------------------------------------------------------------------------------------------- Two of one view

onEachTransport(test, "of two with one view, the later has its state and its events, and each is applied once", async (page, server, t) => {
  const warnings = [];
  page.tab.console.warn = (text) => warnings.push(text);
  await page.joined();
  await page.add("a")[0];
  page.goOffline();
  const kept = page.view.push("add", { item: "kept" });
  const refused = dispatched(page.view, "refused");
  const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  await assert.rejects(kept, lostAs("EventUnconfirmed", "closed"));
  assert.deepEqual(await refused, { reason: "replaced" });
  await assert.rejects(page.view.push("add", { item: "late" }), lostAs("EventLost", "left"));
  const told = dispatched(next.view, "reply");
  assert.equal((await next.joined()).outcome, "recovered");
  await told;
  await next.add("b")[0];
  assert.deepEqual(items(server), ["a", "kept", "b"]);
  assert.equal(warnings.length, 1);
});

onEachTransport(test, "what has given way shows no token and keeps none", async (page, server, t) => {
  page.tab.console.warn = () => {};
  await page.joined();
  const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  await next.joined();
  const { token } = next.view;
  assert.equal("_recovery" in page.view.joinPayload(), false);
  page.view.keep({ token: "another" });
  assert.equal(next.view.token, token);
});

onEachTransport(test, "a view that was closed makes room for the next without a word", async (page, server, t) => {
  page.tab.console.warn = (text) => assert.fail(text);
  await page.joined();
  page.view.close();
  const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  assert.equal((await next.joined()).outcome, "recovered");
});

onEachTransport(test, "what was pushed before any join goes to the page's next of the view, and is told by `reply`", async (page, server, t) => {
  const early = page.view.push("add", { item: "early" });
  page.view.close();
  await assert.rejects(early, lostAs("EventUnconfirmed", "closed"));
  assert.deepEqual(page.stored, []);
  const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  const told = dispatched(next.view, "reply");
  const late = next.view.push("add", { item: "late" });
  await next.joined();
  assert.deepEqual((await told).payload, { item: "early" });
  await late;
  assert.deepEqual(items(server), ["early", "late"]);
  const third = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  assert.deepEqual(third.view.pending, []);
});

onEachTransport(test, "what was pushed before any join isn't left to a page that comes back from the back/forward cache", async (page, server, t) => {
  page.view.push("add", { item: "early" });
  page.view.close();
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
  await next.joined();
  await next.add("late")[0];
  assert.deepEqual(items(server), ["late"]);
});

onEachTransport(
  test,
  "without a storage, too, a closed view leaves its events to the next",
  async (page, server, t) => {
    await page.joined();
    page.goOffline();
    page.view.push("add", { item: "kept" });
    page.view.close();
    const next = new Page(t, server, page.way, { ...page.options, tab: page.tab });
    const told = dispatched(next.view, "reply");
    assert.equal((await next.joined()).outcome, "recovered");
    assert.deepEqual((await told).response.state, ["kept"]);
  },
  () => ({ timeoutMs: 3_600_000, storage: "none" }),
);
