/** Events: each is applied and answered exactly once, with either transport. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BrokenStorage, FakeBrowser, FakeClock, FakeStorage, record, dispatched } from "./support/browser.js";
import { immediate, KEY, onEachTransport, Page, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** A page whose timers only advance with `tick`; the server still replies in real time. */
const withFakeClock = () => {
  const clock = new FakeClock();
  return { tab: new FakeBrowser().open({ clock }), clock };
};
const named = (name) => (error) => error instanceof Error && error.name === name;
const numbers = (server, event = "add") => server.of(event).map(({ payload }) => payload._seq);
const items = (server, event = "add") => server.of(event).map(({ payload }) => payload.item);
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

// ---------------------------------------------------------------------------------------------- Replies and numbers

onEachTransport(test, "push returns the reply without `_recovery`", async (page) => {
  await page.joined();
  assert.deepEqual(await page.view.push("add", { item: "a" }), { state: ["a"] });
  await assert.rejects(page.view.push("refuse"), (error) => {
    assert.deepEqual([error.name, error.event, error.response], ["EventRefused", "refuse", { reason: "no" }]);
    return true;
  });
});

onEachTransport(test, "each event has the next number, and acknowledges the replies received", async (page, server) => {
  await page.joined();
  for (const item of ["a", "b"]) await page.view.push("add", { item, _seq: 9, _ack: 9 });
  await Promise.all(page.add("c", "d"));
  assert.deepEqual(server.of("add").map(({ payload }) => payload), [
    { item: "a", _seq: 1, _ack: 0, _line: server.line },
    { item: "b", _seq: 2, _ack: 1, _line: server.line },
    { item: "c", _seq: 3, _ack: 2, _line: server.line },
    { item: "d", _seq: 4, _ack: 2, _line: server.line },
  ]);
});

onEachTransport(test, "numbers continue after cuts and reloads", async (page, server) => {
  await page.joined();
  await page.add("a")[0];
  await page.cut();
  await page.add("b")[0];
  const reloaded = page.reload();
  await reloaded.joined();
  await reloaded.add("c")[0];
  assert.deepEqual([numbers(server), items(server)], [[1, 2, 3], ["a", "b", "c"]]);
});

onEachTransport(test, "an event over which the server closes the connection is given up, and no other", async (page, server) => {
  server.maxChars = 200;
  await page.joined();
  const lost = record(page.view, "lost");
  const [early, big, bigger, late] = page.add("early", "x".repeat(300), "y".repeat(400), "late");
  for (const each of [big, bigger]) {
    await assert.rejects(each, (error) => error.name === "EventLost" && error.reason === "too_large");
  }
  await early;
  assert.deepEqual((await late).state, ["early", "late"]);
  assert.deepEqual(lost.map(([, { reason }]) => reason), ["too_large", "too_large"]);
  assert.deepEqual(page.view.pending, []);
});

onEachTransport(test, "events that were applied before another message was too large are neither lost nor repeated", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  server.closesBehind = 2;
  const replies = page.add("a much larger event", "b", "c");
  await until(() => server.urls.length > 1);
  server.isSlow = false;
  await Promise.all(replies);
  assert.deepEqual((await page.add("d")[0]).state, ["a much larger event", "b", "c", "d"]);
});

onEachTransport(test, "a connection that is closed over its join gives no event up", async (page, server) => {
  const [early] = page.add("early");
  server.maxChars = 20;
  page.join();
  await until(() => server.urls.length > 2);
  server.maxChars = Infinity;
  assert.deepEqual((await early).state, ["early"]);
});

onEachTransport(test, "nor one that was on its way when an earlier connection was cut", async (page, server) => {
  await page.joined();
  server.overlooked = 1;
  const [reply] = page.add("a");
  await until(() => items(server).length === 1);
  server.maxChars = 20;
  server.cut();
  await until(() => server.urls.length > 3);
  server.maxChars = Infinity;
  assert.deepEqual((await reply).state, ["a"]);
});

onEachTransport(test, "a payload is copied when it is pushed", async (page) => {
  const payload = { item: "a" };
  const reply = page.view.push("add", payload);
  payload.item = "b";
  await page.joined();
  assert.deepEqual((await reply).state, ["a"]);
});

for (const payload of [{ item: 1n }, null, 7, "text", ["a"]]) {
  onEachTransport(test, `a payload that isn't a JSON object is rejected, and later events still work: ${typeof payload}`, async (page) => {
    await page.joined();
    await assert.rejects(page.view.push("add", payload), TypeError);
    assert.deepEqual(await page.add("a")[0], { state: ["a"] });
  });
}

/** An object nested so many levels deep. */
const nested = (levels) => (levels === 0 ? 1 : { inner: nested(levels - 1) });

for (const [what, event, payload] of [
  ["a name that isn't a string", 7, {}],
  ["the name of a join", "phx_join", {}],
  ["the name of a leave", "phx_leave", {}],
  ["a payload too deep for the server to read", "add", nested(501)],
]) {
  onEachTransport(test, `an event that the server wouldn't accept is rejected, and later events still work: ${what}`, async (page, server) => {
    await page.joined();
    const replies = page.add("a");
    await assert.rejects(page.view.push(event, payload), TypeError);
    replies.push(page.view.push("add", { item: nested(499) }), ...page.add("b"));
    assert.equal((await Promise.all(replies)).at(-1).state.length, 3);
    assert.deepEqual(numbers(server), [1, 2, 3]);
  });
}

