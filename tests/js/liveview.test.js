/** The real npm LiveView client, in jsdom, with all three scripts loaded by plain tags. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { JSDOM } from "jsdom";
import { record, SOURCE, dispatched } from "./support/browser.js";
import { TestServer } from "./support/server.js";

const plain = (name) => readFileSync(new URL(`${name}.js`, import.meta.resolve(name)), "utf8");
const SCRIPTS = [plain("phoenix"), plain("phoenix_live_view"), SOURCE];

const PAGE = `<!doctype html>
  <div id="counter" data-phx-main data-phx-session="s"></div>
  <div id="list" data-phx-session="s"></div>`;

/** Open a page with two LiveViews and connect it, as in docs/client.md; `tab` is the tab's previous storage. */
function open(t, server, tab = {}, reconnectAfterMs = () => 5) {
  const { window } = new JSDOM(PAGE, { url: "http://live.test/", pretendToBeVisual: true, runScripts: "outside-only" });
  t.after(() => window.close());
  Object.assign(window.sessionStorage, tab, { "phx:live-socket:debug": "false" });
  window.CSS = { escape: String }; // jsdom has none
  for (const script of SCRIPTS) window.eval(script);
  const views = new window.RecoveryApp.LiveViewRecovery();
  const liveSocket = new window.LiveView.LiveSocket(`${server.origin}/live`, window.Phoenix.Socket, {
    params: (el) => views.params(el, { _csrf_token: "c" }),
    reconnectAfterMs,
    rejoinAfterMs: reconnectAfterMs,
  });
  views.watch(liveSocket).connect();
  return { window, views, liveSocket, counter: views.view("counter"), list: views.view("list") };
}

/** Wait until both views have joined. */
const joined = ({ counter, list }) => Promise.all([dispatched(counter, "outcome"), dispatched(list, "outcome")]);

/** Return the token sent with each join of a view. */
const shown = (server, id) =>
  server.of("phx_join").filter(({ topic }) => topic === `lv:${id}`).map(({ payload }) => payload.params._recovery);

/** Close the page's connection from the server; the client reconnects automatically. */
async function cut(server, page) {
  server.cut();
  return joined(page);
}

test("each view's state is restored and rendered after a cut and after a reload", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  assert.deepEqual((await joined(page)).map(({ outcome }) => outcome), ["new", "new"]);
  const { channel } = page.liveSocket.getRootById("counter");
  await new Promise((resolve) => channel.push("add", { item: "apple" }).receive("ok", resolve));

  const [counter, list] = await cut(server, page);
  assert.deepEqual([counter.outcome, list.outcome], ["recovered", "recovered"]);
  assert.deepEqual([...counter.response.state, ...list.response.state], ["apple"]);

  const reloaded = open(t, server, { ...page.window.sessionStorage });
  await joined(reloaded);
  await new Promise((resolve) => reloaded.window.requestAnimationFrame(resolve));
  assert.equal(reloaded.window.document.querySelector("#counter p").textContent, "apple");
  assert.deepEqual(shown(server, "counter").map(Boolean), [false, true, true]);
});

test("the params of the page and of LiveView are sent along with the token", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  await cut(server, page);
  const { _recovery, ...params } = server.joins.at(-1).params;
  assert.match(_recovery, /^token-/);
  assert.equal(params._csrf_token, "c");
  assert.equal(params._mounts, 1);
});

test("the socket's URL has the page's params without the token", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  await cut(server, page);
  assert.deepEqual(server.urls, Array(2).fill("/live/websocket?_csrf_token=c&vsn=2.0.0"));
});

test("a pushed token is sent with the next join of that view", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  const { channel } = page.liveSocket.getRootById("list");
  await new Promise((resolve) => channel.push("fork", {}).receive("ok", resolve));
  assert.equal(page.list.token, server.lastToken);
  assert.notEqual(page.counter.token, server.lastToken);
  const pushed = page.list.token;
  await cut(server, page);
  assert.equal(shown(server, "list").at(-1), pushed);
});

test("the backoff begins anew only when a connection, or a join, has held", async (t) => {
  const server = await TestServer.start(t);
  const tries = [];
  const page = open(t, server, {}, (number) => (tries.push(number), 5));
  let now = 0;
  page.window.performance.now = () => now;
  await joined(page);
  const { channel } = page.liveSocket.getRootById("counter");
  const crash = async () => {
    const outcome = dispatched(page.counter, "outcome");
    channel.push("crash", {});
    await outcome;
  };
  for (const end of [() => cut(server, page), crash]) {
    for (let round = 0; round < 3; round += 1) await end();
    now += 4_999;
    await new Promise((resolve) => channel.push("add", { item: "apple" }).receive("ok", resolve)); // it still holds
    now += 1;
    await end();
    assert.deepEqual(tries.splice(0), [1, 2, 3, 1]);
    now += 5_000;
  }
});

test("an outage of the storage loses no token", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  server.outcomes.push("unavailable", "unavailable");
  const before = page.counter.token;
  const outcomes = [...(await cut(server, page)), ...(await cut(server, page))].map(({ outcome }) => outcome);
  assert.deepEqual(outcomes, ["unavailable", "unavailable", "recovered", "recovered"]);
  assert.equal(shown(server, "counter").at(-1), before);
});

test("a LiveView that fails to render loses no token", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  page.window.addEventListener("error", (event) => event.preventDefault());
  page.liveSocket.getRootById("counter").onJoin = () => assert.fail("a hook of the page");
  await cut(server, page);
  assert.deepEqual([page.counter.token, page.list.token].sort(), ["token-3", "token-4"]);
});

test("the status follows the connection and the view", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  const notes = record(page.counter, "status");
  await joined(page);
  await cut(server, page);
  page.liveSocket.getRootById("counter").channel.push("crash", {});
  await server.next("crash");
  await dispatched(page.counter, "status");
  assert.deepEqual(notes.map(([, status]) => status), [
    "connecting", "connected", "disconnected", "connecting", "connected", "disconnected",
  ]);
});

test("a live navigation mounts the next page afresh, and that is recovered from then on", async (t) => {
  const server = await TestServer.start(t);
  const page = open(t, server);
  await joined(page);
  const channelOf = () => page.liveSocket.getRootById("counter").channel;
  await new Promise((resolve) => channelOf().push("add", { item: "of the first page" }).receive("ok", resolve));
  const navigate = async () => {
    const outcome = dispatched(page.counter, "outcome");
    page.liveSocket.historyRedirect(new page.window.Event("click"), "http://live.test/next", "push", null);
    return outcome;
  };
  server.outcomes.push("unavailable"); // so there is no token to show when that is over
  assert.deepEqual([...(await navigate()).response.state], []);
  assert.equal((await cut(server, page))[0].outcome, "new");
  await new Promise((resolve) => channelOf().push("add", { item: "of the next page" }).receive("ok", resolve));
  assert.deepEqual([...(await cut(server, page))[0].response.state], ["of the next page"]);
  const notes = record(page.counter, "status", "connection");
  assert.equal((await navigate()).outcome, "new");
  await new Promise((resolve) => channelOf().push("add", { item: "of the third page" }).receive("ok", resolve));
  assert.deepEqual(notes, [["status", "connecting"], ["status", "connected"]]);
});
