/** Several topics on one socket. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dispatched, FakeBrowser, FakeClock, record } from "./support/browser.js";
import { SOON, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** Return a server, and a page's socket that has channels for these topics, not joined yet. */
async function open(t, { tab = new FakeBrowser().open(), topics = ["a", "b"], ...options } = {}) {
  const server = await TestServer.start(t);
  const socket = new tab.app.RecoverySocket(`${server.origin}/ws/`, { ...SOON, owner: "ann", ...options });
  t.after(() => socket.leave());
  return { server, tab, socket, views: topics.map((topic) => socket.channel(topic)) };
}

/** The same after their joins. */
async function joined(t, options) {
  const page = await open(t, options);
  await Promise.all(page.views.map((view) => view.join()));
  return page;
}

const bothRecovered = (views) => Promise.all(views.map((view) => dispatched(view, "outcome")));

test("channels share one connection, and each has its state, its token and its events", async (t) => {
  const { server, tab, views } = await joined(t);
  const [a, b] = views;
  assert.deepEqual(await Promise.all([a.push("add", { item: 1 }), b.push("add", { item: 2 })]), [{ state: [1] }, { state: [2] }]);
  const outcomes = bothRecovered(views);
  server.cut();
  assert.deepEqual((await outcomes).map(({ outcome, response }) => [outcome, response.state]), [["recovered", [1]], ["recovered", [2]]]);
  assert.equal(server.urls.length, 2);
  assert.deepEqual([...tab.sessionStorage.items.keys()].sort(), ["lv_recovery_/ws/ a", "lv_recovery_/ws/ b"]);
});

test("a channel hears only what is pushed on its topic", async (t) => {
  const { views: [a, b] } = await joined(t);
  const heard = [];
  a.on("heard", ({ event }) => heard.push(["a", event]));
  b.on("heard", ({ event }) => heard.push(["b", event]));
  await a.push("one");
  await b.push("two");
  assert.deepEqual(heard, [["a", "one"], ["b", "two"]]);
});

test("a channel may have options and params of its own, and else those of the socket", async (t) => {
  const { server, tab, socket } = await open(t, { storage: "none", topics: [] });
  await socket.channel("a", { id: 1 }).join();
  await socket.channel("b", async () => ({ id: 2 }), { viewId: "mine", storage: "sessionStorage" }).join();
  assert.deepEqual(server.joins, [{ id: 1 }, { id: 2 }]);
  assert.deepEqual([...tab.sessionStorage.items.keys()], ["lv_recovery_mine"]);
});

test("the socket's own topic is one of them", async (t) => {
  const { server, socket, views: [a] } = await open(t, { topics: ["a"] });
  await Promise.all([socket.join("own"), a.join()]);
  assert.deepEqual([await socket.push("add", { item: 1 }), await a.push("add", { item: 2 })], [{ state: [1] }, { state: [2] }]);
  assert.equal(server.urls.length, 1);
  assert.throws(() => socket.channel("own", {}, { viewId: "other" }).join(), /already joined own/);
});

test("a channel that is joined later uses the open connection, and join may be called again", async (t) => {
  const { server, socket, views: [a] } = await joined(t, { topics: ["a"] });
  const b = socket.channel("b");
  const promise = b.join();
  assert.equal(b.join(), promise);
  await promise;
  b.join();
  a.join();
  await b.push("add", { item: 1 });
  assert.deepEqual([server.urls.length, server.joins.length], [1, 2]);
});

test("the connection closes when the last channel has left, and opens for the next", async (t) => {
  const { server, socket, views: [a, b] } = await joined(t);
  const left = server.next("phx_leave");
  a.leave();
  assert.equal((await left).topic, "a");
  assert.deepEqual([a.status, b.status], ["disconnected", "connected"]);
  await b.push("add", { item: 1 });
  b.close();
  await until(() => server.sockets.clients.size === 0);
  await socket.channel("a").join();
  assert.equal(server.urls.length, 2);
});

test("close of one keeps its events for the next channel of the view, on the same connection", async (t) => {
  const { server, socket, views: [a, b] } = await joined(t);
  server.isSlow = true;
  const kept = a.push("add", { item: "kept" });
  await server.next("add");
  a.close();
  await assert.rejects(kept, { name: "EventUnconfirmed", reason: "closed" });
  server.release();
  const next = socket.channel("a");
  const reply = dispatched(next, "reply");
  assert.deepEqual((await next.join()).state, ["kept"]);
  assert.deepEqual((await reply).response.state, ["kept"]);
  await b.push("add", { item: 1 });
  assert.deepEqual([server.urls.length, server.of("phx_leave").length], [1, 1]);
});

for (const how of ["close", "leave"]) {
  test(`${how} of the socket ends all channels, and those made later`, async (t) => {
    const { server, socket, views } = await joined(t);
    const waiting = socket.channel("c");
    socket[how]();
    assert.deepEqual(views.map(({ status }) => status), ["disconnected", "disconnected"]);
    await assert.rejects(waiting.join(), /closed/);
    await until(() => server.sockets.clients.size === 0);
    assert.equal(server.urls.length, 1);
  });
}

test("disconnect and connect are for all", async (t) => {
  const { server, socket, views } = await joined(t);
  socket.disconnect();
  assert.deepEqual(views.map(({ status, connection }) => [status, connection.status]), Array(2).fill(["disconnected", "disconnected"]));
  const outcomes = bothRecovered(views);
  socket.connect();
  socket.connect();
  await outcomes;
  await views[0].push("add", { item: 1 });
  assert.deepEqual([server.urls.length, server.joins.length], [2, 4]);
});

