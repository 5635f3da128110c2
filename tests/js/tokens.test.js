/** Where a token is stored, and which tab owns it. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { BrokenStorage, FakeBrowser, FakeClock, FakeStorage, record, Tab } from "./support/browser.js";

const KEY = "lv_recovery_form";
const reply = (token, outcome = "new") => ({ _recovery: { token, outcome, ttl: 300, seq: 0 } });
const recovery = (tab, options) => new tab.app.Recovery("form", options);

/** Wait until all promises that are ready have settled. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a token from a join's reply is put into sessionStorage and into the next join", () => {
  const tab = new FakeBrowser().open();
  const view = recovery(tab);
  assert.deepEqual(view.joinPayload({ id: 1 }), { id: 1 });
  view.joined(reply("t1"));
  assert.equal(tab.sessionStorage.getItem(KEY), "t1");
  assert.deepEqual(view.joinPayload({ id: 1 }), { id: 1, _recovery: "t1" });
  assert.deepEqual([...tab.browser.localStorage.items], []);
});

test("a reloaded page sends the token, another tab doesn't", () => {
  const browser = new FakeBrowser();
  const tab = browser.open();
  recovery(tab).joined(reply("t1"));
  assert.equal(recovery(tab.reload()).token, "t1");
  assert.equal(recovery(browser.open()).token, null);
});

test("a duplicated tab sends the same token, and each continues with its new one", () => {
  const tab = new FakeBrowser().open();
  recovery(tab).joined(reply("t1"));
  const copy = tab.duplicate();
  assert.equal(recovery(copy).token, "t1");
  recovery(copy).keep({ token: "t2" });
  assert.equal(recovery(tab.reload()).token, "t1");
  assert.equal(recovery(copy.reload()).token, "t2");
});

test("a join without a token in its reply keeps the old one", () => {
  const view = recovery(new FakeBrowser().open());
  view.joined(reply("t1"));
  for (const outcome of ["version", "unavailable"]) {
    view.joined(reply(null, outcome));
    assert.deepEqual([view.token, view.outcome], ["t1", outcome]);
  }
  view.joined({});
  view.joined(null);
  view.keep({});
  assert.deepEqual([view.token, view.outcome], ["t1", null]);
});

test("every other outcome brings a new token", () => {
  const view = recovery(new FakeBrowser().open());
  ["new", "recovered", "expired", "not_found", "superseded", "rejected"].forEach((outcome, index) => {
    view.joined(reply(`t${index}`, outcome));
    assert.deepEqual([view.token, view.outcome], [`t${index}`, outcome]);
  });
});

test("forget removes the token from memory and storage", () => {
  const tab = new FakeBrowser().open();
  const view = recovery(tab);
  view.joined(reply("t1"));
  view.forget();
  assert.deepEqual(view.joinPayload(), {});
  assert.equal(recovery(tab.reload()).token, null);
});

test("params may be a function, called for each join, and are not modified", () => {
  const view = recovery(new FakeBrowser().open());
  view.keep({ token: "t1" });
  let joins = 0;
  const given = { _recovery: "not this" };
  assert.deepEqual(view.joinPayload(() => ({ joins: ++joins })), { joins: 1, _recovery: "t1" });
  assert.deepEqual(view.joinPayload(() => ({ joins: ++joins })), { joins: 2, _recovery: "t1" });
  view.joinPayload(given);
  assert.deepEqual(given, { _recovery: "not this" });
});

test("views don't share tokens, but two Recovery objects of one view do", () => {
  const tab = new FakeBrowser().open();
  recovery(tab).keep({ token: "t1" });
  assert.equal(new tab.app.Recovery("other").token, null);
  assert.equal(recovery(tab).token, "t1");
});

test("without a storage, the token lives as long as the page", () => {
  const tab = new FakeBrowser().open();
  recovery(tab, { storage: "none" }).joined(reply("t1"));
  assert.deepEqual([...tab.sessionStorage.items], []);
  assert.equal(recovery(tab, { storage: "none" }).token, "t1");
  assert.equal(recovery(tab.reload(), { storage: "none" }).token, null);
});

test("an unknown kind of storage is an error", () => {
  assert.throws(() => recovery(new FakeBrowser().open(), { storage: "cookie" }), TypeError);
});

for (const storage of ["sessionStorage", "localStorage"]) {
  test(`${storage} that throws on every access breaks nothing`, async () => {
    const broken = new BrokenStorage();
    const browser = new FakeBrowser();
    browser.localStorage = broken;
    const view = recovery(browser.open({ sessionStorage: broken }), { storage });
    await view.ready;
    view.joined(reply("t1"));
    assert.deepEqual(view.joinPayload(), { _recovery: "t1" });
    view.forget();
    assert.equal(view.token, null);
  });

  test(`${storage} whose property throws breaks nothing`, async () => {
    const tab = new Tab({});
    const denied = { get: () => assert.fail(new DOMException("denied", "SecurityError")) };
    Object.defineProperties(tab, { sessionStorage: denied, localStorage: denied });
    const view = recovery(tab, { storage });
    await view.ready;
    view.joined(reply("t1"));
    assert.equal(view.token, "t1");
  });
}

test("status and outcome events have the elapsed time and the response without its token", () => {
  const tab = new FakeBrowser().open();
  const view = recovery(tab);
  const notes = record(view, "status", "outcome");
  const now = mock.method(performance, "now", () => 1000);
  view.joinPayload();
  now.mock.mockImplementation(() => 1040);
  view.joined(reply("t1"));
  view.dropped();
  view.dropped();
  now.mock.mockImplementation(() => 1100);
  view.joinPayload();
  now.mock.mockImplementation(() => 1290);
  view.joined({ ...reply("t2", "recovered"), count: 7 });
  now.mock.restore();
  assert.deepEqual(notes, [
    ["status", "connecting"],
    ["outcome", { outcome: "new", elapsedMs: 40, ttl: 300, response: {}, isWaiting: false }],
    ["status", "connected"],
    ["status", "disconnected"],
    ["status", "connecting"],
    ["outcome", { outcome: "recovered", elapsedMs: 250, ttl: 300, response: { count: 7 }, isWaiting: false }],
    ["status", "connected"],
  ]);
});

// ---------------------------------------------------------------------------------------------- localStorage

const local = (tab) => recovery(tab, { storage: "localStorage" });

/** A browser whose first tab owns the token t1. */
async function withOwner() {
  const browser = new FakeBrowser();
  const tab = browser.open();
  const owner = local(tab);
  await owner.ready;
  owner.joined(reply("t1"));
  return { browser, tab, owner };
}

