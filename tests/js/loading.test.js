/** The file works as a module and as a plain script. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { FILE, SOURCE } from "./support/browser.js";

const NAMES = [
  "EventError", "LiveViewRecovery", "Recovery", "RecoveryChannel", "RecoverySocket", "fullJitter", "reconnectAfterMs", "rejoinAfterMs",
  "version",
];

const page = () => createContext({ EventTarget, CustomEvent, URL, AbortController, setTimeout, clearTimeout });

test("a module exports the names, and the page has them as RecoveryApp", async () => {
  const module = await import(FILE);
  assert.deepEqual(Object.keys(module).sort(), NAMES);
  assert.equal(module.Recovery, globalThis.RecoveryApp.Recovery);
});

test("a plain script defines a single global name", () => {
  const window = page();
  const before = Object.keys(window);
  runInContext(SOURCE, window);
  assert.deepEqual(Object.keys(window).filter((name) => !before.includes(name)), ["RecoveryApp"]);
  assert.deepEqual(Object.keys(window.RecoveryApp).sort(), NAMES);
  for (const name of NAMES) assert.equal(runInContext(`typeof ${name}`, window), "undefined");
});

test("a plain script may be loaded twice", () => {
  const window = page();
  runInContext(SOURCE, window);
  runInContext(SOURCE, window);
});

test("loading has no effect until an object is created", () => {
  const forbidden = new Proxy({}, { get: (_, name) => assert.fail(`loading touched ${String(name)}`) });
  const window = page();
  Object.assign(window, { navigator: forbidden, document: forbidden, location: forbidden, sessionStorage: forbidden });
  runInContext(SOURCE, window);
});

test("ManifestStaticFilesStorage finds no paths to rewrite", () => {
  // the patterns of django.contrib.staticfiles.storage.HashedFilesMixin
  for (const pattern of [/import[\s{*][^;]*?from\s*["']/i, /export[\s{][^;]*?from\s*["']/i, /import\s*\(?["']/i, /sourceMappingURL/i]) {
    assert.doesNotMatch(SOURCE, pattern);
  }
});
