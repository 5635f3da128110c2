/** A storage that is full or forbidden: nothing that is in memory is lost or applied twice, and the page is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BrokenStorage, FakeBrowser, SmallStorage, dispatched, record } from "./support/browser.js";
import { immediate, KEY, onEachTransport, until } from "./support/pages.js";

const items = (server) => server.of("add").map(({ payload }) => payload.item);
const stored = (page) => page.stored.map(({ payload, seq }) => [payload.item, seq]);
const told = (view) => record(view, "kept");
const small = () => ({ owner: "ann", timeoutMs: 3_600_000, tab: new FakeBrowser().open({ sessionStorage: new SmallStorage() }) });

/** Return what a page tells from here on, without what the last changes have brought about. */
async function tellingFrom(page) {
  await immediate();
  return told(page.view);
}

/** Push some events offline, and more when the storage is full. Return the promises of all. */
async function overfill(page) {
  await page.joined();
  page.goOffline();
  const replies = page.add("a", "b");
  const notes = await tellingFrom(page);
  page.tab.sessionStorage.leave(10);
  replies.push(...page.add("c", "d"));
  await immediate();
  assert.deepEqual([page.view.isKept, notes, stored(page).map(([item]) => item)], [false, [["kept", false]], ["a", "b"]]);
  return replies;
}

onEachTransport(test, "what was stored before the storage was full survives a reload", async (page) => {
  await overfill(page);
  const reloaded = page.reload();
  await reloaded.joined();
  assert.deepEqual((await reloaded.add("x")[0]).state, ["a", "b", "x"]);
}, small);

onEachTransport(test, "what the storage has no room for is delivered by the page that has it in memory", async (page) => {
  const replies = await overfill(page);
  await page.back();
  assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b", "c", "d"]);
  await until(() => page.view.isKept);
}, small);

onEachTransport(test, "once there is room again, all is stored, and the page is told", async (page) => {
  await page.joined();
  page.goOffline();
  page.tab.sessionStorage.leave(0);
  page.add("a");
  const notes = await tellingFrom(page);
  assert.deepEqual([page.view.isKept, page.stored], [false, []]);
  page.tab.sessionStorage.maxChars = Infinity;
  page.add("b");
  await immediate();
  assert.deepEqual([page.view.isKept, notes], [true, [["kept", true]]]);
  const reloaded = page.reload();
  await reloaded.joined();
  assert.deepEqual((await reloaded.add("c")[0]).state, ["a", "b", "c"]);
}, small);

onEachTransport(test, "a page that is hidden tries again", async (page) => {
  page.tab.sessionStorage.leave(0);
  page.add("a");
  page.tab.sessionStorage.maxChars = Infinity;
  assert.deepEqual(page.stored, []);
  page.tab.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual([stored(page), page.view.isKept], [[["a", null]], true]);
}, small);

for (const [what, setItem] of Object.entries({
  "only shorter values": SmallStorage.prototype.setItem,
  nothing: BrokenStorage.prototype.setItem,
})) {
  onEachTransport(test, `no outdated copy makes an event that was applied be sent again, if ${what} can be written`, async (page, server) => {
    await page.joined();
    page.goOffline();
    page.add("a", "b", "c");
    page.tab.sessionStorage.leave(0);
    page.tab.sessionStorage.setItem = setItem;
    const [reply] = page.add("d");
    assert.deepEqual(stored(page), [["a", null], ["b", null], ["c", null]]);
    server.isSaving = false; // each event stays in the queue, with its number
    await page.back();
    assert.deepEqual((await reply).state, ["a", "b", "c", "d"]);
    assert.ok(page.stored.every(({ seq }) => seq !== null), JSON.stringify(stored(page)));
    server.save();
    const reloaded = page.reload();
    assert.equal((await reloaded.joined()).outcome, "recovered");
    assert.deepEqual((await reloaded.add("e")[0]).state, ["a", "b", "c", "d", "e"]);
  }, small);
}

onEachTransport(test, "numbers that are given anew are stored, or nothing is", async (page, server) => {
  await page.joined();
  server.maxChars = 200;
  page.goOffline();
  page.add("a");
  const [big, last] = page.add("x".repeat(300), "b");
  page.tab.sessionStorage.leave(0);
  await page.back();
  await assert.rejects(big, { reason: "too_large" });
  await last;
  const reloaded = page.reload();
  await reloaded.joined();
  assert.deepEqual((await reloaded.add("c")[0]).state, ["a", "b", "c"]);
}, small);

