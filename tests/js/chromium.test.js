/** A real browser: both kinds of script tag, storage, reloads, Web Locks and WebSocket. */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { WebSocketServer } from "ws";
import { SOURCE } from "./support/browser.js";
import { Chromium, findChromium } from "./support/chromium.js";
import { TestServer } from "./support/server.js";

const TIMEOUT_MS = 30_000;

const TAGS = {
  "a module": (script) => `<script type="module">import { RecoverySocket } from "/recovery.js"; ${script}</script>`,
  "a module's global": (script) => `<script type="module" src="/recovery.js"></script>
    <script type="module">const { RecoverySocket } = RecoveryApp; ${script}</script>`,
  "a plain script": (script) => `<script src="/recovery.js"></script>
    <script>const { RecoverySocket } = RecoveryApp; (async () => { ${script} })()</script>`,
};

/** Joins, adds an item, is cut, and reloads; reports the restored state each time. */
const CUT_AND_RELOAD = `
  const socket = new RecoverySocket("/ws/form/", { viewId: "form" });
  const report = (what) => fetch("/report", { method: "POST", body: JSON.stringify(what) });
  const dispatched = (type) => new Promise((resolve) => socket.addEventListener(type, ({ detail }) => resolve(detail), { once: true }));
  const { state } = await socket.join("form:1");
  if (state.length === 0) {
    await socket.push("add", { item: "apple" });
    socket.drop();
    const { outcome, response } = await dispatched("outcome");
    await report({ outcome, state: response.state });
    location.reload();
  } else {
    await report({ outcome: socket.outcome, state });
  }`;

/** Reloads with one event whose reply was lost and one unsent event; reports their replies and the state. */
const RELOAD_WITH_EVENTS = `
  const socket = new RecoverySocket("/ws/form/", { viewId: "form" });
  const replies = [];
  socket.addEventListener("reply", ({ detail }) => replies.push([detail.payload.item, detail.response]));
  await socket.join("form:1");
  if (!sessionStorage.isReloaded) {
    sessionStorage.isReloaded = true;
    socket.push("add_without_reply", { item: "on the wire" });
    socket.disconnect();
    socket.push("add", { item: "unsent" });
    location.reload();
  } else {
    const { state } = await socket.push("add", { item: "after" });
    const kept = sessionStorage.getItem("lv_recovery_form:events");
    await fetch("/report", { method: "POST", body: JSON.stringify({ replies, state, kept }) });
  }`;

/** A page and a frame with one view: each pushes an event offline, and after a reload the later one reports what became of them. */
const FRAMES = `
  const where = self === top ? "page" : "frame";
  if (self === top) document.body.append(Object.assign(document.createElement("iframe"), { src: "/?frame" }));
  const socket = new RecoverySocket("/ws/form/", { viewId: "form" });
  const reply = new Promise((resolve) => socket.addEventListener("reply", ({ detail }) => resolve(detail), { once: true }));
  await socket.join("form:1");
  if (sessionStorage[where]) {
    const { response } = await reply;
    (top.results ??= []).push([where, socket.outcome, response.state]);
    if (top.results.length === 2) await fetch("/report", { method: "POST", body: JSON.stringify(top.results) });
  } else {
    sessionStorage[where] = true;
    socket.disconnect();
    socket.push("add", { item: where });
    if (sessionStorage.page && sessionStorage.frame) top.location.reload();
  }`;

/** Fills the storage, pushes offline, makes room, pushes again and reloads; reports what it was told, and the state. */
const FULL_STORAGE = `
  const socket = new RecoverySocket("/ws/form/", { viewId: "form" });
  const told = JSON.parse(sessionStorage.told ?? "[]");
  socket.on("kept", (isKept) => told.push(isKept));
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  const { state } = await socket.join("form:1");
  if (sessionStorage.told) {
    const { state } = await socket.push("add", { item: "after" });
    await fetch("/report", { method: "POST", body: JSON.stringify({ told, state }) });
  } else {
    socket.disconnect();
    socket.push("add", { item: "before" });
    for (let chars = 2 ** 23; chars >= 1; chars /= 2) {
      try { sessionStorage.fill = (sessionStorage.fill ?? "") + "x".repeat(chars); } catch {}
    }
    socket.push("add", { item: "full" });
    await turn();
    const kept = JSON.parse(sessionStorage["lv_recovery_form:events"]).map(({ payload }) => payload.item);
    sessionStorage.removeItem("fill");
    socket.push("add", { item: "free" });
    await turn();
    sessionStorage.told = JSON.stringify([...told, kept, socket.isKept]);
    location.reload();
  }`;

