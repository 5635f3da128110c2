/** The real npm `phoenix` client. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Socket } from "phoenix";
import { FakeBrowser, FakeClock, record, dispatched } from "./support/browser.js";
import { until } from "./support/pages.js";
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

for (const killer of [0, 2]) {
  test(`an event that ends the server is given up, and those of other views on the socket aren't (made as number ${killer + 1})`, async (t) => {
    const server = await TestServer.start(t);
    const clock = new FakeClock();
    const tab = new FakeBrowser().open({ clock });
    const socket = new Socket(`${server.origin}/socket`, { transport: tab.WebSocket, timeout: 1000, ...SOON });
    t.after(() => socket.disconnect());
    const views = ["a", "b", "c"].map((name) => new tab.app.Recovery(name, SOON));
    const channels = views.map((view) => view.channel(socket, `lv:${views.indexOf(view)}`));
    socket.connect();
    await Promise.all(channels.map((channel) => received(channel.join())));

    const [bad] = views.splice(killer, 1);
    const lost = views.map((view) => record(view, "lost"));
    let reason = null;
    bad.push("kill").catch((error) => (reason = error.reason));
    const kept = views.map((view) => view.push("add", { item: "kept" })); // none has a reply at the first cut
    let settled = 0;
    for (const each of kept) each.finally(() => (settled += 1)).catch(() => {});
    await until(() => (clock.tick(5), reason && settled === kept.length));
    assert.deepEqual([reason, lost], ["undeliverable", [[], []]]);
    for (const { state } of await Promise.all(kept)) assert.deepEqual(state, ["kept"]);
    assert.ok(server.urls.length <= 5, String(server.urls.length));

    // nobody is suspected any more, and a page that disconnects is no reason for that
    server.isSlow = true;
    const late = server.of("add").length;
    for (const view of views) view.push("add", { item: "late" }).catch(() => {});
    await until(() => server.of("add").length === late + views.length);
    socket.disconnect();
    await until(() => !socket.conn);
    socket.connect();
    await until(() => server.of("add").length === late + 2 * views.length);
  });
}

test("a view that is closed, or whose channel crashes, ends its turn", async (t) => {
  const server = await TestServer.start(t);
  const { tab, socket, recovery, channel } = connect(t, server);
  const others = ["b", "c"].map((name) => new tab.app.Recovery(name, SOON));
  const channels = [channel, ...others.map((view, place) => view.channel(socket, `lv:${place}`))];
  await Promise.all(channels.map((each) => received(each.join())));
  const views = [recovery, ...others];
  server.isSlow = true;
  const pushed = views.map((view) => view.push("add", { item: "a" }));
  for (const each of pushed) each.catch(() => {});
  await until(() => server.of("add").length === 3);
  const outcomes = views.map((view) => dispatched(view, "outcome"));
  server.cut();
  await Promise.all(outcomes);
  await until(() => server.of("add").length > 3);
  const before = server.of("add").length;
  assert.equal(before, 4); // one after the other
  const first = views.find((view) => view.sentBytes > 0);
  first.close();
  await until(() => server.of("add").length === 5);
  const second = views.find((view) => view !== first && view.sentBytes > 0);
  channels[views.indexOf(second)].trigger("phx_error");
  await until(() => server.of("add").length >= 6);
  server.release();
  await Promise.all(pushed.filter((_, place) => views[place] !== first));
});

test("the backoff of a server that closes each connection after the join begins anew only when one has held", async (t) => {
  const server = await TestServer.start(t);
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const tries = [];
  const backoff = (number) => (tries.push(number), 5);
  const options = { transport: tab.WebSocket, reconnectAfterMs: backoff, rejoinAfterMs: backoff };
  const socket = new Socket(`${server.origin}/socket`, options);
  t.after(() => socket.disconnect());
  const recovery = new tab.app.Recovery("form", SOON);
  const channel = recovery.channel(socket, "lv:form");
  socket.connect();
  await received(channel.join());
  const next = async (end) => {
    const outcome = dispatched(recovery, "outcome");
    end();
    await outcome;
  };
  for (const end of [() => server.cut(), () => channel.push("crash", {})]) {
    for (let round = 0; round < 3; round += 1) await next(end);
    clock.tick(5_000);
    await next(end);
    assert.deepEqual(tries.splice(0), [1, 2, 3, 1]);
    clock.tick(5_000);
  }
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
  assert.equal(recovery.connection.status, "disconnected");
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
