/** RecoverySocket: the WebSocket client for pages without an npm client. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeBrowser, FakeClock, record, dispatched } from "./support/browser.js";
import { immediate, KEY, SOON, until } from "./support/pages.js";
import { TIMEOUT_MS, TestServer } from "./support/server.js";

/** Return a page's socket. */
function open(t, server, { tab = new FakeBrowser().open(), ...options } = {}) {
  tab.location = { href: `${server.origin.replace("ws", "http")}/page?q=1` };
  const socket = new tab.app.RecoverySocket("/ws/form/", { viewId: "form", ...SOON, ...options });
  t.after(() => socket.leave());
  return { tab, socket };
}

/** Return a page's socket after its join. */
async function joined(t, options) {
  const server = await TestServer.start(t);
  const { tab, socket } = open(t, server, options);
  await socket.join("form:1", { id: 1 });
  return { server, tab, socket };
}

/** Cut the connection and wait for the next join. */
async function cut(server, socket) {
  server.cut();
  return dispatched(socket, "outcome");
}

const named = (name) => (error) => error instanceof Error && error.name === name;

// ---------------------------------------------------------------------------------------------- Joining

test("join returns the first join's response, and push the event's", async (t) => {
  const server = await TestServer.start(t);
  const { socket } = open(t, server);
  const response = await socket.join("form:1", { id: 1 });
  assert.deepEqual(response.state, []);
  assert.deepEqual(await socket.push("add", { item: "a" }), { state: ["a"] });
  await assert.rejects(socket.push("refuse"), (error) => named("EventRefused")(error) && error.response.reason === "no");
});

test("frames are like the npm client's: V2 arrays, string refs, and the join's ref in each", async (t) => {
  const { server, socket } = await joined(t);
  await socket.push("add", { item: "a" });
  const [join, add] = server.frames;
  assert.deepEqual(join, { joinRef: "1", ref: "1", topic: "form:1", event: "phx_join", payload: { id: 1, _line: server.line, _recv: null } });
  assert.deepEqual(add, { joinRef: "1", ref: "2", topic: "form:1", event: "add", payload: { item: "a", _seq: 1, _ack: 0, _line: server.line } });
});

test("the state is restored after a cut, with the token of the previous reply", async (t) => {
  const { server, tab, socket } = await joined(t);
  await socket.push("add", { item: "a" });
  const { outcome, elapsedMs, ttl, response } = await cut(server, socket);
  assert.deepEqual([outcome, ttl, response.state], ["recovered", 300, ["a"]]);
  assert.ok(elapsedMs > 0 && elapsedMs < TIMEOUT_MS);
  assert.equal(server.joins[1]._recovery, "token-1");
  assert.equal(tab.sessionStorage.getItem(KEY), "token-2");
});

test("the state is restored after a reload", async (t) => {
  const { server, tab, socket } = await joined(t);
  await socket.push("add", { item: "a" });
  socket.leave();
  const reloaded = open(t, server, { tab: tab.reload() });
  assert.deepEqual((await reloaded.socket.join("form:1")).state, ["a"]);
});

test("no token in a URL", async (t) => {
  const { server, socket } = await joined(t);
  await cut(server, socket);
  assert.deepEqual(server.urls, ["/ws/form/", "/ws/form/"]);
});

test("a relative URL refers to the page's host, https becomes wss, and path, query and topic are the default viewId", () => {
  const tab = new FakeBrowser().open();
  tab.location = { href: "https://app.test/orders/7?x#y" };
  const urls = [];
  tab.WebSocket = class {
    constructor(url) {
      urls.push(url);
    }
    close() {}
  };
  const sockets = ["/ws/form/?a=1", "live/", "wss://other.test/s"].map((url) => new tab.app.RecoverySocket(url));
  for (const socket of sockets) socket.join("form:1");
  sockets[0].keep({ token: "t1" });
  return immediate().then(() => {
    for (const socket of sockets) socket.disconnect();
    assert.deepEqual(urls, ["wss://app.test/ws/form/?a=1", "wss://app.test/orders/live/", "wss://other.test/s"]);
    assert.deepEqual([...tab.sessionStorage.items], [["lv_recovery_/ws/form/?a=1 form:1", "t1"]]);
  });
});

test("params may be a function, called at each join", async (t) => {
  const server = await TestServer.start(t);
  const { socket } = open(t, server);
  let joins = 0;
  await socket.join("form:1", () => ({ joins: ++joins }));
  await cut(server, socket);
  assert.deepEqual(server.joins.map((payload) => payload.joins), [1, 2]);
});

