/** What a page is told of its connection: the property and the event `connection`, listeners, the logger. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dispatched, FakeBrowser, FakeClock, record } from "./support/browser.js";
import { onEachTransport, SOON, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** Return a view on a clock, and the statuses that its event "connection" tells. */
function watched() {
  const clock = new FakeClock();
  const view = new (new FakeBrowser().open({ clock }).app.Recovery)("form");
  const told = [];
  view.on("connection", ({ status }) => told.push(status));
  return { clock, view, told };
}

/** Return a view that has joined. */
function connected() {
  const page = watched();
  page.view.connecting();
  page.view.joined();
  page.told.length = 0;
  return page;
}

test("a first join is told at once, and what comes before it only if it takes long", () => {
  const { clock, view, told } = watched();
  assert.deepEqual(view.connection, { status: "disconnected", code: null, attempt: 0, nextDelayMs: null });
  view.connecting();
  assert.equal(view.connection.status, "connecting");
  clock.tick(999);
  assert.deepEqual(told, []);
  clock.tick(1);
  view.joined();
  assert.deepEqual(told, ["connecting", "connected"]);
});

test("a short outage isn't told", () => {
  const { clock, view, told } = connected();
  for (let round = 0; round < 5; round++) {
    view.dropped(1006, 500);
    clock.tick(500);
    view.connecting();
    clock.tick(499);
    view.joined();
    clock.tick(5_000);
  }
  assert.deepEqual(told, []);
});

test("an outage of many tries is told once, with what is known of it", () => {
  const { clock, view, told } = connected();
  for (let attempt = 1; attempt <= 5; attempt++) {
    view.dropped(1006, 3_000);
    assert.deepEqual(view.connection, { status: "reconnecting", code: 1006, attempt: attempt - 1, nextDelayMs: 3_000 });
    clock.tick(3_000);
    view.connecting();
    view.connecting(); // the connection, and the join
    assert.deepEqual(view.connection, { status: "reconnecting", code: 1006, attempt, nextDelayMs: null });
  }
  assert.deepEqual(told, ["reconnecting"]);
  view.joined();
  assert.deepEqual(view.connection, { status: "connected", code: null, attempt: 0, nextDelayMs: null });
  clock.tick(1_000);
  assert.deepEqual(told, ["reconnecting", "connected"]);
});

test("an outage is told after a second, however short its tries are", () => {
  const { clock, view, told } = connected();
  for (let ms = 0; ms < 1_000; ms += 100) {
    assert.deepEqual(told, []);
    view.dropped(1006, 50);
    clock.tick(50);
    view.connecting();
    clock.tick(50);
  }
  assert.deepEqual(told, ["reconnecting"]);
});

test("an outage isn't over with a connection that doesn't hold", () => {
  const { clock, view, told } = connected();
  for (let round = 0; round < 10; round++) {
    view.dropped(1011, 2_000);
    clock.tick(2_000);
    view.connecting();
    view.joined();
    clock.tick(999);
  }
  assert.deepEqual(told, ["reconnecting"]);
});

test("a disconnect that was asked for is told at once, and what is closed tells nothing", () => {
  const { clock, view, told } = connected();
  view.dropped(1000, null);
  assert.deepEqual([told, view.connection.status], [["disconnected"], "disconnected"]);
  view.connecting();
  view.close();
  clock.tick(10_000);
  assert.deepEqual(told, ["disconnected"]);
});

onEachTransport(test, "the connection's state follows the connection", async (page) => {
  const told = record(page.view, "connection");
  const began = performance.now();
  await page.joined();
  assert.equal(page.view.connection.status, "connected");
  await page.cut();
  assert.equal(page.view.connection.status, "connected");
  // On a busy machine the page may be without a connection for long enough to be told so.
  if (performance.now() - began < 1_000) assert.deepEqual(told.map(([, { status }]) => status), ["connected"]);
  page.goOffline();
  await until(() => page.view.connection.status === "disconnected");
});

