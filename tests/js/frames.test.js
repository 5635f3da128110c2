/** Names of views in the tab's storage, and frames, which share it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { JSDOM } from "jsdom";
import { keyOf } from "../../js/src/tokens/storage_keys.js";
import { FakeBrowser, FakeStorage } from "./support/browser.js";

const KEY = "lv_recovery_form";

/** Return all strings of at most so many of these parts. */
function* stringsOf(parts, length) {
  yield "";
  if (length > 0) for (const rest of stringsOf(parts, length - 1)) for (const part of parts) yield part + rest;
}

test("no two views have one key, and no view's key is that of another one's events", () => {
  const views = new Map();
  const names = [...stringsOf(["%", "2", "5", "3", "A", ":", "events", "x"], 5), ...stringsOf(["%", "25", "3Aevents", ":events", "x"], 6)];
  for (const name of names) {
    const key = keyOf(name);
    assert.equal(views.get(key) ?? name, name);
    assert.ok(!key.includes(":events"), key);
    views.set(key, name);
  }
  assert.equal(views.size, new Set(names).size);
});

test("other names are in the key as they are", () => {
  for (const name of ["quote", "/ws/form/?a=100%25&b=:x form:1", "events", "50%", "%25", "%3A"]) assert.equal(keyOf(name), `lv_recovery_${name}`);
});

// ---------------------------------------------------------------------------------------------- Frames

/** The pages of one tab, each loaded by itself. */
class Pages {
  sessionStorage = new FakeStorage();

  /** Load a page with this HTML: the tab's own, as its frames see it. */
  constructor(html) {
    this.load(html);
  }

  load(html) {
    this.window = new JSDOM(html).window;
    return this.window.document;
  }

  /** Load the tab's own page. */
  get top() {
    return this.open({});
  }

  /** Load the page of a frame. */
  in(frameElement) {
    return this.open({ parent: frameElement.ownerDocument.defaultView, frameElement });
  }

  /** Load the pages of frames in a page of another origin. */
  abroad(...names) {
    const page = new Foreign();
    const pages = names.map((name) => this.open({ parent: page, frameElement: null, name }));
    pages.forEach((opened, place) => (page[place] = opened));
    page.length = names.length;
    return pages;
  }

  open(page) {
    return new FakeBrowser().open({ sessionStorage: this.sessionStorage, ...page });
  }
}

/** What a page sees of a window of another origin. */
class Foreign {
  parent = this;

  get frameElement() {
    return denied();
  }

  get document() {
    return denied();
  }

  get name() {
    return denied();
  }
}

function denied() {
  throw new DOMException("denied", "SecurityError");
}

const viewOf = (page) => new page.app.Recovery("form", { owner: "ann" });

/** Store a token in each of these pages, load them in another order, and check that each has its own. */
function check(pages, open, reload = open) {
  open().forEach((page, place) => viewOf(page).keep({ token: `t${place}` }));
  const tokens = reload().reverse().map((page) => viewOf(page).token).reverse();
  assert.deepEqual(tokens, tokens.map((_, place) => `t${place}`));
  assert.equal(pages.sessionStorage.items.size, tokens.length);
}

test("a page and its frame have a token each, whichever is loaded first", () => {
  const pages = new Pages("<iframe></iframe>");
  check(pages, () => [pages.top, pages.in(pages.window.document.querySelector("iframe"))]);
  assert.equal(pages.sessionStorage.getItem(KEY), "t0");
});

test("and their own events, which no view of another name finds", () => {
  const pages = new Pages("<iframe></iframe>");
  const open = () => [pages.top, pages.in(pages.window.document.querySelector("iframe"))];
  open().forEach((page, place) => void viewOf(page).push("add", { place }));
  const views = open().reverse().map(viewOf).reverse();
  assert.deepEqual(views.map(({ pending }) => pending), [0, 1].map((place) => [{ event: "add", payload: { place } }]));
});

test("frames with a name or an id may change places", () => {
  const pages = new Pages("<iframe name=a></iframe><iframe id=b></iframe><iframe name=c></iframe>");
  const open = () => ["[name=a]", "#b", "[name=c]"].map((selector) => pages.in(pages.window.document.querySelector(selector)));
  check(pages, open, () => {
    pages.load("<iframe name=c></iframe><iframe></iframe><iframe id=b></iframe><iframe name=a></iframe>");
    return open();
  });
});

test("frames without a name, or with the same, are known by their places among those", () => {
  const html = "<iframe></iframe><iframe id=x></iframe><iframe id=x></iframe><iframe></iframe><iframe name=,></iframe>";
  const pages = new Pages(html);
  check(pages, () => Array.from(pages.window.document.querySelectorAll("iframe"), (frame) => pages.in(frame)));
});

test("so are those in frames, and in shadow trees", () => {
  const pages = new Pages("<iframe></iframe><x-a></x-a><x-a></x-a><x-b></x-b>");
  const { document } = pages.window;
  const outer = document.querySelector("iframe");
  const inner = outer.contentDocument.body.appendChild(outer.contentDocument.createElement("iframe"));
  const shadows = Array.from(document.querySelectorAll("x-a, x-b"), (host) => {
    return host.attachShadow({ mode: "closed" }).appendChild(document.createElement("iframe"));
  });
  check(pages, () => [outer, inner, ...shadows].map((frame) => pages.in(frame)));
});

test("frames of a page of another origin are known by their names or numbers", () => {
  const pages = new Pages("");
  check(pages, () => pages.abroad("", "", "a", "a", "b,0", "\ud800"));
});

test("what was stored for a frame under the name of the page is moved, once, unless it may be the page's", () => {
  const values = ["", ":events", ":events:settled", ":events:received"].map((ending) => [KEY + ending, JSON.stringify(`of ${ending}`)]);
  const pages = new Pages("<iframe></iframe>");
  const store = () => (pages.sessionStorage.items = new Map(values));
  store();
  const own = pages.in(pages.window.document.querySelector("iframe"));
  const within = pages.open({ parent: Object.assign(new Foreign(), { parent: pages.window }), frameElement: null });
  for (const page of [own, within]) assert.equal(viewOf(page).token, null);
  assert.deepEqual([...pages.sessionStorage.items], values);

  const [first, second] = pages.abroad("a", "b");
  assert.deepEqual([viewOf(first).token, viewOf(second).token], [values[0][1], null]);
  const moved = [...pages.sessionStorage.items];
  assert.deepEqual(moved.map(([key, value]) => [key.replace(":events:frame/a,0", ""), value]), values);
  store();
  for (const item of moved) pages.sessionStorage.setItem(item[0], "own");
  assert.equal(viewOf(pages.abroad("a")[0]).token, "own");
  assert.equal(pages.sessionStorage.getItem(KEY), values[0][1]);
});

test("a page whose place can't be told has the page's names", () => {
  const pages = new Pages("");
  viewOf(pages.open({ parent: null })).keep({ token: "t" });
  assert.deepEqual([...pages.sessionStorage.items], [[KEY, "t"]]);
});