test("connect before join waits for the join", async (t) => {
  const server = await TestServer.start(t);
  const { socket } = open(t, server);
  socket.connect();
  await immediate();
  assert.equal(socket.status, "disconnected");
  await socket.join("form:1");
  assert.deepEqual([server.urls.length, server.joins.length], [1, 1]);
});

test("a second join is an error", async (t) => {
  const { socket } = await joined(t);
  assert.throws(() => socket.join("form:2"), /one topic on one socket/);
});

test("a refused join is reported and retried", async (t) => {
  const server = await TestServer.start(t);
  server.refusals = 2;
  const { socket } = open(t, server);
  const notes = record(socket, "refused");
  await socket.join("form:1");
  assert.deepEqual(notes, Array(2).fill(["refused", { reason: "not yet" }]));
  assert.equal(server.urls.length, 1);
});

test("a crashed channel recovers on the same connection", async (t) => {
  const { server, socket } = await joined(t);
  await socket.push("add", { item: "a" });
  socket.push("crash");
  assert.deepEqual((await dispatched(socket, "outcome")).response.state, ["a"]);
  assert.equal(server.urls.length, 1);
});

test("a channel that the server closes stays closed until connect", async (t) => {
  const { server, socket } = await joined(t);
  socket.push("close");
  assert.equal(await dispatched(socket, "status"), "disconnected");
  socket.connect();
  assert.equal((await dispatched(socket, "outcome")).outcome, "recovered");
  assert.equal(server.urls.length, 2);
});

test("the status follows the connection", async (t) => {
  const server = await TestServer.start(t);
  const { socket } = open(t, server);
  const notes = record(socket, "status");
  await socket.join("form:1");
  await cut(server, socket);
  socket.disconnect();
  assert.deepEqual(notes.map(([, status]) => status), [
    "connecting", "connected", "disconnected", "connecting", "connected", "disconnected",
  ]);
});

test("localStorage: the join waits until it is known which tab owns the token", async (t) => {
  const server = await TestServer.start(t);
  const browser = new FakeBrowser();
  const first = open(t, server, { tab: browser.open(), storage: "localStorage" });
  await first.socket.join("form:1");
  await first.socket.push("add", { item: "a" });
  first.socket.leave();
  first.tab.close();
  const second = open(t, server, { tab: browser.open(), storage: "localStorage" });
  assert.deepEqual((await second.socket.join("form:1")).state, ["a"]);
});

// ---------------------------------------------------------------------------------------------- Server pushes

test("on calls its callback for pushed events until it is removed", async (t) => {
  const { socket } = await joined(t);
  const heard = [];
  const stop = socket.on("heard", (payload) => heard.push(payload));
  await socket.push("anything", { a: 1 });
  stop();
  await socket.push("anything", { a: 2 });
  assert.deepEqual(heard, [{ event: "anything", payload: { a: 1 } }]);
});

test("a pushed token is stored, dispatched, and sent with the next join", async (t) => {
  const { server, socket } = await joined(t);
  const tokens = [];
  socket.on("recovery:token", ({ token }) => tokens.push(token));
  await socket.push("fork");
  assert.deepEqual([tokens, socket.token], [["token-2"], "token-2"]);
  await cut(server, socket);
  assert.equal(server.joins[1]._recovery, "token-2");
});

test("frames that are invalid or belong to another join are ignored", async (t) => {
  const { server, socket } = await joined(t);
  const heard = record(socket, "outcome", "status", "lost");
  socket.on("heard", (payload) => heard.push(payload));
  for (const frame of ["", "{", "null", "7", "{}", "[]", '["99","1","form:1","heard",{}]', '["1","1","form:2","heard",{}]',
    '["99",null,"form:1","phx_error",{}]', '["99",null,"form:1","phx_close",{}]', '["1","99","form:1","phx_reply",{"status":"ok"}]',
    '["1","99","form:1","phx_reply",{"status":"error"}]']) {
    server.send(frame);
  }
  server.send(Buffer.from([2, 0, 1, 255]));
  await socket.push("add", { item: "a" });
  assert.deepEqual(heard, []);
});

// ---------------------------------------------------------------------------------------------- Leaving