onEachTransport(test, "pending returns the events without a reply, oldest first", async (page) => {
  const replies = page.add("a", "b");
  assert.deepEqual(page.view.pending, ["a", "b"].map((item) => ({ event: "add", payload: { item } })));
  await page.joined();
  await Promise.all(replies);
  assert.deepEqual([page.view.pending, page.stored], [[], []]);
});

// ---------------------------------------------------------------------------------------------- Cuts

onEachTransport(test, "events pushed before the join or while offline are sent in order after the join", async (page, server) => {
  const replies = page.add("a", "b");
  await page.joined();
  await Promise.all(replies);
  page.goOffline();
  replies.push(...page.add("c", "d"));
  await page.back();
  replies.push(...page.add("e"));
  assert.deepEqual((await Promise.all(replies)).map(({ state }) => state.length), [1, 2, 3, 4, 5]);
  assert.deepEqual(items(server), ["a", "b", "c", "d", "e"]);
});

onEachTransport(test, "an event whose reply was lost is resent, applied once, and gets its first reply", async (page, server) => {
  await page.joined();
  const notes = record(page.view, "lost", "reply");
  const reply = page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  const { response } = await page.cut();
  assert.deepEqual(response.state, ["a"]);
  assert.deepEqual(await reply, { late: "add_without_reply" });
  assert.deepEqual((await page.add("b")[0]).state, ["a", "b"]);
  assert.deepEqual([numbers(server, "add_without_reply"), notes], [[1, 1], []]);
});

onEachTransport(test, "a resent event whose first reply the server has dropped gets an empty reply", async (page, server) => {
  server.ring = 0;
  await page.joined();
  const reply = page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  await page.cut();
  assert.deepEqual(await reply, {});
});

onEachTransport(test, "an event that never arrived is resent", async (page, server) => {
  await page.joined();
  server.isStopped = true;
  const reply = page.add("a")[0];
  await server.next("add");
  server.isStopped = false;
  await page.cut();
  assert.deepEqual((await reply).state, ["a"]);
});

onEachTransport(test, "with cuts at any time, all events are applied once and in order", async (page, server) => {
  await page.joined();
  const replies = [];
  for (const item of range(1, 200)) {
    replies.push(...page.add(item));
    if (item % 17 === 0) server.cut();
    if (item % 5 === 0) await immediate();
  }
  const states = await Promise.all(replies);
  assert.deepEqual(states.at(-1).state, range(1, 200));
  assert.deepEqual(states.map(({ state }) => state.length), range(1, 200));
});

onEachTransport(test, "a crashed channel loses no event", async (page, server) => {
  await page.joined();
  const replies = [page.view.push("crash"), ...page.add("a")];
  assert.deepEqual((await Promise.all(replies))[1].state, ["a"]);
  assert.equal(server.urls.length, 1);
});

onEachTransport(test, "a server that has forgotten the join is joined again", async (page, server) => {
  await page.joined();
  server.forgetJoins();
  const outcome = dispatched(page.view, "outcome");
  const replies = page.add("a", "b");
  assert.equal((await outcome).outcome, "recovered");
  assert.deepEqual((await Promise.all(replies))[1].state, ["a", "b"]);
  assert.equal(server.joins.length, 2);
});

onEachTransport(test, "events pushed in a listener for the join come after those pushed before", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const late = [];
  page.view.addEventListener("status", () => page.view.status === "connected" && late.push(...page.add("b")));
  page.view.addEventListener("outcome", () => late.push(...page.add("c")), { once: true });
  await page.back();
  await Promise.all(late);
  assert.deepEqual(items(server), ["a", "c", "b"]);
});

for (const type of ["status", "outcome"]) {
  onEachTransport(test, `a page that closes the connection in its ${type} listener loses no event`, async (page) => {
    await page.joined();
    page.goOffline();
    const replies = page.add("a");
    const cut = () => page.view.status === "connected" && (page.view.removeEventListener(type, cut), page.goOffline());
    page.view.addEventListener(type, cut);
    const left = dispatched(page.view, "outcome");
    page.goOnline();
    await left;
    await until(() => page.view.status === "disconnected");
    await page.back();
    assert.deepEqual((await replies[0]).state, ["a"]);
  });
}

// ---------------------------------------------------------------------------------------------- Events in flight

onEachTransport(test, "at most 32 events await a reply at the same time", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  const replies = page.add(...range(1, 100));
  await until(() => items(server).length === 32);
  await page.view.push("nothing").catch(() => {}, server.release());
  assert.deepEqual((await Promise.all(replies)).at(-1).state, range(1, 100));
  assert.deepEqual(numbers(server), range(1, 100));
});

onEachTransport(test, "waiting events already have numbers, in case the tab is duplicated", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  page.add(...range(1, 40));
  assert.deepEqual(page.duplicate().stored.map(({ seq }) => seq), range(1, 40));
});

onEachTransport(test, "while a reply is missing, not so many events are sent that the server would drop it", async (page, server) => {
  await page.joined();
  const missing = page.view.push("add_without_reply", { item: 1 });
  const replies = page.add(...range(2, 100));
  await until(() => page.view.pending.length === 69);
  assert.deepEqual(numbers(server), range(2, 32));
  page.options.clock.tick(10_000);
  assert.deepEqual(await missing, { late: "add_without_reply" });
  assert.deepEqual((await Promise.all(replies)).at(-1).state, range(1, 100));
}, withFakeClock);