onEachTransport(test, "a view that closes while the storage is full leaves all to the next one, in order", async (page) => {
  await page.joined();
  page.goOffline();
  page.add("a", "b");
  page.tab.sessionStorage.leave(0);
  page.add("c", "d");
  page.view.close();
  assert.deepEqual(stored(page).map(([item]) => item), ["a", "b"]);
  const next = page.next();
  await next.joined();
  assert.deepEqual((await next.add("e")[0]).state, ["a", "b", "c", "d", "e"]);
}, small);

for (const [what, sessionStorage] of Object.entries({ full: new SmallStorage(), forbidden: new BrokenStorage() })) {
  sessionStorage.maxChars = 0;
  onEachTransport(test, `a page whose storage is ${what} from the beginning works, and is told that a reload keeps nothing`, async (page) => {
    assert.equal(page.view.isKept, true, "nothing was tried yet");
    const kept = dispatched(page.view, "kept");
    const replies = page.add("a");
    assert.equal(await kept, false);
    await page.joined();
    replies.push(...page.add("b"));
    assert.deepEqual((await Promise.all(replies)).at(-1).state, ["a", "b"]);
    assert.equal(page.view.isKept, false);
  }, () => ({ ...small(), tab: new FakeBrowser().open({ sessionStorage }) }));
}

onEachTransport(test, "a token that found no room is stored as soon as there is some", async (page) => {
  page.tab.sessionStorage.maxChars = 10;
  await page.joined();
  const notes = await tellingFrom(page);
  assert.deepEqual([page.tab.sessionStorage.getItem(KEY), page.view.isKept], [null, false]);
  page.tab.sessionStorage.maxChars = Infinity;
  await page.add("a")[0];
  await until(() => page.view.isKept);
  assert.equal(page.tab.sessionStorage.getItem(KEY), page.view.token);
  assert.deepEqual(notes, [["kept", true]]);
  const reloaded = page.reload();
  assert.equal((await reloaded.joined()).outcome, "recovered");
}, small);

onEachTransport(test, "a token of another page of the tab isn't replaced by one that found no room", async (page) => {
  page.tab.sessionStorage.maxChars = 10;
  await page.joined();
  page.tab.sessionStorage.maxChars = Infinity;
  page.tab.sessionStorage.setItem(KEY, "another");
  await page.add("a")[0];
  assert.equal(page.tab.sessionStorage.getItem(KEY), "another");
}, small);

onEachTransport(test, "events that have no owner yet aren't kept, and the page is told once they are", async (page) => {
  const notes = told(page.view);
  page.add("a");
  await immediate();
  assert.deepEqual([page.view.isKept, page.stored, notes], [false, [], [["kept", false]]]);
  await page.joined();
  await immediate();
  assert.deepEqual([page.view.isKept, notes.at(-1)], [true, ["kept", true]]);
}, () => ({ timeoutMs: 3_600_000 }));

onEachTransport(test, "with the storage none, nothing is kept, and that is no news", async (page) => {
  const notes = told(page.view);
  assert.equal(page.view.isKept, false);
  await page.joined();
  await page.add("a")[0];
  assert.deepEqual([page.view.isKept, notes], [false, []]);
}, () => ({ storage: "none", timeoutMs: 3_600_000 }));

test("what was pushed before a socket had a name is stored when it has one", async () => {
  const tab = new FakeBrowser().open();
  tab.WebSocket = class {
    close() {}
  };
  const socket = new tab.app.RecoverySocket("wss://app.test/s", { owner: "ann" });
  const notes = told(socket);
  socket.push("add", { item: "a" });
  socket.join("form:1");
  assert.equal(JSON.parse(tab.sessionStorage.getItem("lv_recovery_/s form:1:events")).length, 1);
  await immediate();
  assert.deepEqual([socket.isKept, notes], [true, []]);
  socket.disconnect();
});

onEachTransport(test, "a page may push while it is told, and no event is sent before an earlier one", async (page, server) => {
  page.view.on("kept", () => page.add("told"));
  page.tab.sessionStorage.maxChars = 0;
  page.add("a");
  await page.joined();
  assert.deepEqual((await page.add("b")[0]).state, ["a", "told", "b"]);
  assert.deepEqual(items(server), ["a", "told", "b"]);
}, small);

onEachTransport(test, "nothing is stored of an event but what the next page needs", async (page) => {
  await page.joined();
  page.goOffline();
  page.add("a");
  assert.deepEqual(
    Object.keys(page.stored[0]).sort(),
    ["cuts", "event", "id", "isAnswered", "isEarly", "line", "owner", "payload", "seq"],
  );
}, small);