test("leave notifies the server, discards the queue, and doesn't reconnect", async (t) => {
  const { server, tab, socket } = await joined(t);
  const notes = record(socket, "lost");
  const left = server.next("phx_leave");
  const sent = socket.push("add", { item: "a" });
  socket.leave();
  await left;
  await assert.rejects(sent, named("EventLost"));
  await assert.rejects(socket.push("add", { item: "b" }), named("EventLost"));
  assert.deepEqual(notes.map(([, { reason }]) => reason), ["left", "left"]);
  assert.equal(tab.sessionStorage.getItem(KEY), "token-1");
  socket.forget();
  assert.equal(tab.sessionStorage.getItem(KEY), null);
  tab.dispatchEvent(new Event("online"));
  socket.connect();
  await immediate();
  assert.equal(socket.status, "disconnected");
  assert.equal(server.urls.length, 1);
});

// ---------------------------------------------------------------------------------------------- Time

/** A page whose timers only advance with `tick`; the server still replies in real time. */
function withFakeClock() {
  const clock = new FakeClock();
  return { clock, tab: new FakeBrowser().open({ clock }) };
}

test("a heartbeat is sent every 30 s on the topic phoenix", async (t) => {
  const { clock, tab } = withFakeClock();
  const { server, socket } = await joined(t, { tab });
  for (let beats = 1; beats <= 3; beats++) {
    clock.tick(29_999);
    await immediate();
    assert.equal(server.of("heartbeat").length, beats - 1);
    const heartbeat = server.next("heartbeat");
    clock.tick(1);
    const { joinRef, topic, payload } = await heartbeat;
    assert.deepEqual([joinRef, topic, payload], [null, "phoenix", {}]);
    await socket.push("add"); // its reply comes after the heartbeat's
  }
  assert.equal(server.urls.length, 1);
});

test("a connection on which nothing arrives until the next heartbeat is replaced", async (t) => {
  const { clock, tab } = withFakeClock();
  const { server, socket } = await joined(t, { tab });
  server.isStopped = true;
  const heartbeat = server.next("heartbeat");
  clock.tick(30_000);
  await heartbeat;
  assert.equal(socket.status, "connected");
  clock.tick(30_000);
  assert.equal(socket.status, "disconnected");
  server.isStopped = false;
  const outcome = dispatched(socket, "outcome");
  clock.tick(5);
  assert.equal((await outcome).outcome, "recovered");
});

test("a join without a reply after 10 s is retried on another connection with the same token", async (t) => {
  const { clock, tab } = withFakeClock();
  const { server, socket } = await joined(t, { tab });
  server.isStopped = true;
  const join = server.next("phx_join");
  socket.drop();
  clock.tick(5);
  await join;
  clock.tick(9_999);
  assert.equal(socket.status, "connecting");
  server.isStopped = false;
  const outcome = dispatched(socket, "outcome");
  clock.tick(1);
  assert.equal(socket.status, "disconnected");
  clock.tick(5);
  assert.equal((await outcome).outcome, "recovered");
  assert.deepEqual(server.joins.map(({ _recovery }) => _recovery), [undefined, "token-1", "token-1"]);
});

test("a connection that doesn't open within 10 s is replaced", async (t) => {
  const { clock, tab } = withFakeClock();
  const server = await TestServer.start(t);
  const made = [];
  tab.WebSocket = class {
    constructor() {
      made.push(this);
    }
    close(code) {
      this.closed = code;
    }
  };
  const { socket } = open(t, server, { tab });
  socket.join("form:1");
  await immediate();
  clock.tick(10_000);
  assert.equal(made[0].closed, 4000);
  clock.tick(5);
  clock.tick(19_999);
  assert.deepEqual([made.length, made[1].closed], [2, undefined], "it may only be slow");
  clock.tick(1);
  assert.equal(made[1].closed, 4000);
});

test("the number of tries increases, and a connection that has held resets it", async (t) => {
  const tries = [];
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const { server, socket } = await joined(t, { tab, reconnectAfterMs: (count) => (tries.push(count), 1) });
  const rejoined = async (ms) => {
    const outcome = dispatched(socket, "outcome");
    server.cut();
    await until(() => socket.status === "disconnected");
    clock.tick(1);
    await outcome;
    clock.tick(ms);
  };
  // a server that closes right after each join must not be joined all the time
  for (const ms of [0, 4_000, 4_999, 5_000, 0]) await rejoined(ms);
  assert.deepEqual(tries, [1, 2, 3, 4, 1]);
});