/** Joins, adds its hash, and reports the state. */
const LOCAL = `
  const socket = new RecoverySocket("/ws/form/", { viewId: "form", storage: "localStorage" });
  await socket.join("form:1");
  const { state } = await socket.push("add", { item: location.hash });
  await fetch("/report", { method: "POST", body: JSON.stringify({ outcome: socket.outcome, state }) });`;

/** Serve one page, recovery.js and the channel; `reported` waits for what the page reports. */
async function serve(t, html) {
  const reports = new EventEmitter();
  const pages = createServer(async (request, response) => {
    if (request.url === "/report") {
      response.end();
      return reports.emit("report", JSON.parse((await request.toArray()).join("")));
    }
    const isScript = request.url === "/recovery.js";
    response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? SOURCE : `<!doctype html><title>${t.name}</title>${html}`);
  });
  const server = new TestServer(new WebSocketServer({ server: pages }));
  await once(pages.listen(0, "127.0.0.1"), "listening");
  t.after(() => (server.stop(), pages.closeAllConnections(), pages.close()));
  const reported = async () => (await once(reports, "report", { signal: AbortSignal.timeout(TIMEOUT_MS) }))[0];
  return { server, reported, url: `http://127.0.0.1:${pages.address().port}/` };
}

const skip = findChromium() === null && "Chromium isn't installed";
let chromium;
before(async () => skip || (chromium = await Chromium.start()));
after(() => chromium?.stop());

for (const [way, tag] of Object.entries(TAGS)) {
  test(`loaded as ${way}, the state is restored after a cut and after a reload`, { skip }, async (t) => {
    const { server, reported, url } = await serve(t, tag(CUT_AND_RELOAD));
    const first = reported();
    await chromium.open(url);
    assert.deepEqual(await first, { outcome: "recovered", state: ["apple"] });
    assert.deepEqual(await reported(), { outcome: "recovered", state: ["apple"] });
    assert.deepEqual(server.urls, Array(3).fill("/ws/form/"));
  });
}

test("events survive a reload, each is applied once, and the page gets its reply", { skip }, async (t) => {
  const { server, reported, url } = await serve(t, TAGS["a module"](RELOAD_WITH_EVENTS));
  const report = reported();
  await chromium.open(url);
  assert.deepEqual(await report, {
    replies: [
      ["on the wire", { late: "add_without_reply" }],
      ["unsent", { state: ["on the wire", "unsent"] }],
    ],
    state: ["on the wire", "unsent", "after"],
    kept: null,
  });
  assert.deepEqual(server.of("add").map(({ payload }) => payload._seq), [2, 3]);
});

test("a page and a frame with one view each have their own state and events after a reload", { skip }, async (t) => {
  const { reported, url } = await serve(t, TAGS["a module"](FRAMES));
  const report = reported();
  await chromium.open(url);
  assert.deepEqual((await report).sort(), [["frame", "recovered", ["frame"]], ["page", "recovered", ["page"]]]);
});

test("a full storage keeps what it has, the page is told, and once there is room, all outlives a reload", { skip }, async (t) => {
  const { reported, url } = await serve(t, TAGS["a module"](FULL_STORAGE));
  const report = reported();
  await chromium.open(url);
  assert.deepEqual(await report, {
    told: [false, true, ["before"], true],
    state: ["before", "full", "free", "after"],
  });
});

test("localStorage: one tab owns the token, and a tab opened after it continues with its state", { skip }, async (t) => {
  const { reported, url } = await serve(t, TAGS["a module"](LOCAL));
  const visit = async (hash) => {
    const report = reported();
    const close = await chromium.open(`${url}%23${hash}`);
    return [await report, close];
  };
  const [first, close] = await visit("a");
  assert.deepEqual(first, { outcome: "new", state: ["#a"] });
  const [second] = await visit("b");
  assert.deepEqual(second, { outcome: "new", state: ["#b"] });
  await close();
  const [third] = await visit("c");
  assert.deepEqual(third, { outcome: "recovered", state: ["#a", "#c"] });
});
