/** Options that are checked, and the version. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FakeBrowser } from "./support/browser.js";

const app = () => new FakeBrowser().open().app;
const URL = "ws://app.test/";

for (const [given, nearest] of [["viewID", "viewId"], ["timeout", "timeoutMs"], ["heartbeatMS", "heartbeatMs"], ["reconnectAfter", "reconnectAfterMs"], ["log", "logger"], ["protocol", "protocols"]]) {
  test(`the unknown option ${given} is a mistake, and ${nearest} is suggested`, () => {
    const { Recovery, RecoverySocket, LiveViewRecovery } = app();
    const mistake = { name: "TypeError", message: new RegExp(`no option ${given}\\. Did you mean ${nearest}\\?`) };
    assert.throws(() => new RecoverySocket(URL, { [given]: 1 }), mistake);
    assert.throws(() => new RecoverySocket(URL).channel("form:1", {}, { [given]: 1 }), mistake);
    assert.throws(() => new Recovery("form", { [given]: 1 }), mistake);
    assert.throws(() => new LiveViewRecovery({ [given]: 1 }), mistake);
  });
}

for (const [name, ...values] of [
  ["viewId", 7, null],
  ["storage", "cookie", null],
  ["owner", 7],
  ["maxKept", "10", NaN, -1],
  ["maxKeptChars", {}],
  ["timeoutMs", "10s", 0, -1, NaN, Infinity, null],
  ["heartbeatMs", 2 ** 31],
  ["reconnectAfterMs", 100],
  ["rejoinAfterMs", [1, 2]],
  ["protocols", 7, [7], null],
  ["logger", "console", null],
]) {
  test(`a wrong ${name} is a mistake that says what is right`, () => {
    const { RecoverySocket } = app();
    for (const value of values) {
      assert.throws(() => new RecoverySocket(URL, { [name]: value }), { name: "TypeError", message: new RegExp(`^RecoverySocket: ${name} must be `) });
    }
  });
}

test("undefined means the default", () => {
  const waits = [];
  const tab = new FakeBrowser().open({ clock: { setTimeout: (_, ms) => waits.push(ms), clearTimeout() {}, performance } });
  tab.WebSocket = class {
    close() {}
  };
  const names = ["viewId", "storage", "owner", "maxKept", "maxKeptChars", "timeoutMs", "heartbeatMs", "reconnectAfterMs", "rejoinAfterMs", "protocols", "logger"];
  const options = Object.fromEntries(names.map((name) => [name, undefined]));
  const socket = new tab.app.RecoverySocket(URL, options);
  socket.join("form:1");
  const form = socket.channel("form:2", undefined, options);
  form.keep({ token: "t1" });
  assert.ok(tab.sessionStorage.getItem("lv_recovery_/ form:2"));
  return socket.ready.then(() => {
    assert.ok(waits.includes(10_000), String(waits));
    socket.close();
  });
});

test("options, a URL, a topic, params and a viewId that are none are mistakes", () => {
  const { Recovery, RecoverySocket } = app();
  for (const options of [null, "form", 7]) assert.throws(() => new RecoverySocket(URL, options), TypeError);
  for (const url of [undefined, null, 7, {}]) assert.throws(() => new RecoverySocket(url), { name: "TypeError", message: /URL/ });
  assert.throws(() => new Recovery(), { name: "TypeError", message: /viewId/ });
  const socket = new RecoverySocket(URL);
  for (const topic of [undefined, "", 7]) {
    assert.throws(() => socket.join(topic), { name: "TypeError", message: /topic/ });
    assert.throws(() => socket.channel(topic), { name: "TypeError", message: /topic/ });
  }
  for (const params of [null, "text", [1]]) assert.throws(() => socket.join("form:1", params), { name: "TypeError", message: /params/ });
});

test("a push is told of a wrong option", async () => {
  const view = new (app().Recovery)("form");
  await assert.rejects(view.push("add", {}, { timeout: 5 }), { name: "TypeError", message: /Did you mean timeoutMs\?/ });
  await assert.rejects(view.push("add", {}, null), TypeError);
});

test("the version is the package's", () => {
  const { version } = JSON.parse(readFileSync(new globalThis.URL("../../js/package.json", import.meta.url), "utf8"));
  assert.equal(app().version, version);
});
