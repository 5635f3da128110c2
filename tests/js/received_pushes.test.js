/** The server's numbered pushes: each is told to the page once and in order, or it is told that some are gone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeBrowser, record } from "./support/browser.js";
import { Page, onEachTransport, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** Record what the page is told of the event "tick". */
function ticks(page) {
  const told = [];
  const listen = (page.channel ?? page.view).on.bind(page.channel ?? page.view);
  listen("tick", (payload) => told.push(payload));
  return told;
}

const tick = (page, item, more = {}) => page.view.push("tick", { item, ...more });
const items = (told) => told.map(({ item }) => item);

onEachTransport(test, "a page says which pushes it has, and is told each without its number", async (page, server) => {
  const told = ticks(page);
  await page.joined();
  await tick(page, "a");
  await tick(page, "b");
  assert.deepEqual(told, [{ item: "a" }, { item: "b" }]);
  await page.cut();
  assert.deepEqual(server.of("phx_join").map(({ payload }) => payload._recv), [null, 2]);
});

onEachTransport(test, "what was lost on the way is told after the next join", async (page) => {
  const told = ticks(page);
  const missed = record(page.view, "missed");
  await page.joined();
  await tick(page, "a");
  await tick(page, "b", { isLost: true });
  await page.cut();
  await until(() => told.length === 2);
  await tick(page, "c");
  assert.deepEqual([items(told), missed], [["a", "b", "c"], []]);
});

onEachTransport(test, "a push that comes again is not told again", async (page, server) => {
  const told = ticks(page);
  await page.joined();
  await tick(page, "a");
  server.send(JSON.stringify([null, null, "form:1", "tick", { item: "again", _push: 1 }]));
  await tick(page, "b");
  assert.deepEqual(items(told), ["a", "b"]);
});

onEachTransport(test, "a page that lacks more than is kept hears of it once, and goes on", async (page, server) => {
  server.kept = 1;
  const told = ticks(page);
  const missed = record(page.view, "missed");
  await page.joined();
  for (const item of ["a", "b", "c"]) await tick(page, item, { isLost: true });
  await page.cut();
  await until(() => told.length === 1);
  await tick(page, "d");
  assert.deepEqual([items(told), missed.length], [["c", "d"], 1]);
  await tick(page, "e", { isLost: true });
  await tick(page, "f");
  assert.deepEqual([items(told), missed.length], [["c", "d", "f"], 2]);
});

onEachTransport(test, "so does one to which a push never came, on a line that holds", async (page) => {
  const told = ticks(page);
  const missed = record(page.view, "missed");
  await page.joined();
  await tick(page, "a", { isLost: true });
  await tick(page, "b");
  assert.deepEqual([items(told), missed.length], [["b"], 1]);
});

onEachTransport(test, "numbers start again with another state", async (page, server) => {
  const told = ticks(page);
  await page.joined();
  await tick(page, "a");
  server.outcomes.push("expired");
  await page.cut();
  await tick(page, "b");
  assert.deepEqual(items(told), ["a", "b"]);
  server.outcomes.push("failed");
  await page.cut();
  assert.equal(server.of("phx_join").at(-1).payload._recv, 1);
  await page.cut();
  assert.equal(server.of("phx_join").at(-1).payload._recv, 1, "of the state that the page still has the token for");
});

onEachTransport(test, "a page that waits for its state is told no pushes of the one it will leave", async (page, server) => {
  const told = ticks(page);
  await page.joined();
  await tick(page, "a");
  server.outcomes.push("unavailable");
  const outcomes = record(page.view, "outcome");
  page.view.addEventListener("outcome", () => server.send(JSON.stringify([null, null, "form:1", "tick", { item: "another's" }])), { once: true });
  await page.cut();
  await until(() => page.view.outcome === "recovered");
  await tick(page, "b");
  assert.equal(outcomes[0][1].isWaiting, true);
  assert.deepEqual(items(told), ["a", "b"]);
});

onEachTransport(test, "a page acknowledges no push of a join whose reply was lost", async (page, server) => {
  const told = ticks(page);
  await page.joined();
  for (let number = 1; number <= 31; number += 1) await tick(page, number);
  server.isStopped = true;
  const tried = server.next("phx_join");
  page.cut();
  await tried;
  server.isStopped = false;
  server.send(JSON.stringify([null, null, "form:1", "tick", { item: 32, _push: 32 }]));
  server.cut();
  await until(() => page.view.outcome === "recovered" && page.view.status === "connected");
  assert.deepEqual(server.of("recovery:received"), []);
  assert.equal(told.length, 31);
});