test("the same for joins, and what is lost holds no longer", async (t) => {
  const clock = new FakeClock();
  const tries = { lost: [], crashed: [] };
  const count = (list) => (number) => (list.push(number), 1);
  const backoffs = { reconnectAfterMs: count(tries.lost), rejoinAfterMs: count(tries.crashed) };
  const { server, socket } = await joined(t, { tab: new FakeBrowser().open({ clock }), ...backoffs });
  const rejoined = async (held, end) => {
    clock.tick(held);
    const [outcome, status] = [dispatched(socket, "outcome"), dispatched(socket, "status")];
    end();
    await status;
    clock.tick(1);
    await outcome;
  };
  for (const held of [0, 4_999, 5_000]) await rejoined(held, () => socket.push("crash").catch(() => {}));
  assert.deepEqual(tries.crashed, [1, 2, 1]);
  await rejoined(0, () => server.cut());
  server.isStopped = true;
  server.cut();
  await until(() => socket.status === "disconnected");
  clock.tick(1);
  await until(() => server.joins.length === 6);
  clock.tick(5_000); // there is no join that could hold meanwhile
  server.cut();
  await until(() => tries.lost.length === 3);
  assert.deepEqual(tries.lost, [1, 2, 3]);
});

test("a connection that can't be opened again and again, or is closed with a code that refuses, is told, and tried less and less often", async (t) => {
  const clock = new FakeClock();
  const waits = [];
  const plain = clock.setTimeout;
  clock.setTimeout = (callback, ms) => (waits.push(ms), plain(callback, ms));
  for (const [code, opens, reason] of [[1006, false, "handshake"], [4403, true, "closed"], [1008, true, "closed"]]) {
    const tab = new FakeBrowser().open({ clock });
    let connection;
    tab.WebSocket = class {
      constructor() {
        connection = this;
      }
      send() {}
      close() {}
    };
    const { socket } = open(t, { origin: "ws://app.test" }, { tab });
    const told = record(socket, "refused");
    socket.join("form:1");
    await immediate();
    const delays = [];
    for (let round = 0; round < 16; round++) {
      if (opens) connection.onopen();
      waits.length = 0;
      connection.onclose({ code });
      delays.push(waits.at(-1));
      clock.tick(waits.at(-1));
    }
    assert.ok(delays.at(-1) >= 120_000 && delays.at(-1) <= 300_000, delays.join());
    assert.ok(Math.max(...delays) <= 300_000);
    assert.ok(delays.slice(8).every((ms) => ms > 2_000), delays.join());
    const first = reason === "closed" ? 1 : 5;
    assert.deepEqual(told[0], ["refused", { reason, code, tries: first }]);
    assert.deepEqual(told.map(([, { tries }]) => tries), Array.from({ length: 16 - first + 1 }, (_, place) => first + place));
    socket.leave();
  }
});

test("a page that was let in is back half a minute after an outage at the latest, as its state waits for minutes only", async (t) => {
  const clock = new FakeClock();
  const waits = [];
  const plain = clock.setTimeout;
  clock.setTimeout = (callback, ms) => (waits.push(ms), plain(callback, ms));
  const tab = new FakeBrowser().open({ clock });
  let connection;
  tab.WebSocket = class {
    constructor() {
      connection = this;
    }
    send(frame) {
      const [joinRef, ref, topic] = JSON.parse(frame);
      this.onmessage({ data: JSON.stringify([joinRef, ref, topic, "phx_reply", { status: "ok", response: {} }]) });
    }
    close() {}
  };
  const { socket } = open(t, { origin: "ws://app.test" }, { tab });
  socket.join("form:1");
  await immediate();
  connection.onopen();
  await immediate();
  clock.tick(6_000);
  const delays = [];
  for (let round = 0; round < 20; round++) {
    waits.length = 0;
    connection.onclose({ code: 1006 });
    delays.push(waits.at(-1));
    clock.tick(waits.at(-1));
  }
  assert.ok(Math.max(...delays) <= 30_000 && delays.at(-1) >= 15_000, delays.join());
});

test("a join that is refused again and again is tried less and less often", async (t) => {
  const server = await TestServer.start(t);
  server.refusals = 20;
  const clock = new FakeClock();
  const waits = [];
  const plain = clock.setTimeout;
  clock.setTimeout = (callback, ms) => (waits.push(ms), plain(callback, ms));
  const { socket } = open(t, server, { tab: new FakeBrowser().open({ clock }), heartbeatMs: 1e9 });
  socket.join("form:1");
  for (let round = 0; round < 15; round++) {
    await dispatched(socket, "refused");
    const ms = waits.at(-1);
    if (round === 14) assert.ok(ms >= 120_000, String(ms));
    setImmediate(() => clock.tick(ms));
  }
});