onEachTransport(test, "an event without a reply after 10 s is resent on the same connection", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  const replies = page.add("a", "b");
  await until(() => items(server).length === 2);
  page.options.clock.tick(9_999);
  await immediate();
  assert.equal(items(server).length, 2);
  page.options.clock.tick(1);
  await until(() => items(server).length === 4);
  page.options.clock.tick(10_000);
  await until(() => items(server).length === 6);
  server.release();
  assert.deepEqual((await Promise.all(replies)).map(({ state }) => state.length), [1, 2]);
  assert.deepEqual([numbers(server), server.urls.length], [[1, 2, 1, 2, 1, 2], 1]);
}, withFakeClock);

onEachTransport(test, "the resend timer is restarted by a reply, but not by more events", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  page.add("a");
  page.options.clock.tick(6_000);
  page.add("b");
  page.options.clock.tick(4_000);
  await until(() => items(server).length === 4);
  server.release();
  await until(() => page.view.pending.length === 0);
  server.isSlow = true;
  page.options.clock.tick(5_000);
  const frames = server.frames.length;
  page.add("c");
  await until(() => server.frames.length === frames + 1);
  page.options.clock.tick(9_999);
  await immediate();
  assert.equal(server.frames.length, frames + 1);
}, withFakeClock);

onEachTransport(test, "an event that the server missed is resent once, with all events after it", async (page, server) => {
  await page.joined();
  await page.add("a")[0];
  server.overlooked = 2;
  const replies = page.add("b", "c", "d", "e", "f");
  assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b", "c", "d", "e", "f"]);
  assert.deepEqual(numbers(server), [1, ...range(2, 6), ...range(2, 6)]);
});

test("a reply from the application may contain any reason", async () => {
  const { view, sent, joined } = withTestTransport();
  joined("new");
  const reply = view.push("add");
  sent[0][1]({ status: "ok", response: { reason: "seq_gap", _recovery: { seq: 1 } } });
  assert.deepEqual(await reply, { reason: "seq_gap" });
});

test("a gap that is reported repeatedly is filled after the timeout, not in a busy loop", () => {
  const { view, clock, sent, joined } = withTestTransport();
  const gap = { status: "error", response: { reason: "seq_gap", seq: 0, _recovery: { seq: 0 } } };
  joined("new");
  view.push("add");
  view.push("add");
  const overlookFirst = () => sent.filter(([{ _seq }]) => _seq === 2).at(-1)[1](gap);
  overlookFirst();
  assert.equal(sent.length, 4);
  overlookFirst();
  overlookFirst();
  assert.equal(sent.length, 4);
  clock.tick(10_000);
  assert.deepEqual(sent.map(([{ _seq }]) => _seq), [1, 2, 1, 2, 1, 2]);
  sent[4][1]({ status: "ok", response: { _recovery: { seq: 1 } } });
  sent[5][1]({ status: "ok", response: { _recovery: { seq: 2 } } });
  assert.deepEqual(view.pending, []);
});

/** A view with a test transport: `sent` contains [payload, onReply] pairs. */
function withTestTransport() {
  const { tab, clock } = withFakeClock();
  const view = new tab.app.Recovery("form");
  const sent = [];
  const transport = {
    isOpen: true,
    send: (event, payload, onReply) => transport.isOpen && sent.push([payload, onReply]) > 0,
    rejoins: 0,
    rejoin: () => void transport.rejoins++,
  };
  view.carry(transport);
  const joined = (outcome, seq = 0) => view.joined({ _recovery: { token: "t1", outcome, ttl: 300, seq, owner: "ann" } });
  const stored = () => JSON.parse(tab.sessionStorage.getItem(`${KEY}:events`) ?? "[]").length;
  return { view, clock, sent, transport, joined, stored };
}

test("an event that can't be sent now is sent after the timeout, or with the next one", () => {
  const { view, clock, sent, transport, joined } = withTestTransport();
  joined("new");
  transport.isOpen = false;
  view.push("add");
  transport.isOpen = true;
  clock.tick(10_000);
  assert.deepEqual(sent.map(([{ _seq }]) => _seq), [1]);
  transport.isOpen = false;
  view.push("add");
  transport.isOpen = true;
  view.push("add");
  assert.deepEqual(sent.map(([{ _seq }]) => _seq), [1, 2, 3]);
});

for (const ended of ["dropped", "joinPayload"]) {
  test(`a reply that arrives after the disconnect isn't taken for one of the next connection: ${ended}`, () => {
    const { view, sent, joined, stored } = withTestTransport();
    joined("new");
    view.push("add");
    view[ended]();
    joined("expired");
    view.push("add");
    sent[0][1]({ status: "ok", response: { _recovery: { seq: 50 } } });
    sent[1][1]({ status: "ok", response: { _recovery: { seq: 0 } } });
    assert.equal(stored(), 1);
  });
}

test("nothing is sent on a connection that the page closed in its outcome listener", () => {
  const { view, sent, joined } = withTestTransport();
  view.push("add");
  view.addEventListener("outcome", () => view.dropped(), { once: true });
  joined("new");
  assert.deepEqual(sent, []);
  joined("recovered");
  assert.equal(sent.length, 1);
});

test("a connection that the page closed in its outcome listener isn't joined again", () => {
  const { view, clock, transport, joined } = withTestTransport();
  joined("new");
  view.joinPayload();
  joined("unavailable");
  clock.tick(10_000);
  assert.equal(transport.rejoins, 1);
  view.addEventListener("outcome", () => view.dropped(), { once: true });
  joined("unavailable");
  clock.tick(60_000);
  assert.equal(transport.rejoins, 1);
});

