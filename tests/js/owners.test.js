/** Whose events: none is applied for, or shown to, another person than the one who pushed it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeBrowser, FakeStorage, dispatched, record } from "./support/browser.js";
import { immediate, KEY, onEachTransport, Page, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

const items = (server) => server.of("add").map(({ payload }) => payload.item);
const added = (item) => ({ event: "add", payload: { item } });
const lostTo = (owner) => (error) => error.name === "EventLost" && error.reason === owner;

/** The next person logs in: the server knows no token of the one before. */
function logIn(server, owner) {
  server.owner = owner;
  server.outcomes.push("rejected");
}

/** Join as the next person, push an event, and return the state with all that the page was told of events. */
async function visit(page) {
  const notes = record(page.view, "lost", "reply");
  const before = page.view.pending;
  await page.joined();
  const during = page.view.pending;
  const { state } = await page.add("b")[0];
  return { state, told: [...before, ...during, ...notes], stored: page.stored };
}
const NOTHING_OF_ANN = { state: ["b"], told: [], stored: [] };

// ---------------------------------------------------------------------------------------------- Two logins in one tab

onEachTransport(test, "events pushed before the first join aren't applied for whoever logs in after", async (page, server) => {
  page.add("a");
  const next = page.reload();
  server.owner = "bob";
  assert.deepEqual(await visit(next), NOTHING_OF_ANN);
});

onEachTransport(test, "the same for a page that knows its owner", async (page, server) => {
  page.add("a");
  assert.equal(page.stored[0].owner, "ann");
  for (const owner of ["bob", undefined]) {
    const tab = page.tab.duplicate();
    const next = new Page(page.t, server, page.way, { tab, owner });
    server.owner = "bob";
    assert.deepEqual(await visit(next), NOTHING_OF_ANN);
  }
}, () => ({ owner: "ann" }));

onEachTransport(test, "events pushed after the join aren't told to whoever logs in after", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const next = page.reload();
  logIn(server, "bob");
  assert.deepEqual(await visit(next), NOTHING_OF_ANN);
});

onEachTransport(test, "nor are those whose effect isn't stored, or whose reply is missing", async (page, server) => {
  await page.joined();
  server.isSaving = false;
  await page.add("a")[0];
  page.view.push("add_without_reply", { item: "a" });
  await server.next("add_without_reply");
  server.isSaving = true;
  const next = page.reload();
  logIn(server, "bob");
  assert.deepEqual(await visit(next), NOTHING_OF_ANN);
});

onEachTransport(test, "not even if the token of a visitor continues the state", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const next = page.reload();
  server.owner = "bob";
  assert.deepEqual(await visit(next), NOTHING_OF_ANN);
});

onEachTransport(test, "events go to their owner again, in order with those of the reloaded page", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const reloaded = page.reload();
  assert.deepEqual(reloaded.view.pending, []);
  const reply = dispatched(reloaded.view, "reply");
  reloaded.add("b");
  await reloaded.joined();
  assert.deepEqual((await reply).response.state, ["a"]);
  assert.deepEqual((await reloaded.add("c")[0]).state, ["a", "b", "c"]);
});

onEachTransport(test, "a page that knows its owner shows that person's events before it joins, and no others", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const open = (owner) => new Page(page.t, server, page.way, { tab: page.tab.duplicate(), owner });
  assert.deepEqual(open("ann").view.pending, [added("a")]);
  assert.deepEqual([open("bob").view.pending, open("bob").stored.length], [[], 1]);
});

onEachTransport(test, "nor does such a page tell whoever is there now what was pushed before", async (page, server) => {
  await page.joined();
  page.goOffline();
  const [unsent] = page.add("a");
  const lost = record(page.view, "lost");
  const next = page.reload();
  logIn(server, "bob");
  await next.joined();
  next.goOffline();
  page.tab.sessionStorage = next.tab.sessionStorage;
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  assert.deepEqual(page.stored, []);
  await page.back();
  await assert.rejects(unsent, lostTo("owner"));
  assert.deepEqual(lost, []);
  assert.deepEqual((await page.add("b")[0]).state, ["b"]);
});

