/**
 * The real npm `phoenix` client against the example. The environment variables DEMO_URL and DEMO_VSN contain its address
 * and the protocol version. Printing the line "kill" asks the calling test to kill and restart the server.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Recovery } from "../../recovery_app/static/recovery_app/recovery.js";

const { DEMO_URL, DEMO_VSN } = process.env;
/** Version 1 of the protocol, used by clients from before 2019 and still supported by Phoenix. */
const V1 = {
  vsn: "1.0.0",
  encode: (message, callback) => callback(JSON.stringify(message)),
  decode: (text, callback) => callback(JSON.parse(text)),
};
const OPTIONS = {
  transport: WebSocket,
  reconnectAfterMs: () => 20,
  rejoinAfterMs: () => 20,
  ...(DEMO_VSN === "1.0.0" ? V1 : {}),
};

/** Connect. `closes` contains the close codes so far. */
async function connect(t, options = {}) {
  const socket = new Socket(`${DEMO_URL}/ws`, { ...OPTIONS, ...options });
  socket.closes = [];
  socket.onClose(({ code }) => socket.closes.push(code));
  const opened = new Promise((resolve) => socket.onOpen(resolve));
  socket.connect();
  t.after(() => socket.disconnect());
  await opened;
  return socket;
}

/** A channel that stores its token by itself. `joins` contains its ok replies; `next` waits for the next one. */
function open(socket, topic = "quote") {
  const channel = socket.channel(topic, () => (channel.token ? { _recovery: channel.token } : {}));
  channel.joins = [];
  let resolveNext = () => {};
  channel.next = () => new Promise((resolve) => (resolveNext = resolve));
  channel.on("recovery:token", ({ token }) => (channel.token = token));
  channel.start = () => {
    const next = channel.next();
    channel.join().receive("ok", (response) => {
      channel.token = response._recovery.token ?? channel.token;
      channel.joins.push(response);
      resolveNext(response);
    });
    return next;
  };
  return channel;
}

/** Push an event and return its reply. */
function push(channel, event, payload = {}) {
  return new Promise((resolve, reject) =>
    channel.push(event, payload).receive("ok", resolve).receive("error", reject).receive("timeout", reject),
  );
}

const name = (channel, value) => push(channel, "set_field", { field: "customer", value });
const outcomes = (channel) => channel.joins.map(({ _recovery }) => _recovery.outcome);

test("a join is answered with a state and a token, and a push with a reply", async (t) => {
  const channel = open(await connect(t));
  const { quote, _recovery } = await channel.start();
  assert.match(quote.number, /^Q-\d{4}$/);
  const { token, owner, ...rest } = _recovery;
  assert.match(token, /^[\w-]{64}$/);
  assert.match(owner, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, { outcome: "new", ttl: 3600, seq: 0 });
  assert.equal((await name(channel, "Finch")).quote.fields.customer, "Finch");
});

test("a socket with an authToken connects", async (t) => {
  const socket = await connect(t, { authToken: "a token of the page's own" });
  assert.equal(socket.conn.protocol, "phoenix");
  assert.equal((await open(socket).start())._recovery.outcome, "new");
});

test("heartbeats are answered", async (t) => {
  const socket = await connect(t, { heartbeatIntervalMs: 1_500 });
  await new Promise((resolve) => {
    socket.onMessage(({ topic, event }) => topic === "phoenix" && event === "phx_reply" && resolve());
  });
  assert.equal(await new Promise((resolve) => socket.ping((ms) => resolve(typeof ms))), "number");
  assert.deepEqual(socket.closes, []);
});

test("the state is restored after each cut, with the rotated token of the previous reply", async (t) => {
  const socket = await connect(t);
  const channel = open(socket);
  const first = await channel.start();
  for (const customer of ["Alder", "Finch", "Heron"]) {
    await name(channel, customer);
    const next = channel.next();
    socket.conn.terminate();
    const { quote } = await next;
    assert.equal(quote.fields.customer, customer);
    assert.equal(quote.number, first.quote.number);
  }
  assert.deepEqual(outcomes(channel), ["new", "recovered", "recovered", "recovered"]);
  assert.equal(new Set(channel.joins.map(({ _recovery }) => _recovery.token)).size, 4);
});

test("an event pushed while offline arrives after the join", async (t) => {
  const socket = await connect(t);
  const channel = open(socket);
  await channel.start();
  socket.conn.terminate();
  await new Promise((resolve) => socket.onClose(resolve));
  assert.equal((await name(channel, "Offline")).quote.fields.customer, "Offline");
  assert.deepEqual(outcomes(channel), ["new", "recovered"]);
});

test("two pages of one user have separate states", async (t) => {
  const channels = [open(await connect(t)), open(await connect(t))];
  await Promise.all(channels.map((channel) => channel.start()));
  await Promise.all(channels.map((channel, index) => name(channel, `Page ${index}`)));
  for (const [index, channel] of channels.entries()) {
    assert.equal((await push(channel, "nothing")).quote.fields.customer, `Page ${index}`);
  }
});