test("the status is told as connected after the outcome", async (t) => {
  const server = await TestServer.start(t);
  const { socket } = open(t, server);
  const notes = record(socket, "outcome", "status");
  await socket.join("form:1");
  await until(() => notes.length === 3);
  assert.deepEqual(notes.map(([type, detail]) => (type === "status" ? detail : type)), ["connecting", "outcome", "connected"]);
});

test("a page that wakes up again and again doesn't put off that its line is dead", async (t) => {
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const { server, socket } = await joined(t, { tab, reconnectAfterMs: () => 1_000_000 });
  server.isStopped = true;
  for (let seconds = 0; seconds < 18; seconds += 6) {
    tab.dispatchEvent(new Event("visibilitychange"));
    clock.tick(6_000);
  }
  assert.equal(socket.status, "disconnected");
});

test("an event without a reply finds out that its line is dead", async (t) => {
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const { server, socket } = await joined(t, { tab, reconnectAfterMs: () => 1_000_000 });
  server.isStopped = true;
  socket.push("add", { item: "a" });
  clock.tick(21_001);
  assert.equal(socket.status, "disconnected");
});

test("a slow join gets more time with each try", async (t) => {
  const server = await TestServer.start(t);
  server.isStopped = true;
  const clock = new FakeClock();
  const { socket } = open(t, server, { tab: new FakeBrowser().open({ clock }), reconnectAfterMs: () => 1 });
  socket.join("form:1");
  for (const ms of [10_000, 20_000, 40_000]) {
    await server.next("phx_join");
    clock.tick(ms - 1);
    assert.equal(socket.status, "connecting");
    clock.tick(1);
    assert.equal(socket.status, "disconnected");
    clock.tick(1);
  }
});

test("a large event that is still being sent is neither sent again nor a sign of a dead line", async (t) => {
  const clock = new FakeClock();
  const tab = new FakeBrowser().open({ clock });
  const { server, socket } = await joined(t, { tab, reconnectAfterMs: () => 1_000_000 });
  server.isStopped = true;
  let left = 1_000_000;
  const [connection] = tab.connections;
  Object.defineProperty(connection, "bufferedAmount", { get: () => left });
  socket.push("add", { item: "a" });
  for (let seconds = 0; seconds < 70; seconds += 5, left -= 50_000) clock.tick(5_000);
  await until(() => server.of("add").length > 0);
  assert.deepEqual([socket.status, server.of("add").length], ["connected", 1]);
  // it is stuck now
  clock.tick(61_000);
  assert.equal(socket.status, "disconnected");
});

for (const type of ["online", "pageshow", "visibilitychange", "resume"]) {
  test(`${type} makes a waiting socket reconnect immediately`, async (t) => {
    const { server, tab, socket } = await joined(t, { reconnectAfterMs: () => 3_600_000 });
    server.cut();
    await dispatched(socket, "status");
    tab.dispatchEvent(new Event(type));
    assert.equal((await dispatched(socket, "outcome")).outcome, "recovered");
  });
}

test("a page that wakes up with a connection that its browser has closed without a word reconnects immediately", async (t) => {
  const { server, tab, socket } = await joined(t, { reconnectAfterMs: () => 3_600_000 });
  const [connection] = tab.connections;
  connection.onclose = null;
  connection.close();
  await until(() => connection.readyState === 3);
  tab.dispatchEvent(new Event("resume"));
  assert.equal((await dispatched(socket, "outcome")).outcome, "recovered");
  assert.equal(server.urls.length, 2);
});

test("a page that is shown again detects a dead connection within 10 s", async (t) => {
  const { clock, tab } = withFakeClock();
  const { server, socket } = await joined(t, { tab });
  server.isStopped = true;
  const heartbeat = server.next("heartbeat");
  tab.dispatchEvent(new Event("pageshow"));
  await heartbeat;
  clock.tick(10_000);
  assert.equal(socket.status, "disconnected");
});