test("a server that reports a missing join for several events is joined once", () => {
  const { view, clock, sent, transport, joined } = withTestTransport();
  joined("new");
  view.push("add");
  view.push("add");
  for (const [, onReply] of sent) onReply({ status: "error", response: { reason: "unmatched topic" } });
  clock.tick(60_000);
  assert.deepEqual([transport.rejoins, sent.length, view.pending.length], [1, 2, 2]);
});

test("if the server loses a stored event while joined, the events after it are reported as lost", async () => {
  const { view, sent, joined } = withTestTransport();
  joined("new");
  view.push("add", { item: "a" });
  sent[0][1]({ status: "ok", response: { _recovery: { seq: 1 } } });
  const lost = view.push("add", { item: "b" });
  view.addEventListener("lost", () => view.push("add", { item: "c" }));
  sent[1][1]({ status: "error", response: { reason: "seq_gap", seq: 0, _recovery: { seq: 0 } } });
  await assert.rejects(lost, (error) => error.reason === "rolled_back");
  assert.deepEqual(sent.map(([payload]) => payload), [
    { item: "a", _seq: 1, _ack: 0 },
    { item: "b", _seq: 2, _ack: 1 },
    { item: "c", _seq: 1, _ack: 0 },
  ]);
});

test("a view without a transport isn't rejoined automatically", () => {
  const { tab, clock } = withFakeClock();
  new tab.app.Recovery("form").joined({ _recovery: { token: null, outcome: "unavailable", ttl: 300, seq: 0 } });
  clock.tick(60_000);
});