test("the first tab owns the token in localStorage, and after it the next one", async () => {
  const { browser, tab } = await withOwner();
  assert.deepEqual([...browser.localStorage.items], [[KEY, "t1"]]);
  assert.deepEqual([...tab.sessionStorage.items], []);
  tab.close();
  const next = local(browser.open());
  await next.ready;
  assert.equal(next.token, "t1");
});

test("a second tab has its own token in sessionStorage, also after reloads", async () => {
  const { browser, tab, owner } = await withOwner();
  const clock = new FakeClock();
  const second = browser.open({ clock });
  const view = local(second);
  await settled();
  clock.tick(500);
  await view.ready;
  assert.deepEqual(view.joinPayload(), {});
  view.joined(reply("t2"));
  assert.deepEqual([...browser.localStorage.items], [[KEY, "t1"]]);
  assert.deepEqual([...second.sessionStorage.items], [[KEY, "t2"]]);
  tab.close(); // the lock is free, but this tab has its own token
  const reloaded = local(second.reload());
  await reloaded.ready;
  assert.deepEqual([reloaded.token, owner.token], ["t2", "t1"]);
});

test("a reloaded owner waits until the previous page releases the lock", async () => {
  const { tab } = await withOwner();
  const clock = new FakeClock();
  const page = new Tab({ ...tab, clock }); // the new page starts before the old one is gone
  const view = local(page);
  await settled();
  clock.tick(499);
  tab.close();
  await view.ready;
  assert.equal(view.token, "t1");
});

