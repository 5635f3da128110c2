/** A URL, protocols and params that are functions of the page's: for tickets, say. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dispatched, FakeBrowser, FakeClock, record } from "./support/browser.js";
import { immediate, SOON, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** Return a server and a page's socket for the URL that a function makes of the server's. */
async function open(t, makeUrl, { tab = new FakeBrowser().open(), ...options } = {}) {
  const server = await TestServer.start(t);
  const socket = new tab.app.RecoverySocket(makeUrl(server), { viewId: "form", ...SOON, ...options });
  t.after(() => socket.leave());
  return { server, tab, socket };
}

/** Return a function whose results are settled by hand. */
function byHand() {
  const calls = [];
  const give = () => new Promise((resolve, reject) => calls.push({ resolve, reject }));
  return { calls, give };
}

test("a URL may be a function, async too, that is called for each connection", async (t) => {
  let tickets = 0;
  const { server, socket } = await open(t, ({ origin }) => async () => `${origin}/ws/?ticket=${++tickets}`);
  await socket.join("form:1");
  await socket.push("add", { item: "a" });
  server.cut();
  assert.equal((await dispatched(socket, "outcome")).outcome, "recovered");
  assert.deepEqual(server.urls, ["/ws/?ticket=1", "/ws/?ticket=2"]);
});

for (const [what, fail] of [
  ["rejects", () => Promise.reject(new Error("no ticket"))],
  ["throws", () => { throw new Error("no ticket"); }],
  ["returns no URL", () => 7],
  ["promises no URL", () => Promise.resolve("http://[")],
]) {
  test(`a URL's function that ${what} is a failed try, told and repeated`, async (t) => {
    const tries = [];
    let calls = 0;
    const { server, socket } = await open(t, ({ origin }) => () => (++calls <= 2 ? fail() : `${origin}/ws/`), {
      reconnectAfterMs: (count) => (tries.push(count), 1),
    });
    const told = record(socket, "refused");
    await socket.join("form:1");
    assert.deepEqual(told.map(([, { reason, tries: count, error }]) => [reason, count, typeof error.message]), [["url", 1, "string"], ["url", 2, "string"]]);
    assert.deepEqual([tries, server.urls], [[1, 2], ["/ws/"]]);
  });
}

for (const how of ["disconnect", "close", "leave"]) {
  test(`a URL that arrives after ${how} is ignored, and so is an error`, async (t) => {
    const { calls, give } = byHand();
    const { server, socket } = await open(t, () => give);
    const told = record(socket, "refused");
    for (const settle of ["resolve", "reject"]) {
      socket.join?.("form:1")?.catch(() => {});
      socket.join = null;
      socket.connect();
      await until(() => calls.length > 0 || how !== "disconnect");
      socket[how]();
      calls.shift()?.[settle](settle === "resolve" ? `${server.origin}/ws/` : new Error("late"));
      await immediate();
    }
    assert.deepEqual([server.urls, told, socket.status], [[], [], "disconnected"]);
  });
}

test("a URL of an earlier try is ignored", async (t) => {
  const { calls, give } = byHand();
  const { server, socket } = await open(t, () => give);
  const joined = socket.join("form:1");
  await until(() => calls.length === 1);
  socket.disconnect();
  socket.connect();
  await until(() => calls.length === 2);
  calls[1].resolve(`${server.origin}/ws/?second`);
  await joined;
  calls[0].resolve(`${server.origin}/ws/?first`);
  await immediate();
  assert.deepEqual(server.urls, ["/ws/?second"]);
});

test("a URL may take a minute, and then counts as a failed try", async (t) => {
  const clock = new FakeClock();
  const { calls, give } = byHand();
  const { server, socket } = await open(t, () => give, { tab: new FakeBrowser().open({ clock }) });
  const told = record(socket, "refused");
  const joined = socket.join("form:1");
  await until(() => calls.length === 1);
  clock.tick(59_999);
  assert.deepEqual([told, socket.status], [[], "connecting"]);
  clock.tick(1);
  assert.equal(told[0][1].reason, "url");
  clock.tick(5);
  assert.equal(calls.length, 2);
  calls[1].resolve(`${server.origin}/ws/`);
  await joined;
});

test("a socket whose URL is a function needs a viewId, as the URL doesn't name the view", () => {
  const { app } = new FakeBrowser().open();
  const socket = new app.RecoverySocket(() => "ws://app.test/");
  assert.throws(() => socket.join("form:1"), { name: "TypeError", message: /viewId/ });
  assert.throws(() => socket.channel("form:1"), { name: "TypeError", message: /viewId/ });
});

for (const [what, given, chosen] of [
  ["a string", "one", "one"],
  ["an array", ["one", "two"], "one"],
  ["a function", () => ["two"], "two"],
  ["an async function", async () => "three", "three"],
]) {
  test(`protocols may be ${what}`, async (t) => {
    const { server, socket } = await open(t, ({ origin }) => origin, { protocols: given });
    await socket.join("form:1");
    assert.equal([...server.sockets.clients][0].protocol, chosen);
  });
}

test("protocols that no browser takes are told", async (t) => {
  const { socket } = await open(t, ({ origin }) => origin, { protocols: () => "not a token" });
  socket.join("form:1");
  const { reason, error } = await dispatched(socket, "refused");
  assert.deepEqual([reason, error.name], ["protocols", "SyntaxError"]);
});

test("params may be an async function, called at each join", async (t) => {
  let joins = 0;
  const { server, socket } = await open(t, ({ origin }) => origin);
  await socket.join("form:1", async () => ({ joins: ++joins }));
  server.cut();
  await dispatched(socket, "outcome");
  assert.deepEqual(server.joins.map((payload) => payload.joins), [1, 2]);
});

for (const [what, fail] of [
  ["rejects", () => Promise.reject(new Error("no"))],
  ["throws", () => { throw new Error("no"); }],
  ["returns no object", () => "text"],
]) {
  test(`params whose function ${what} are a failed join, told and repeated on the same connection`, async (t) => {
    const tries = [];
    const { server, socket } = await open(t, ({ origin }) => origin, { rejoinAfterMs: (count) => (tries.push(count), 1) });
    const told = record(socket, "refused");
    let calls = 0;
    await socket.join("form:1", () => (++calls <= 2 ? fail() : { id: 1 }));
    assert.deepEqual(told.map(([, { reason, tries: count }]) => [reason, count]), [["params", 1], ["params", 2]]);
    assert.deepEqual([tries, server.urls.length, server.joins], [[1, 2], 1, [{ id: 1 }]]);
  });
}

test("params that arrive after a disconnect join nothing, and a slow one isn't timed out", async (t) => {
  const clock = new FakeClock();
  const { calls, give } = byHand();
  const { server, socket } = await open(t, ({ origin }) => origin, { tab: new FakeBrowser().open({ clock }) });
  const joined = socket.join("form:1", give);
  await until(() => calls.length === 1);
  socket.disconnect();
  socket.connect();
  await until(() => calls.length === 2);
  calls[0].resolve({ id: 1 });
  await immediate();
  clock.tick(25_000);
  assert.equal(socket.status, "connecting");
  calls[1].resolve({ id: 2 });
  await joined;
  assert.deepEqual(server.joins, [{ id: 2 }]);
});

test("an npm client can't wait for params, which is said", () => {
  const view = new (new FakeBrowser().open().app.Recovery)("form");
  assert.throws(() => view.joinPayload(async () => ({})), { name: "TypeError", message: /promise/ });
});