test("a page that is hidden or disconnected doesn't react to wake-up events", async (t) => {
  const { server, tab, socket } = await joined(t);
  tab.document.visibilityState = "hidden";
  tab.dispatchEvent(new Event("visibilitychange"));
  tab.document.visibilityState = "visible";
  socket.disconnect();
  tab.dispatchEvent(new Event("visibilitychange"));
  await immediate();
  assert.equal(socket.status, "disconnected");
  assert.deepEqual([server.urls.length, server.of("heartbeat").length], [1, 0]);
});

test("drop closes the connection immediately and reconnects", async (t) => {
  const { server, socket } = await joined(t);
  const code = new Promise((resolve) => [...server.sockets.clients][0].on("close", resolve));
  socket.drop();
  assert.equal(socket.status, "disconnected");
  assert.equal((await dispatched(socket, "outcome")).outcome, "recovered");
  assert.equal(await code, 4000);
});

test("disconnect closes with 1000 and reconnects only on connect", async (t) => {
  const { server, socket } = await joined(t);
  const code = new Promise((resolve) => [...server.sockets.clients][0].on("close", resolve));
  socket.disconnect();
  assert.equal(await code, 1000);
  await immediate();
  assert.equal(server.urls.length, 1);
  socket.connect();
  socket.connect();
  await dispatched(socket, "outcome");
  assert.equal(server.urls.length, 2);
});

// ---------------------------------------------------------------------------------------------- Single-page apps

test("two topics, or two queries, of one path keep apart, also what is pushed before the join", async (t) => {
  const server = await TestServer.start(t);
  const { tab } = open(t, server);
  const at = (url, topic) => {
    const socket = new tab.app.RecoverySocket(url, { ...SOON, owner: "ann" });
    t.after(() => socket.leave());
    const early = socket.push("add", { item: `${url} ${topic}` });
    return { early, joined: socket.join(topic) };
  };
  for (const [url, topic] of [["/ws/?room=1", "a"], ["/ws/?room=1", "b"], ["/ws/?room=2", "a"]]) {
    const { early, joined } = at(url, topic);
    assert.deepEqual((await joined).state, []);
    assert.deepEqual((await early).state, [`${url} ${topic}`]);
  }
  assert.equal([...tab.sessionStorage.items.keys()].length, 3);
});

test("a view whose name ends with :events doesn't touch the events of another", () => {
  const tab = new FakeBrowser().open();
  const [plain, odd] = ["x", "x:events"].map((viewId) => new tab.app.Recovery(viewId, { owner: "ann" }));
  plain.push("add");
  odd.keep({ token: "t1" });
  assert.equal(JSON.parse(tab.sessionStorage.getItem("lv_recovery_x:events")).length, 1);
});

test("close keeps the events for the next socket of the view, and leave doesn't", async (t) => {
  const { server, tab, socket } = await joined(t, { owner: "ann" });
  socket.disconnect();
  const kept = socket.push("add", { item: "a" });
  socket.close();
  await assert.rejects(kept, (error) => named("EventUnconfirmed")(error) && error.reason === "closed");
  await assert.rejects(socket.push("add", { item: "late" }), named("EventLost"));
  const next = open(t, server, { tab, owner: "ann" }).socket;
  const reply = dispatched(next, "reply");
  await next.join("form:1");
  assert.deepEqual((await reply).response.state, ["a"]);
  next.disconnect();
  next.push("add", { item: "b" });
  next.leave();
  assert.deepEqual((await open(t, server, { tab, owner: "ann" }).socket.join("form:1")).state, ["a"]);
});

for (const how of ["leave", "close"]) {
  test(`a join that is still waited for is rejected by ${how}`, async (t) => {
    const server = await TestServer.start(t);
    server.isStopped = true;
    const { socket } = open(t, server);
    const joining = socket.join("form:1");
    await server.next("phx_join");
    socket[how]();
    await assert.rejects(joining, Error);
  });
}

test("a socket that is disconnected listens to nothing until it connects", async (t) => {
  const tab = new FakeBrowser().open();
  const types = [];
  const plain = tab.addEventListener.bind(tab);
  let listening = 0;
  tab.addEventListener = (type, listener, options) => {
    types.push(type);
    listening += 1;
    options.signal?.addEventListener("abort", () => listening--);
    plain(type, listener, options);
  };
  const { socket } = await joined(t, { tab });
  socket.disconnect();
  const left = listening;
  for (let round = 0; round < 3; round++) {
    socket.connect();
    await dispatched(socket, "outcome");
    socket.disconnect();
  }
  assert.equal(listening, left);
  socket.leave();
  assert.equal(listening, 0);
});