test("a duplicated page continues with a copy of the state", async (t) => {
  const [original, copy] = [open(await connect(t)), open(await connect(t))];
  await original.start();
  await name(original, "Shared");
  copy.token = original.token;
  assert.equal((await copy.start()).quote.fields.customer, "Shared");
  await name(original, "The original's");
  await name(copy, "The copy's");
  assert.notEqual(original.token, original.joins[0]._recovery.token);
  for (const [channel, customer] of [[original, "The original's"], [copy, "The copy's"]]) {
    const next = channel.next();
    channel.socket.conn.terminate();
    const { quote, _recovery } = await next;
    assert.deepEqual([quote.fields.customer, _recovery.outcome], [customer, "recovered"]);
  }
});

test("a duplicate join closes the first channel and takes over its state", async (t) => {
  const socket = await connect(t);
  const [first, second] = [open(socket), open(socket)];
  await first.start();
  await name(first, "Twice");
  const closed = new Promise((resolve) => first.onClose(resolve));
  // Hide the first channel: the npm client doesn't allow two of the same topic.
  socket.channels = socket.channels.filter((channel) => channel !== first);
  second.token = first.token;
  const joined = second.start();
  socket.channels.push(first);
  const { quote, _recovery } = await joined;
  await closed;
  assert.deepEqual([quote.fields.customer, _recovery.outcome], ["Twice", "recovered"]);
  assert.equal((await name(second, "Again")).quote.fields.customer, "Again");
});

test("leave closes the channel, and joining again restores the state", async (t) => {
  const socket = await connect(t);
  const channel = open(socket);
  await channel.start();
  await name(channel, "Left");
  const closed = new Promise((resolve) => channel.onClose(resolve));
  await new Promise((resolve) => channel.leave().receive("ok", resolve));
  await closed;
  const again = open(socket);
  again.token = channel.token;
  const { quote, _recovery } = await again.start();
  assert.deepEqual([quote.fields.customer, _recovery.outcome], ["Left", "recovered"]);
});

test("an unknown topic is refused", async (t) => {
  const socket = await connect(t);
  const channel = socket.channel("nothing:here");
  const error = await new Promise((resolve) => channel.join().receive("error", resolve));
  channel.leave();
  assert.deepEqual(error, { reason: "unmatched topic" });
});

test("a killed server restores the state after its restart", async (t) => {
  const socket = await connect(t);
  const channel = open(socket);
  await channel.start();
  await name(channel, "Survivor");
  const next = channel.next();
  console.log("kill");
  const { quote, _recovery } = await next;
  assert.deepEqual([quote.fields.customer, _recovery.outcome], ["Survivor", "recovered"]);
  assert.equal((await name(channel, "And on")).quote.fields.customer, "And on");
  assert.ok(socket.closes.length > 0);
});

// ---------------------------------------------------------------------------------------------- With recovery.js

let views = 0;

/** A view with recovery.js. `outcomes` waits for the next join's outcome. */
function recovered(socket) {
  const recovery = new Recovery(`quote ${++views}`, { storage: "none" });
  recovery.outcomes = () => new Promise((resolve) => recovery.addEventListener("outcome", ({ detail }) => resolve(detail), { once: true }));
  recovery.name = (value) => recovery.push("set_field", { field: "customer", value });
  recovery.channel(socket, "quote").join();
  return recovery;
}

const range = (length) => Array.from({ length }, (_, index) => index + 1);

test("recovery.js stores and sends the token", async (t) => {
  const socket = await connect(t);
  const recovery = recovered(socket);
  await recovery.outcomes();
  await recovery.name("By itself");
  const second = recovery.outcomes();
  socket.conn.terminate();
  const { outcome, response, elapsedMs } = await second;
  assert.deepEqual([outcome, response.quote.fields.customer], ["recovered", "By itself"]);
  assert.ok(elapsedMs < 1000);
});

test("with cuts at any time, each event is applied once and gets its own reply", async (t) => {
  const socket = await connect(t);
  const recovery = recovered(socket);
  await recovery.outcomes();
  const replies = [];
  for (const number of range(100)) {
    replies.push(recovery.name(`Name ${number}`));
    if (number % 9 === 0) socket.conn?.terminate();
    if (number % 4 === 0) await recovery.name(`Waits ${number}`).then((reply) => replies.push(reply));
  }
  const quotes = (await Promise.all(replies)).map(({ quote }) => quote.changes);
  assert.deepEqual(quotes.sort((one, other) => one - other), range(125));
});

test("an event whose reply was lost is resent", async (t) => {
  const socket = await connect(t);
  const recovery = recovered(socket);
  await recovery.outcomes();
  socket.conn.onmessage = () => socket.conn.terminate();
  const { quote } = await recovery.name("Once");
  assert.deepEqual([quote.fields.customer, quote.changes], ["Once", 1]);
  assert.equal((await recovery.name("Twice")).quote.changes, 2);
});

test("a killed server applies each event once", async (t) => {
  const socket = await connect(t);
  const recovery = recovered(socket);
  await recovery.outcomes();
  const replies = range(40).map((number) => recovery.name(`Name ${number}`));
  await replies[5];
  console.log("kill");
  replies.push(recovery.name("The last one"));
  assert.deepEqual((await Promise.all(replies)).map(({ quote }) => quote.changes), range(41));
});