onEachTransport(test, "after a reload the page is told only what the one before lacked", async (page) => {
  await page.joined();
  await tick(page, "a");
  await tick(page, "b", { isLost: true });
  const reloaded = page.reload();
  const told = ticks(reloaded);
  await reloaded.joined();
  await until(() => told.length === 1);
  assert.deepEqual(items(told), ["b"]);
});

onEachTransport(test, "a forgotten state takes its numbers along", async (page, server) => {
  await page.joined();
  await tick(page, "a");
  page.view.forget();
  await page.cut();
  assert.equal(server.of("phx_join").at(-1).payload._recv, null);
});

onEachTransport(test, "the server is told now and then what the page has", async (page, server) => {
  await page.joined();
  for (let number = 1; number <= 65; number += 1) await tick(page, number);
  assert.deepEqual(server.of("recovery:received").map(({ payload }) => payload), [{ _recv: 32 }, { _recv: 64 }]);
});

test("a transport of the page's own has nothing numbered unless it says so", async (t) => {
  const server = await TestServer.start(t);
  const { tab } = new Page(t, server, "its own socket");
  const view = new tab.app.Recovery("own");
  view.carry({ send: () => true, rejoin: () => {} });
  assert.equal("_recv" in view.joinPayload(), false);
  view.carry({ send: () => true, rejoin: () => {}, takesPushes: true });
  assert.equal(view.joinPayload()._recv, null);
  assert.equal(view.receive({ item: 1, _push: 1 }), null, "of a state whose token the page doesn't have");
  view.joined({ _recovery: { outcome: "new", token: "a token" } });
  assert.deepEqual(view.receive({ item: 1, _push: 1 }), { item: 1 });
  assert.equal(view.receive({ item: 1, _push: 1 }), null);
  assert.deepEqual(view.receive({ item: 2 }), { item: 2 });
});

// ---------------------------------------------------------------------------------------------- The page's own token

/** Return a tab whose HTML begins with a state, as `{% recovery_state %}` has it. */
function tabWith(tokens) {
  const element = { textContent: JSON.stringify(tokens) };
  const getElementById = (id) => (id === "recovery-state" ? element : null);
  return new FakeBrowser().open({ document: { visibilityState: "visible", getElementById, querySelector: () => null } });
}

/** Have the server store a state, and return its token. */
async function stored(page, server) {
  await page.joined();
  await Promise.all(page.add("tea"));
  page.goOffline();
  return server.lastToken;
}

const shown = (server) => server.joins.map(({ _recovery }) => _recovery);

onEachTransport(test, "the first join shows the token in the page's HTML, and no other does", async (page, server, t) => {
  const inPage = await stored(page, server);
  const fresh = new Page(t, server, page.way, { ...page.options, tab: tabWith({ "form:1": inPage, "form:2": "another" }) });
  assert.equal((await fresh.joined()).outcome, "recovered");
  const own = server.lastToken;
  await fresh.cut();
  fresh.view.forget();
  await fresh.cut();
  assert.deepEqual(shown(server).slice(1), [inPage, own, undefined]);
});

test("of two views on one topic, one shows the token in the page's HTML", () => {
  const { app } = tabWith({ "form:1": "in the page" });
  const payloads = ["a", "b"].map((name) => {
    const view = new app.Recovery(name);
    view.beginWith("form:1");
    return view.joinPayload();
  });
  assert.deepEqual(payloads, [{ _recovery: "in the page" }, {}]);
});

onEachTransport(test, "it is shown again after a join whose reply was lost, and while the view waits", async (page, server, t) => {
  const inPage = await stored(page, server);
  const fresh = new Page(t, server, page.way, { ...page.options, tab: tabWith({ "form:1": inPage }) });
  server.isStopped = true;
  const tried = server.next("phx_join");
  fresh.join();
  await tried;
  server.isStopped = false;
  server.outcomes.push("unavailable");
  server.cut();
  await until(() => fresh.view.outcome === "recovered");
  assert.deepEqual(new Set(shown(server).slice(-3)), new Set([inPage]));
});

onEachTransport(test, "a page that has a token of its own shows that", async (page, server) => {
  const own = await stored(page, server);
  const reloaded = page.reload();
  reloaded.tab.document.getElementById = () => ({ textContent: '{"form:1": "in the page"}' });
  await reloaded.joined();
  assert.equal(shown(server).at(-1), own);
});

onEachTransport(test, "what isn't one is left alone", async (page, server, t) => {
  for (const text of ["", "{", "[]", "null", '{"form:1": 7}', '{"form:2": "another"}']) {
    const tab = new FakeBrowser().open();
    tab.document.getElementById = () => ({ textContent: text });
    await new Page(t, server, page.way, { ...page.options, tab }).joined();
  }
  assert.deepEqual(shown(server).filter(Boolean), []);
});
