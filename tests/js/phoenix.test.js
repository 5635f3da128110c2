/** The real npm `phoenix` client. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Socket } from "phoenix";
import { FakeBrowser, record, dispatched } from "./support/browser.js";
import { TIMEOUT_MS, TestServer } from "./support/server.js";

const SOON = { reconnectAfterMs: () => 5, rejoinAfterMs: () => 5 };

/** Connect an npm Socket with a recovered channel. */
function connect(t, server, tab = new FakeBrowser().open(), params = {}) {
  const socket = new Socket(`${server.origin}/socket`, { transport: tab.WebSocket, timeout: 1000, ...SOON });
  const recovery = new tab.app.Recovery("form", SOON);
  const channel = recovery.channel(socket, "lv:form", params);
  socket.connect();
  t.after(() => socket.disconnect());
  return { tab, socket, recovery, channel };
}

const received = (push) => new Promise((resolve, reject) => push.receive("ok", resolve).receive("error", reject));

test("the state is restored after a cut, with the token of the previous reply", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server, undefined, () => ({ id: 7 }));
  await received(channel.join());
  assert.equal(recovery.outcome, "new");
  await received(channel.push("add", { item: "a" }));

  server.cut();
  const { outcome, elapsedMs, response } = await dispatched(recovery, "outcome");
  assert.equal(outcome, "recovered");
  assert.ok(elapsedMs > 0 && elapsedMs < TIMEOUT_MS);
  assert.deepEqual(response.state, ["a"]);
  assert.deepEqual(server.joins, [{ id: 7 }, { id: 7, _recovery: "token-1" }]);
});

test("the page's own hook is called for each join, after Recovery has handled it", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  const seen = [];
  channel.join().receive("ok", () => seen.push([recovery.outcome, recovery.token]));
  await dispatched(recovery, "outcome");
  server.cut();
  await dispatched(recovery, "outcome");
  assert.deepEqual(seen, [["new", "token-1"], ["recovered", "token-2"]]);
});

test("of all views on a socket, only the one with the largest event gives it up", async (t) => {
  const server = await TestServer.start(t);
  const { tab, socket, recovery, channel } = connect(t, server);
  const other = new tab.app.Recovery("other", SOON);
  const otherChannel = other.channel(socket, "lv:other");
  await Promise.all([received(channel.join()), received(otherChannel.join())]);
  server.maxChars = 300;
  const lost = record(other, "lost");
  const large = recovery.push("add", { item: "x".repeat(400) });
  const small = other.push("add", { item: "small" });
  await assert.rejects(large, { name: "EventLost", reason: "too_large" });
  assert.deepEqual((await small).state, ["small"]);
  assert.deepEqual(lost, []);
});

test("the state is restored after a reload", async (t) => {
  const server = await TestServer.start(t);
  const first = connect(t, server);
  await received(first.channel.join());
  await received(first.channel.push("add", { item: "a" }));
  first.socket.disconnect();
  const { channel } = connect(t, server, first.tab.reload());
  assert.deepEqual((await received(channel.join())).state, ["a"]);
});

test("a pushed token is sent with the next join", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  await received(channel.push("fork", {}));
  assert.equal(recovery.token, "token-2");
  server.cut();
  await dispatched(recovery, "outcome");
  assert.equal(server.joins.at(-1)._recovery, "token-2");
});

test("a crashed channel recovers on the same connection", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  await received(channel.push("add", { item: "a" }));
  channel.push("crash", {});
  assert.deepEqual((await dispatched(recovery, "outcome")).response.state, ["a"]);
  assert.equal(server.urls.length, 1);
});

test("an outage of the storage loses no token", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  server.outcomes.push("unavailable");
  for (const outcome of ["unavailable", "recovered"]) {
    server.cut();
    assert.equal((await dispatched(recovery, "outcome")).outcome, outcome);
    assert.equal(server.joins.at(-1)._recovery, "token-1");
  }
});

test("a page that uses the channel's own push continues with a fresh state until it uses Recovery.push", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  server.outcomes.push("unavailable");
  server.cut();
  await dispatched(recovery, "outcome");
  await received(channel.push("add", { item: "past" }));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(server.joins.length, 2);

  const outcomes = record(recovery, "outcome");
  await Promise.all([recovery.push("add", { item: "kept" }), recovery.push("add", { item: "too" })]);
  assert.deepEqual(outcomes.map(([, { outcome }]) => outcome), ["recovered"]);
  assert.equal(server.joins.length, 3);
});

test("a refused join is retried with the same token", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  server.refusals = 2;
  server.cut();
  await dispatched(recovery, "outcome");
  assert.deepEqual(server.joins.slice(1), Array(3).fill({ _recovery: "token-1" }));
});

test("the status follows the channel", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  const notes = record(recovery, "status");
  await received(channel.join());
  server.cut();
  await dispatched(recovery, "outcome");
  await received(channel.leave());
  assert.deepEqual(notes.map(([, status]) => status), [
    "connecting", "connected", "disconnected", "connecting", "connected", "disconnected",
  ]);
});

test("no token in a URL", async (t) => {
  const server = await TestServer.start(t);
  const { recovery, channel } = connect(t, server);
  await received(channel.join());
  server.cut();
  await dispatched(recovery, "outcome");
  assert.deepEqual(server.urls, Array(2).fill("/socket/websocket?vsn=2.0.0"));
});

test("the jittered backoffs are options of the client", async (t) => {
  const { app } = new FakeBrowser().open();
  t.mock.method(Math, "random", () => 0.5);
  const socket = new Socket("/socket", { transport: class {}, ...app });
  assert.equal(socket.reconnectAfterMs(1), 50);
  assert.equal(socket.rejoinAfterMs(1), 500);
});