test("a transport may be a class instance", async () => {
  const { tab } = withFakeClock();
  const view = new tab.app.Recovery("form");
  view.carry(new (class {
    #response = { count: 1 };

    send(event, payload, onReply) {
      onReply({ status: "ok", response: { ...this.#response, _recovery: { seq: payload._seq } } });
      return true;
    }
  })());
  view.joined({ _recovery: { token: "t1", outcome: "new", ttl: 300, seq: 0 } });
  assert.deepEqual(await view.push("add"), { count: 1 });
});

test("a transport's timeout loses no event", async () => {
  const { view, clock, sent, joined, stored } = withTestTransport();
  joined("new");
  const reply = view.push("add");
  sent[0][1]({ status: "timeout", response: {} });
  assert.equal(stored(), 1);
  clock.tick(10_000);
  sent[1][1]({ status: "ok", response: { count: 1, _recovery: { seq: 1 } } });
  assert.deepEqual(await reply, { count: 1 });
});

test("without recovery, a transport's timeout loses the event, and is reported once", async () => {
  const { view, sent } = withTestTransport();
  view.joined({});
  const notes = record(view, "lost");
  const reply = view.push("add");
  sent[0][1]({ status: "timeout", response: {} });
  await assert.rejects(reply, named("EventUnconfirmed"));
  const answered = view.push("add");
  sent[1][1]({ status: "ok", response: {} });
  sent[1][1]({ status: "timeout", response: {} });
  assert.deepEqual([await answered, notes.length], [{}, 1]);
});

test("events pushed during a disconnect wait for the next join", () => {
  const { view, sent } = withTestTransport();
  view.joined({});
  view.addEventListener("lost", () => view.push("add", { item: "b" }));
  view.push("add", { item: "a" });
  view.dropped();
  assert.deepEqual([sent.map(([payload]) => payload), view.pending.length], [[{ item: "a" }], 1]);
});

test("an event that the npm client can't send now isn't also put into its buffer", async (t) => {
  const server = await TestServer.start(t);
  const page = new Page(t, server, "the npm client");
  await page.joined();
  page.socket.conn.close();
  const replies = page.add("a", "b");
  assert.deepEqual(page.channel.pushBuffer, []);
  await dispatched(page.view, "outcome");
  assert.deepEqual((await Promise.all(replies))[1].state, ["a", "b"]);
  assert.deepEqual(items(server), ["a", "b"]);
});

test("a channel of the npm client isn't rejoined after leave", async (t) => {
  const { tab, clock } = withFakeClock();
  const server = await TestServer.start(t);
  const page = new Page(t, server, "the npm client", { tab });
  page.view.keep({ token: "token-0" });
  server.outcomes.push("unavailable");
  await page.joined();
  page.channel.leave();
  clock.tick(60_000);
  await server.next("phx_leave");
  assert.deepEqual([page.channel.state, server.joins.length], ["closed", 1]);
});

test("an event pushed with the channel's own push has no number", async (t) => {
  const server = await TestServer.start(t);
  const page = new Page(t, server, "the npm client");
  await page.joined();
  await new Promise((resolve) => page.channel.push("add", { item: "a" }).receive("ok", resolve));
  assert.deepEqual(server.of("add")[0].payload, { item: "a" });
});

// ---------------------------------------------------------------------------------------------- Stored events

onEachTransport(test, "an event is queued until it is stored, and resent if it was not", async (page, server) => {
  await page.joined();
  await page.add("a")[0];
  server.isSaving = false;
  const notes = record(page.view, "lost", "reply");
  const states = (await Promise.all(page.add(...range(1, 50)))).map(({ state }) => state.length);
  assert.deepEqual([page.view.pending, page.stored.length], [[], 50]);
  const sent = server.of("add").length;
  const { response } = await page.cut();
  assert.deepEqual(response.state, ["a"]);
  await until(() => server.of("add").length > sent);
  assert.deepEqual(server.of("add")[sent].payload, { item: 1, _seq: 2, _ack: 51, _line: server.line });
  assert.deepEqual((await page.add("z")[0]).state, ["a", ...range(1, 50), "z"]);
  assert.deepEqual([states, notes], [range(2, 51), []]);
});

onEachTransport(test, "a reply tells which events are stored, and they are removed", async (page, server) => {
  await page.joined();
  server.isSaving = false;
  await Promise.all(page.add("a", "b"));
  server.save();
  await page.add("c")[0];
  assert.deepEqual(page.stored.map(({ payload }) => payload.item), ["c"]);
  server.save();
  await page.cut();
  assert.deepEqual(page.stored, []);
});

onEachTransport(test, "the last event is resent after the timeout to learn what was stored, so that a full queue is emptied", async (page, server) => {
  await page.joined();
  server.isSaving = false;
  await Promise.all(page.add("a", "b"));
  await assert.rejects(page.add("c")[0], named("QueueFull"));
  page.options.clock.tick(10_000);
  await until(() => numbers(server).length === 3);
  await assert.rejects(page.add("c")[0], named("QueueFull"));
  server.save();
  await until(() => (page.options.clock.tick(10_000), page.stored.length === 0));
  assert.deepEqual((await page.add("d")[0]).state, ["a", "b", "d"]);
  assert.deepEqual(new Set(numbers(server).slice(2, -1)), new Set([2]));
}, () => ({ ...withFakeClock(), maxKept: 2 }));

onEachTransport(test, "if the storage lost a stored event, the events after it are reported as lost", async (page, server) => {
  await page.joined();
  await Promise.all(page.add("a", "b", "c"));
  server.isSaving = false;
  await page.add("d")[0];
  page.goOffline();
  const unsent = page.add("e")[0];
  server.rollBack(1);
  server.isSaving = true;
  const notes = record(page.view, "lost");
  assert.equal((await page.back()).outcome, "recovered");
  await assert.rejects(unsent, named("EventLost"));
  assert.deepEqual(notes.map(([, { reason, events }]) => [reason, events.map(({ payload }) => payload.item)]), [
    ["rolled_back", ["d", "e"]],
  ]);
  assert.deepEqual((await page.add("f")[0]).state, ["a", "f"]);
  assert.equal(numbers(server).at(-1), 2);
});

onEachTransport(test, "events that the storage still has get their replies", async (page, server) => {
  await page.joined();
  const reply = page.view.push("add_without_reply", { item: "a" });
  await Promise.all(page.add("b", "c"));
  page.goOffline();
  const lost = page.add("d")[0];
  server.rollBack(1);
  await page.back();
  await assert.rejects(lost, named("EventLost"));
  assert.deepEqual(await reply, { late: "add_without_reply" });
});

onEachTransport(test, "the same if none was sent since", async (page, server) => {
  await page.joined();
  await Promise.all(page.add("a", "b"));
  page.goOffline();
  const unsent = page.add("c")[0];
  server.rollBack(1);
  await page.back();
  await assert.rejects(unsent, (error) => named("EventLost")(error) && error.reason === "rolled_back");
  assert.deepEqual((await page.add("d")[0]).state, ["a", "d"]);
});

// ---------------------------------------------------------------------------------------------- Outcomes

for (const outcome of ["expired", "not_found", "superseded", "rejected", "new"]) {
  onEachTransport(test, `after ${outcome} queued events are reported as lost, not sent, and numbers restart`, async (page, server) => {
    await page.joined();
    server.isSaving = false;
    await page.add("safe or not")[0];
    const notes = record(page.view, "outcome", "lost");
    page.goOffline();
    const replies = page.add("a", "b");
    server.outcomes.push(outcome);
    page.goOnline();
    for (const reply of replies) await assert.rejects(reply, named("EventLost"));
    await page.add("c")[0];
    assert.deepEqual([items(server), numbers(server)], [["safe or not", "c"], [1, 1]]);
    const lines = server.of("add").map(({ payload }) => payload._line);
    assert.notEqual(lines[0], lines[1], "a number alone would be taken for the one before");
    assert.deepEqual(notes.map(([type, { outcome, reason }]) => [type, outcome ?? reason]), [["lost", outcome], ["outcome", outcome]]);
    assert.deepEqual(notes[0][1].events.map(({ payload }) => payload.item), ["safe or not", "a", "b"]);
  });
}

onEachTransport(test, "the count of stored events restarts with the numbers", async (page, server) => {
  await page.joined();
  await Promise.all(page.add("a", "b", "c"));
  server.outcomes.push("expired");
  await page.cut();
  server.isSaving = false;
  await page.add("d")[0];
  await page.cut();
  assert.deepEqual((await page.add("e")[0]).state, ["d", "e"]);
});

onEachTransport(test, "after the first join, events from before it belong to its state, whether sent or not", async (page, server) => {
  server.isSlow = true;
  const replies = page.add(...range(1, 40));
  await page.joined();
  await until(() => items(server).length === 32);
  server.outcomes.push("expired");
  const lost = dispatched(page.view, "lost");
  await page.cut();
  assert.deepEqual((await lost).events.map(({ payload }) => payload.item), range(1, 40));
  await assert.rejects(replies[39], named("EventLost"));
});

onEachTransport(test, "an event pushed in a lost listener is sent", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  server.outcomes.push("expired");
  const replies = [];
  page.view.addEventListener("lost", () => replies.push(...page.add("b")));
  await page.back();
  assert.deepEqual((await replies[0]).state, ["b"]);
});

onEachTransport(test, "events from before a page's first join are sent even if its state is gone", async (page, server) => {
  const reply = page.add("a")[0];
  server.outcomes.push("expired");
  await page.joined();
  assert.deepEqual((await reply).state, ["a"]);
});

for (const outcome of ["version", "unavailable"]) {
  onEachTransport(test, `after ${outcome} nothing is sent or lost until the state is back`, async (page, server) => {
    await page.joined();
    await page.add("a")[0];
    page.goOffline();
    const replies = page.add("b");
    server.outcomes.push(outcome, outcome, outcome);
    const notes = record(page.view, "outcome", "lost", "reply");
    page.view.addEventListener("outcome", () => replies.push(...page.add("c")), { once: true });
    page.goOnline();
    await until(() => notes.length === 4);
    assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b", "c"]);
    assert.deepEqual(notes.map(([, detail]) => detail.outcome), [outcome, outcome, outcome, "recovered"]);
    assert.deepEqual(server.joins.map(({ _recovery }) => _recovery), [undefined, ...Array(4).fill("token-1")]);
    assert.deepEqual(items(server), ["a", "b", "c"]);
    const ownConnections = page.way === "the npm client" ? 1 : 4;
    assert.equal(server.urls.length, 1 + ownConnections);
  });

  onEachTransport(test, `a page that has no token works during ${outcome}`, async (page, server) => {
    const replies = page.add("a");
    server.outcomes.push(outcome);
    const { isWaiting } = await page.joined();
    replies.push(...page.add("b"));
    assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b"]);
    assert.deepEqual([isWaiting, server.joins.length], [false, 1]);
  });
}

onEachTransport(test, "each join that doesn't restore the state is retried after a longer wait", async (page, server) => {
  const { tries } = page.options;
  await page.joined();
  server.outcomes.push("unavailable", "version", "unavailable");
  await page.cut();
  await page.add("a")[0];
  assert.deepEqual(tries.splice(0), [1, 2, 3]);
  server.outcomes.push("unavailable");
  await page.cut();
  await page.add("b")[0];
  assert.deepEqual(tries, [1]);
}, () => {
  const tries = [];
  return { tries, rejoinAfterMs: (count) => (tries.push(count), 1) };
});

onEachTransport(test, "a join that didn't restore the state isn't retried once its connection is lost", async (page, server) => {
  page.tab.sessionStorage.setItem(KEY, "token-0");
  page.view.keep({ token: "token-0" });
  server.outcomes.push("unavailable");
  await page.joined();
  page.goOffline();
  page.options.clock.tick(20_000);
  await immediate();
  assert.deepEqual([server.joins.length, page.view.status], [1, "disconnected"]);
  assert.equal((await page.back()).outcome, "not_found");
  page.options.clock.tick(20_000);
  await page.add("a")[0];
  assert.equal(server.joins.length, 2);
}, withFakeClock);

// ---------------------------------------------------------------------------------------------- Reloads

onEachTransport(test, "unsent events survive a reload, and the page gets their replies", async (page, server) => {
  await page.joined();
  await page.add("a")[0];
  page.goOffline();
  page.add("b");
  page.view.push("refuse");
  const reloaded = page.reload();
  const notes = record(reloaded.view, "reply", "lost");
  await reloaded.joined();
  assert.deepEqual((await reloaded.add("c")[0]).state, ["a", "b", "c"]);
  assert.deepEqual(notes, [
    ["reply", { event: "add", payload: { item: "b" }, status: "ok", response: { state: ["a", "b"] } }],
    ["reply", { event: "refuse", payload: {}, status: "error", response: { reason: "no" } }],
  ]);
  assert.deepEqual([reloaded.view.pending, reloaded.stored], [[], []]);
});

onEachTransport(test, "an event in flight during a reload is applied once", async (page, server) => {
  await page.joined();
  page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  const reloaded = page.reload();
  const reply = dispatched(reloaded.view, "reply");
  assert.deepEqual((await reloaded.joined()).response.state, ["a"]);
  assert.deepEqual((await reply).response, { late: "add_without_reply" });
  assert.deepEqual((await reloaded.add("b")[0]).state, ["a", "b"]);
});

onEachTransport(test, "an event with a reply that isn't stored is applied again after a reload, and not reported again", async (page, server) => {
  await page.joined();
  server.isSaving = false;
  await page.add("a")[0];
  server.isSaving = true;
  const reloaded = page.reload();
  const notes = record(reloaded.view, "reply", "lost");
  assert.deepEqual([reloaded.view.pending, (await reloaded.joined()).response.state], [[], []]);
  assert.deepEqual((await reloaded.add("b")[0]).state, ["a", "b"]);
  assert.deepEqual(notes, []);
});

onEachTransport(test, "events from before a reload are reported as lost if the state is gone", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const reloaded = page.reload();
  const notes = record(reloaded.view, "lost");
  const own = reloaded.add("b")[0];
  server.outcomes.push("expired");
  await reloaded.joined();
  assert.deepEqual((await own).state, ["b"]);
  assert.deepEqual(notes, [["lost", { reason: "expired", events: [{ event: "add", payload: { item: "a" } }] }]]);
  assert.deepEqual(reloaded.stored, []);
});

onEachTransport(test, "events of a page that never joined and knows its owner are sent after its reload", async (page, server) => {
  page.add("a");
  const reloaded = page.reload();
  const reply = dispatched(reloaded.view, "reply");
  await reloaded.joined();
  assert.deepEqual((await reply).response.state, ["a"]);
  assert.deepEqual(numbers(server), [1]);
}, () => ({ owner: "ann" }));

onEachTransport(test, "a tab and its duplicate each continue with a copy of the queue", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const copy = page.duplicate();
  const reply = dispatched(copy.view, "reply");
  await copy.joined();
  assert.deepEqual((await reply).response.state, ["a"]);
  assert.deepEqual([copy.stored, page.stored.length], [[], 1]);
});