onEachTransport(test, "and doesn't leave to the next view of its name what another page has settled", async (page, server) => {
  await page.joined();
  page.goOffline();
  const [unsent] = page.add("a");
  const next = page.reload();
  logIn(server, "bob");
  await next.joined();
  page.tab.sessionStorage = next.tab.sessionStorage;
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  page.view.close();
  await assert.rejects(unsent, ({ reason }) => reason === "closed");
  assert.deepEqual(new page.tab.app.Recovery("form", { owner: "ann" }).pending, []);
});

onEachTransport(test, "a page from the back/forward cache doesn't send its events as the person who has logged in since", async (page, server) => {
  await page.joined();
  await page.add("a1")[0];
  server.overlooked = 1;
  const [sent] = page.add("a2");
  await until(() => items(server).length === 2);
  page.goOffline();
  const next = page.reload();
  logIn(server, "bob");
  await next.joined();
  await next.add("b1")[0];
  next.goOffline();
  page.tab.sessionStorage = next.tab.sessionStorage; // as the browser's cache keeps it
  const lost = record(page.view, "lost");
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  const [pushed] = page.add("b2");
  assert.equal((await page.back()).outcome, "recovered");
  await assert.rejects(sent, lostTo("owner"));
  await assert.rejects(pushed, lostTo("owner"), "before the join, it isn't known who is there");
  assert.deepEqual((await page.add("b3")[0]).state, ["b1", "b3"]);
  assert.deepEqual(lost, []);
});

// ---------------------------------------------------------------------------------------------- Planted events

for (const [what, owner] of [["no owner", undefined], ["null", null], ["an empty name", ""], ["another name", "eve"], ["an object", { toString: "bob" }]]) {
  const planted = [{ ...added("planted"), seq: null, isEarly: true, isAnswered: false, owner }];
  onEachTransport(test, `events planted in the storage are dropped: ${what}`, async (page) => {
    assert.deepEqual(await visit(page), NOTHING_OF_ANN);
  }, () => ({ tab: new FakeBrowser().open({ sessionStorage: new FakeStorage([[`${KEY}:events`, JSON.stringify(planted)]]) }) }));
}

onEachTransport(test, "a server that names nobody gets no stored events", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const reloaded = page.reload();
  server.owner = undefined;
  assert.deepEqual(await visit(reloaded), NOTHING_OF_ANN);
});

for (const end of ["forget", "giveUp"]) {
  onEachTransport(test, `${end} before the join discards what was stored, and tells nobody`, async (page) => {
    await page.joined();
    page.goOffline();
    page.add("a");
    const next = page.reload();
    const notes = record(next.view, "lost");
    next.view[end]();
    assert.deepEqual([notes, next.stored], [[], []]);
  });
}

// ---------------------------------------------------------------------------------------------- One page, another person

onEachTransport(test, "if another person joins on the same page, its events are dropped and their promises settled", async (page, server) => {
  await page.joined();
  page.goOffline();
  const notes = record(page.view, "lost", "reply");
  const reply = page.add("a")[0];
  logIn(server, "bob");
  await page.back();
  await assert.rejects(reply, (error) => lostTo("owner")(error) && !JSON.stringify(error).includes("a\""));
  assert.deepEqual([(await page.add("b")[0]).state, notes, page.stored], [["b"], [], []]);
});

onEachTransport(test, "a visitor who logs in and keeps the state keeps the page's events", async (page, server) => {
  await page.joined();
  page.goOffline();
  const reply = page.add("a")[0];
  server.owner = "ann, logged in";
  await page.back();
  assert.deepEqual((await reply).state, ["a"]);
});

onEachTransport(test, "after a login on the same connection, events survive a reload", async (page, server) => {
  await page.joined();
  page.view.keep({ token: server.lastToken, ttl: 300, owner: "bob" });
  server.owner = "bob";
  page.goOffline();
  page.add("a");
  const reloaded = page.reload();
  const reply = dispatched(reloaded.view, "reply");
  await reloaded.joined();
  assert.deepEqual((await reply).response.state, ["a"]);
});

onEachTransport(test, "a page from the back/forward cache forgets what was pushed before any join", async (page, server) => {
  const reply = page.add("a")[0];
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await assert.rejects(reply, lostTo("owner"));
  await page.joined();
  await page.add("b")[0];
  assert.deepEqual(items(server), ["b"]);
});

onEachTransport(test, "while the storage is away, another person sees nothing, and loses nothing of their own", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const next = page.reload();
  server.owner = "bob";
  server.outcomes.push("unavailable", "rejected");
  const notes = record(next.view, "lost", "reply");
  const own = next.add("b")[0];
  await next.joined();
  assert.deepEqual(next.view.pending, [added("b")]);
  assert.deepEqual([(await own).state, notes], [["b"], []]);
});

