/** One file for both kinds of script tag. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { FILE, SOURCE } from "./support/browser.js";

const NAMES = [
  "EventError", "LiveViewRecovery", "Recovery", "RecoverySocket", "fullJitter", "reconnectAfterMs", "rejoinAfterMs",
];

const page = () => createContext({ EventTarget, CustomEvent, URL, AbortController, setTimeout, clearTimeout });

test("a module has the names as exports, and the page has them as RecoveryApp", async () => {
  const module = await import(FILE);
  assert.deepEqual(Object.keys(module).sort(), NAMES);
  assert.equal(module.Recovery, globalThis.RecoveryApp.Recovery);
});

test("a plain script has one global name, and leaves no other behind", () => {
  const window = page();
  const before = Object.keys(window);
  runInContext(SOURCE, window);
  assert.deepEqual(Object.keys(window).filter((name) => !before.includes(name)), ["RecoveryApp"]);
  assert.deepEqual(Object.keys(window.RecoveryApp).sort(), NAMES);
  for (const name of NAMES) assert.equal(runInContext(`typeof ${name}`, window), "undefined");
});

test("a plain script loaded twice is no error", () => {
  const window = page();
  runInContext(SOURCE, window);
  runInContext(SOURCE, window);
});

test("nothing happens in a page until something is made", () => {
  const forbidden = new Proxy({}, { get: (_, name) => assert.fail(`loading touched ${String(name)}`) });
  const window = page();
  Object.assign(window, { navigator: forbidden, document: forbidden, location: forbidden, sessionStorage: forbidden });
  runInContext(SOURCE, window);
});

test("ManifestStaticFilesStorage finds nothing to rewrite", () => {
  // the patterns of django.contrib.staticfiles.storage.HashedFilesMixin
  for (const pattern of [/import[\s{*][^;]*?from\s*["']/i, /export[\s{][^;]*?from\s*["']/i, /import\s*\(?["']/i, /sourceMappingURL/i]) {
    assert.doesNotMatch(SOURCE, pattern);
  }
});