onEachTransport(test, "without a storage, events live as long as the page", async (page) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  assert.deepEqual([[...page.tab.sessionStorage.items], page.reload().view.pending], [[], []]);
  await page.back();
  assert.deepEqual((await page.add("b")[0]).state, ["a", "b"]);
}, () => ({ storage: "none" }));

onEachTransport(test, "with localStorage, events are still stored for each tab", async (page) => {
  await page.view.ready;
  await page.joined();
  page.goOffline();
  page.add("a");
  assert.deepEqual([...page.tab.browser.localStorage.items.keys()], [KEY]);
  assert.deepEqual([...page.tab.sessionStorage.items.keys()], [`${KEY}:events`]);
}, () => ({ storage: "localStorage" }));

onEachTransport(test, "a storage that throws on every access loses no event", async (page) => {
  const replies = page.add("a");
  await page.joined();
  replies.push(...page.add("b"));
  assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b"]);
}, () => ({ tab: new FakeBrowser().open({ sessionStorage: new BrokenStorage() }) }));

for (const [what, text] of Object.entries({
  "not JSON": "[{",
  "not an array": '{"filter":1}',
  "empty": "",
  "not events": '[null,7,[],{},{"event":1,"payload":{},"seq":1},{"event":"add","payload":"a","seq":1},{"event":"add","payload":{},"seq":"1x"},{"event":"add","payload":{},"seq":-1}]',
})) {
  onEachTransport(test, `stored data that is ${what} is ignored`, async (page) => {
    assert.deepEqual(page.view.pending, []);
    await page.joined();
    assert.deepEqual((await page.add("a")[0]).state, ["a"]);
  }, () => ({ tab: new FakeBrowser().open({ sessionStorage: new FakeStorage([[`${KEY}:events`, text]]) }) }));
}