// ---------------------------------------------------------------------------------------------- Other names

for (const owner of [undefined, "bob", "bob visitor nobody"]) {
  onEachTransport(test, `events of an earlier page go along under an alias: page of ${owner}`, async (page, server) => {
    server.owner = "visitor";
    await page.joined();
    page.goOffline();
    page.add("a");
    const next = new Page(page.t, server, page.way, { tab: page.tab.duplicate(), owner });
    assert.deepEqual(next.view.pending, []);
    const reply = dispatched(next.view, "reply");
    next.add("b");
    Object.assign(server, { owner: "bob", aliases: ["visitor"] });
    server.outcomes.push("unavailable");
    await next.joined();
    assert.deepEqual((await reply).response.state, ["a"]);
    assert.deepEqual([(await next.add("c")[0]).state, next.stored.map((each) => each.owner)], [["a", "b", "c"], []]);
  });
}

onEachTransport(test, "an alias brings no events of others, and none without an owner", async (page, server) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  const next = page.reload();
  Object.assign(server, { owner: "bob", aliases: ["visitor", null, ""] });
  assert.deepEqual(await visit(next), NOTHING_OF_ANN);
});

onEachTransport(test, "if the state is gone, events under an alias are told as lost", async (page, server) => {
  server.owner = "visitor";
  await page.joined();
  page.goOffline();
  page.add("a");
  const notes = record(page.view, "lost");
  Object.assign(server, { owner: "bob", aliases: ["visitor"] });
  server.outcomes.push("expired");
  await page.back();
  assert.deepEqual((await page.add("b")[0]).state, ["b"]);
  assert.deepEqual(notes, [["lost", { reason: "expired", events: [added("a")] }]]);
});

onEachTransport(test, "a page may be joined under each of its names", async (page, server) => {
  const reply = page.add("a")[0];
  server.owner = "nobody";
  await page.joined();
  assert.deepEqual((await reply).state, ["a"]);
}, () => ({ owner: "visitor nobody" }));

onEachTransport(test, "but by nobody else", async (page, server) => {
  const reply = page.add("a")[0];
  server.owner = "bob";
  await page.joined();
  await assert.rejects(reply, lostTo("owner"));
}, () => ({ owner: "visitor nobody" }));

onEachTransport(test, "what was pushed after the join as one isn't told to the other", async (page, server) => {
  await page.joined();
  page.goOffline();
  const notes = record(page.view, "lost", "reply");
  const reply = page.add("a")[0];
  logIn(server, "nobody");
  await page.back();
  await assert.rejects(reply, lostTo("owner"));
  assert.deepEqual([(await page.add("b")[0]).state, notes], [["b"], []]);
}, () => ({ owner: "ann visitor nobody" }));

onEachTransport(test, "a page from the back/forward cache may be joined by its owner only", async (page, server) => {
  const reply = page.add("a")[0];
  page.tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  server.owner = "nobody";
  await page.joined();
  await assert.rejects(reply, lostTo("owner"));
}, () => ({ owner: "ann visitor nobody" }));

test("the owner is read from the page", async (t) => {
  const server = await TestServer.start(t);
  const found = { dataset: { recoveryOwner: "ann nobody" } };
  const document = { visibilityState: "visible", querySelector: (what) => (what === "[data-recovery-owner]" ? found : null) };
  const page = new Page(t, server, "its own socket", { tab: new FakeBrowser().open({ document }) });
  page.add("a");
  assert.equal(page.stored[0].owner, "ann");
  await immediate();
});

onEachTransport(test, "what the tab has learned of events is forgotten with them, and for another person", async (page, server) => {
  const key = `${KEY}:events:settled`;
  await page.joined();
  page.goOffline();
  page.add("a");
  server.owner = "bob";
  const reloaded = page.reload();
  const { sessionStorage } = reloaded.tab;
  sessionStorage.setItem(key, '[["id", {"reply": {"status": "ok", "response": {}}}]]');
  await reloaded.joined();
  assert.equal(sessionStorage.getItem(key), null);
  sessionStorage.setItem(key, "[]");
  reloaded.view.forget();
  assert.equal(sessionStorage.getItem(key), null);
});
