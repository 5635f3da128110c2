/** Promises of events without a reply: whoever waits is told, and whoever doesn't finds no error in the console. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compileFunction } from "node:vm";
import { FakeBrowser } from "./support/browser.js";
import { immediate, onEachTransport, SOON, until } from "./support/pages.js";
import { TestServer } from "./support/server.js";

/** Record the rejections that a browser's console would show as uncaught. */
function uncaught(t) {
  const errors = [];
  const note = (error) => errors.push(error);
  process.on("unhandledRejection", note);
  t.after(() => process.off("unhandledRejection", note));
  return errors;
}

onEachTransport(test, "an event that nobody waits for is lost without an uncaught rejection, and one that is awaited rejects", async (page, server, t) => {
  const errors = uncaught(t);
  await page.joined();
  page.view.push("refuse");
  await page.add("a")[0];
  page.goOffline();
  page.add("b");
  page.view.push("add", {}, { signal: AbortSignal.abort() });
  const awaited = page.view.push("add", { item: "c" });
  server.outcomes.push("expired");
  await page.back();
  await assert.rejects(async () => void (await awaited), { name: "EventLost", reason: "expired" });
  page.view.giveUp();
  page.add("d");
  await immediate();
  assert.deepEqual(errors, []);
});

/** Return README's page: its script run on a few elements. */
function openReadme(t, server) {
  const [, script] = readFileSync(new URL("../../README.md", import.meta.url), "utf8").match(/<script>\n(.*?)<\/script>/s);
  const elements = { output: {}, button: {}, p: { texts: [], append: (text) => elements.p.texts.push(text) } };
  const document = { querySelector: (name) => elements[name] };
  const tab = new FakeBrowser().open();
  const sockets = [];
  const open = (path) => {
    sockets.push(new tab.app.RecoverySocket(server.origin + path, SOON));
    return sockets[0];
  };
  const RecoverySocket = function (path) {
    return open(path);
  };
  compileFunction(script, ["document", "RecoveryApp", "console"])(document, { RecoverySocket }, { warn: () => {} });
  t.after(() => sockets[0].disconnect());
  return { ...elements, socket: sockets[0] };
}

test("README's page tells the person that the count is gone, and how many clicks, and has no uncaught rejection", async (t) => {
  const errors = uncaught(t);
  const server = await TestServer.start(t);
  const { button, p, socket } = openReadme(t, server);
  await until(() => socket.outcome === "new");
  assert.deepEqual(p.texts, []);
  socket.disconnect();
  button.onclick();
  button.onclick();
  server.outcomes.push("expired");
  socket.connect();
  await until(() => socket.outcome === "expired");
  await immediate();
  assert.deepEqual(p.texts, ["Clicks that aren't counted: 2.", "Your count is gone: it starts again."]);
  assert.deepEqual(errors, []);
});