for (const seq of ['"2"', "1.5", "1e300"]) {
  onEachTransport(test, `a stored event with the number ${seq} is ignored`, async (page) => {
    assert.deepEqual(page.view.pending, []);
    await page.joined();
    assert.deepEqual((await page.add("a")[0]).state, ["a"]);
  }, () => {
    const text = `[{"event":"add","payload":{"item":"b"},"seq":${seq},"isEarly":true,"owner":"ann"}]`;
    return { owner: "ann", tab: new FakeBrowser().open({ sessionStorage: new FakeStorage([[`${KEY}:events`, text]]) }) };
  });
}

// ---------------------------------------------------------------------------------------------- Limits and ends

onEachTransport(test, "an event too many is rejected and reported, and those before it are not lost", async (page, server) => {
  const notes = record(page.view, "lost");
  const replies = page.add("a", "b");
  await assert.rejects(page.add("c")[0], named("QueueFull"));
  assert.deepEqual(notes, [["lost", { reason: "full", events: [{ event: "add", payload: { item: "c" } }] }]]);
  await page.joined();
  await Promise.all(replies);
  await page.add("d")[0];
  assert.deepEqual(items(server), ["a", "b", "d"]);
}, () => ({ maxKept: 2 }));

onEachTransport(test, "the same for the total length of their payloads", async (page, server) => {
  const replies = page.add("a".repeat(60));
  await assert.rejects(page.add("b".repeat(30))[0], named("QueueFull"));
  replies.push(...page.add("c"));
  await page.joined();
  await Promise.all(replies);
  await page.add("d".repeat(85))[0];
  await assert.rejects(page.add("e".repeat(100))[0], named("QueueFull"));
  assert.deepEqual(items(server).map(([first]) => first), ["a", "c", "d"]);
}, () => ({ maxKeptChars: 100 }));

onEachTransport(test, "a queue that has just reached its maximum isn't over it", async (page) => {
  page.add("a".repeat(39), "b".repeat(39)); // {"item":"…"}
  assert.equal(page.view.pending.length, 2);
}, () => ({ maxKeptChars: 100 }));

onEachTransport(test, "a full queue fits into the tab's storage", async (page) => {
  await assert.rejects(page.view.push("add", { item: "x".repeat(2_500_000) }), named("QueueFull"));
  page.add("x".repeat(2_400_000));
  assert.equal(page.stored.length, 1);
}, () => ({ owner: "ann" }));

onEachTransport(test, "1,000 events are queued by default", async (page) => {
  const notes = record(page.view, "lost");
  page.add(...range(1, 1001));
  assert.deepEqual(notes.map(([, { events }]) => events[0].payload.item), [1001]);
});