test("while a socket waits for its next try, the state says for how long, and after disconnect that there is none", async (t) => {
  const server = await TestServer.start(t);
  const { app } = new FakeBrowser().open();
  const socket = new app.RecoverySocket(server.origin, { viewId: "form", reconnectAfterMs: () => 3_600_000 });
  t.after(() => socket.leave());
  await socket.join("form:1");
  for (const connection of server.sockets.clients) connection.close(1012);
  await dispatched(socket, "status");
  assert.deepEqual(socket.connection, { status: "reconnecting", code: 1012, attempt: 0, nextDelayMs: 3_600_000 });
  socket.disconnect();
  assert.equal(socket.connection.status, "disconnected");
});

// ---------------------------------------------------------------------------------------------- Listening

onEachTransport(test, "on hears the view's own events and what the server pushes, until it is stopped", async (page) => {
  const heard = [];
  const stops = ["status", "outcome", "heard"].map((type) => page.view.on(type, (detail) => heard.push([type, detail.outcome ?? detail.event ?? detail])));
  await page.joined();
  await page.view.push("anything");
  assert.deepEqual(heard, [["status", "connecting"], ["outcome", "new"], ["status", "connected"], ["heard", "anything"]]);
  for (const stop of stops) stop();
  await page.view.push("anything");
  assert.equal(heard.length, 4);
});

test("what on hears by the name of a view's own event is never pushed by the server", () => {
  const { view } = watched();
  const heard = [];
  view.joined();
  for (const type of ["status", "connection", "outcome", "lost", "reply", "missed", "refused"]) {
    view.on(type, (detail) => heard.push(detail));
    heard.length = 0;
    view.heard(type, "pushed");
    view.tell(type, type);
    assert.deepEqual(heard, [type]);
  }
});

onEachTransport(test, "onPushed hears what the server pushes by a name of a view's own event", async (page, server) => {
  const [own, pushed] = [[], []];
  page.view.on("outcome", (detail) => own.push(detail));
  page.view.onPushed("outcome", (detail) => pushed.push(detail));
  await page.joined();
  server.send(JSON.stringify([null, null, "form:1", "outcome", { by: "server" }]));
  await until(() => pushed.length > 0);
  assert.deepEqual([own.length, pushed], [1, [{ by: "server" }]]);
});

test("on without a function is a mistake", () => {
  const view = new (new FakeBrowser().open().app.Recovery)("form");
  assert.throws(() => view.on("outcome"), { name: "TypeError", message: /outcome/ });
});

// ---------------------------------------------------------------------------------------------- The logger

for (const [way, wrap] of [
  ["a function", (log) => log],
  ["an object", (log) => ({ debug: (...what) => log("debug", ...what), info: (...what) => log("info", ...what), warn: (...what) => log("warn", ...what) })],
]) {
  test(`${way} as a logger is told what happens, and never a secret, though it throws`, async (t) => {
    const server = await TestServer.start(t);
    server.refusals = 1;
    const lines = [];
    const logger = wrap((level, message, data) => {
      lines.push([level, message, JSON.stringify(data ?? {})]);
      throw new Error("a bug of the page's");
    });
    let calls = 0;
    const url = () => (++calls === 1 ? Promise.reject(new Error("secret-error")) : `${server.origin}/ws/?secret-ticket`);
    const socket = new (new FakeBrowser().open().app.RecoverySocket)(url, { viewId: "secret-view", logger, ...SOON });
    t.after(() => socket.leave());
    await socket.join("form:1", () => ({ secret: "secret-params" }));
    await socket.push("add", { item: "secret-payload" });
    server.cut();
    await dispatched(socket, "outcome");
    server.outcomes.push("expired");
    socket.disconnect();
    socket.push("add", { item: "secret-payload" }).catch(() => {});
    socket.connect();
    await dispatched(socket, "outcome");
    const text = lines.map((line) => line.join(" ")).join("\n");
    for (const message of ["refused", "join refused", "joining", "joined", "connection lost", "events lost"]) assert.match(text, new RegExp(message));
    assert.doesNotMatch(text, /secret|token-/);
    assert.ok(lines.every(([level]) => ["debug", "info", "warn"].includes(level)));
  });
}