test("a page that joins before `ready` never sends the token, and releases the lock", async () => {
  const { browser, tab } = await withOwner();
  tab.close();
  const hasty = browser.open();
  const view = local(hasty);
  assert.deepEqual(view.joinPayload(), {});
  await view.ready;
  view.joined(reply("t2"));
  assert.deepEqual([...browser.localStorage.items], [[KEY, "t1"]]);
  const patient = local(browser.open());
  await patient.ready;
  assert.equal(patient.token, "t1");
});

/** Let an owner sleep in the back/forward cache, where it has no lock, while something happens, and wake it up. */
async function slept({ browser, tab, owner }, meanwhile) {
  browser.locks.closed(tab);
  await meanwhile();
  tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await owner.ready;
}

test("an owner that has slept, while another tab became the owner, keeps its token to itself", async () => {
  const { browser, tab, owner } = await withOwner();
  const token = owner.token;
  await slept({ browser, tab, owner }, async () => {
    const heir = local(browser.open());
    await heir.ready;
    assert.equal(heir.token, token);
    heir.joined(reply("heir"));
  });
  assert.equal(owner.token, token);
  assert.deepEqual([...tab.sessionStorage.items], [[KEY, token]], "for a reload");
  owner.joined(reply("own"));
  assert.deepEqual([...browser.localStorage.items], [[KEY, "heir"]]);
  assert.deepEqual([...tab.sessionStorage.items], [[KEY, "own"]]);
});

test("an owner that has slept is the owner again, with what another tab has made of the state", async () => {
  const { browser, tab, owner } = await withOwner();
  owner.joinPayload();
  await slept({ browser, tab, owner }, async () => {
    const other = browser.open();
    const heir = local(other);
    await heir.ready;
    heir.joined(reply("heir"));
    browser.locks.closed(other);
  });
  assert.equal(owner.token, "heir");
  owner.joined(reply("own"));
  assert.deepEqual([...browser.localStorage.items], [[KEY, "own"]]);
});

test("an owner that has slept is ready when it knows whether it still is, and what it has shown until then stays its own", async () => {
  for (const isHasty of [false, true]) {
    const { browser, tab, owner } = await withOwner();
    browser.locks.closed(tab);
    const other = browser.open();
    const heir = local(other);
    await heir.ready;
    heir.joined(reply("heir"));
    tab.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    let isReady = false;
    owner.ready.then(() => (isReady = true));
    await settled();
    assert.equal(isReady, false);
    if (isHasty) assert.deepEqual(owner.joinPayload(), { _recovery: "t1" });
    browser.locks.closed(other);
    await owner.ready;
    assert.equal(owner.token, isHasty ? "t1" : "heir");
    if (!isHasty) continue;
    const next = local(browser.open());
    await next.ready;
    assert.equal(next.token, "heir");
  }
});

test("forget in the owning tab removes the token from localStorage", async () => {
  const { browser, owner } = await withOwner();
  owner.forget();
  assert.deepEqual([...browser.localStorage.items], []);
});

for (const [what, navigator] of [
  ["no Web Locks, as over plain HTTP", {}],
  ["Web Locks that reject", { locks: { request: () => Promise.reject(new DOMException("denied", "SecurityError")) } }],
]) {
  test(`with ${what}, the token stays in sessionStorage`, async () => {
    const tab = new Tab({ navigator, sessionStorage: new FakeStorage(), localStorage: new FakeStorage([[KEY, "t0"]]) });
    const view = local(tab);
    await view.ready;
    assert.equal(view.token, null);
    view.joined(reply("t1"));
    assert.deepEqual([...tab.sessionStorage.items], [[KEY, "t1"]]);
    assert.deepEqual([...tab.localStorage.items], [[KEY, "t0"]]);
  });
}