onEachTransport(test, "forget discards the token and the events, in flight or not", async (page, server) => {
  await page.joined();
  const notes = record(page.view, "lost");
  server.isSlow = true;
  const sent = page.add("a")[0];
  await server.next("add");
  page.view.forget();
  await assert.rejects(sent, (error) => named("EventLost")(error) && error.reason === "forgotten");
  assert.deepEqual([page.view.token, page.stored, page.view.pending], [null, [], []]);
  server.release();
  assert.deepEqual((await page.add("b")[0]).state, ["a", "b"]);
  assert.equal((await page.cut()).outcome, "new");
  assert.deepEqual((await page.add("c")[0]).state, ["c"]);
  assert.deepEqual(notes, [["lost", { reason: "forgotten", events: [{ event: "add", payload: { item: "a" } }] }]]);
});

onEachTransport(test, "a token that is pushed after forget is ignored", async (page) => {
  await page.joined();
  page.view.forget();
  page.view.keep({ token: "renewed" });
  assert.equal(page.view.token, null);
  assert.equal((await page.cut()).outcome, "new");
  assert.notEqual(page.view.token, null);
});

onEachTransport(test, "forget leaves no gap in the numbers", async (page, server) => {
  await page.joined();
  server.isSlow = true;
  page.add(...range(1, 40));
  await until(() => items(server).length === 32);
  page.view.forget();
  server.release();
  assert.deepEqual((await page.add("z")[0]).state, [...range(1, 32), "z"]);
});

onEachTransport(test, "the page doesn't get the reply to a discarded event", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const reloaded = page.reload();
  const notes = record(reloaded.view, "reply");
  server.isSlow = true;
  await reloaded.joined();
  await until(() => items(server).length === 1);
  reloaded.view.forget();
  server.release();
  assert.deepEqual((await reloaded.add("b")[0]).state, ["a", "b"]);
  assert.deepEqual(notes, []);
});

onEachTransport(test, "giveUp discards the events without a reply, and those pushed later", async (page, server) => {
  await page.joined();
  server.isSaving = false;
  await page.add("answered")[0];
  page.goOffline();
  const notes = record(page.view, "lost");
  const kept = page.add("a")[0];
  page.view.giveUp();
  for (const reply of [kept, page.add("b")[0]]) await assert.rejects(reply, (error) => error.reason === "left");
  assert.deepEqual(notes.map(([, { events }]) => events.map(({ payload }) => payload.item)), [["a"], ["b"]]);
  assert.deepEqual(page.stored, []);
});

// ---------------------------------------------------------------------------------------------- A server without recovery

/** A test with a server that doesn't report what it has applied. */
const unnumbered = (name, run, options) =>
  onEachTransport(test, `without recovery, ${name}`, async (page, server, t) => {
    server.recovers = false;
    await page.joined();
    await run(page, server, t);
  }, options);

unnumbered("events have no numbers, and none waits for the reply to another", async (page, server) => {
  server.isSlow = true;
  const replies = page.add(...range(1, 40));
  await until(() => items(server).length === 40);
  server.release();
  await Promise.all(replies);
  assert.deepEqual(server.of("add")[0].payload, { item: 1 });
  assert.deepEqual(page.stored, []);
});

unnumbered("an event whose reply was lost is reported, and never resent", async (page, server) => {
  const notes = record(page.view, "lost");
  const reply = page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  await page.cut();
  await assert.rejects(reply, (error) => named("EventUnconfirmed")(error) && error.payload.item === "a");
  assert.equal(server.of("add_without_reply").length, 1);
  assert.deepEqual(notes, [["lost", { reason: "unconfirmed", events: [{ event: "add_without_reply", payload: { item: "a" } }] }]]);
});

unnumbered("unsent events are reported as lost at the next join, as there is no state to continue with", async (page, server) => {
  page.goOffline();
  const reply = page.add("a")[0];
  await page.back();
  await assert.rejects(reply, (error) => named("EventLost")(error) && error.reason === null);
  await page.add("b")[0];
  assert.deepEqual(items(server), ["b"]);
});

unnumbered("an event in flight during a reload is reported as lost to the page's owner", async (page, server) => {
  page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  const reloaded = page.reload();
  const lost = dispatched(reloaded.view, "lost");
  await reloaded.joined();
  assert.equal((await lost).reason, null);
  assert.equal(server.of("add_without_reply").length, 1);
}, () => ({ owner: "ann" }));

unnumbered("a slow reply is awaited", async (page, server) => {
  server.isSlow = true;
  const reply = page.add("a")[0];
  await server.next("add");
  page.options.clock.tick(25_000);
  await immediate();
  server.release();
  assert.deepEqual((await reply).state, ["a"]);
  assert.equal(items(server).length, 1);
}, withFakeClock);

test("an event is stored with its number before it is sent, in a long queue too, which is stored later", async () => {
  const sessionStorage = new FakeStorage();
  const { Recovery } = new FakeBrowser().open({ clock: new FakeClock(), sessionStorage }).app;
  const view = new Recovery("form", { owner: "ann" });
  const sent = [];
  const storedSeqs = () => JSON.parse(sessionStorage.getItem("lv_recovery_form:events") ?? "[]").map(({ seq }) => seq);
  view.carry({ send: (_, { _seq }) => sent.push([_seq, storedSeqs().includes(_seq)]) > 0, rejoin() {} });
  for (const item of range(1, 100)) view.push("add", { item });
  view.joinPayload();
  view.joined({ _recovery: { token: "token", outcome: "new", seq: 0, owner: "ann", lines: [] } });
  assert.deepEqual(sent, range(1, 32).map((seq) => [seq, true]));
});