// ---------------------------------------------------------------------------------------------- Trouble

test("a crash, a refused join and an end by the server are one channel's own", async (t) => {
  const { server, socket, views: [a, b] } = await joined(t);
  const notes = record(b, "status", "outcome", "refused");
  a.push("crash");
  await dispatched(a, "outcome");
  server.refusals = 2;
  a.push("crash");
  await dispatched(a, "refused");
  await dispatched(a, "outcome");
  a.push("close");
  await until(() => a.status === "disconnected");
  await b.push("add", { item: 1 });
  assert.deepEqual([notes, server.urls.length], [[], 1]);
  const outcome = dispatched(a, "outcome");
  socket.connect();
  assert.equal((await outcome).outcome, "recovered");
  assert.deepEqual([notes, server.urls.length], [[], 1]);
});

test("params that never come keep no other channel from joining", async (t) => {
  const { server, socket, views: [b] } = await open(t, { topics: ["b"] });
  socket.channel("a", () => new Promise(() => {})).join();
  await b.join();
  assert.equal(server.urls.length, 1);
});

test("a join that is never answered is tried again on the same connection while others work", async (t) => {
  const clock = new FakeClock();
  const { server, socket, views: [b] } = await joined(t, { tab: new FakeBrowser().open({ clock }), topics: ["b"] });
  server.isStopped = true;
  const a = socket.channel("a");
  const join = a.join();
  await until(() => server.joins.length === 2);
  server.isStopped = false;
  clock.tick(10_000);
  assert.deepEqual([a.status, b.status], ["disconnected", "connected"]);
  server.isStopped = true;
  clock.tick(5);
  await until(() => server.joins.length === 3);
  server.isStopped = false;
  clock.tick(19_999);
  assert.equal(a.status, "connecting");
  clock.tick(1);
  clock.tick(5);
  await join;
  await b.push("add", { item: 1 });
  assert.deepEqual([server.urls.length, server.of("phx_leave").map(({ topic }) => topic)], [1, ["a", "a"]]);
});

test("slow joins get more time with each try, all of them", async (t) => {
  const clock = new FakeClock();
  const { server, socket, views } = await open(t, { tab: new FakeBrowser().open({ clock }), topics: ["a", "b", "c"] });
  server.isStopped = true;
  for (const view of views) view.join();
  for (const [tries, ms] of [10_000, 20_000, 40_000].entries()) {
    await until(() => server.of("phx_join").length === 3 * (tries + 1));
    clock.tick(ms - 1);
    assert.deepEqual(views.map(({ status }) => status), ["connecting", "connecting", "connecting"]);
    clock.tick(1);
    clock.tick(5);
  }
  await until(() => server.urls.length === 4);
});

test("a view that waits for its state joins again on the same connection while another works", async (t) => {
  const { server, views: [a, b] } = await joined(t, { rejoinAfterMs: () => 1 });
  await Promise.all([a.push("add", { item: 1 }), b.push("add", { item: 2 })]);
  const notes = record(b, "status");
  server.outcomes.push("unavailable", "unavailable");
  a.push("crash");
  await until(() => a.outcome === "unavailable");
  await until(() => a.outcome === "recovered");
  assert.deepEqual([notes, server.urls.length], [[], 1]);
});

test("over a message's size, the view with the largest event gives it up, and the other none", async (t) => {
  const { server, views } = await joined(t);
  const [a, b] = views;
  server.overlooked = 1; // the state won't have it
  server.maxChars = 500;
  const small = b.push("add", { item: "small" });
  await server.next("add");
  const outcomes = bothRecovered(views);
  await assert.rejects(a.push("add", { item: "x".repeat(600) }), { name: "EventLost", reason: "too_large" });
  await outcomes;
  assert.deepEqual((await small).state, ["small"]);
  assert.equal(server.urls.length, 2);
});

for (const killer of [0, 1]) {
  test(`an event that ends the server is given up, and what the other view had sent isn't (joins as number ${killer + 1})`, async (t) => {
    const clock = new FakeClock();
    const { server, socket, views } = await joined(t, { tab: new FakeBrowser().open({ clock }) });
    const [bad, good] = [views[killer], views[1 - killer]];
    const lost = record(good, "lost");
    let reason = null;
    bad.push("kill").catch((error) => (reason = error.reason));
    const kept = good.push("add", { item: "kept" }); // at each cut this is behind it, and has no reply
    let isKept = false;
    kept.then(() => (isKept = true));
    await until(() => (clock.tick(5), lost.length > 0 || (reason && isKept)));
    assert.deepEqual([reason, lost], ["undeliverable", []]);
    assert.deepEqual((await kept).state, ["kept"]);
    assert.ok(server.urls.length <= 5, String(server.urls.length));

    // nobody is suspected any more, and a page that disconnects is no reason for that
    const third = socket.channel("c");
    await third.join();
    server.isSlow = true;
    const late = server.of("add").length;
    for (const view of [good, third]) view.push("add", { item: "late" }).catch(() => {});
    await until(() => server.of("add").length === late + 2);
    socket.disconnect();
    socket.connect();
    await until(() => server.of("add").length === late + 4);
  });
}

test("a refused handshake, and a code that refuses, are told to all", async (t) => {
  const { server, views } = await joined(t);
  const told = views.map((view) => dispatched(view, "refused"));
  for (const connection of server.sockets.clients) connection.close(4403);
  for (const { reason, code, tries } of await Promise.all(told)) assert.deepEqual([reason, code, tries], ["closed", 4403, 1]);
});
