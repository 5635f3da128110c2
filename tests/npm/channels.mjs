/**
 * Two topics of recovery.js on one socket, against the example's LiveConsumer. The environment variable DEMO_URL is its
 * address. Printing the line "kill" asks the calling test to kill and restart the server.
 */
import assert from "node:assert/strict";
import { WebSocket } from "ws";

const urls = [];
globalThis.WebSocket = class extends WebSocket {
  constructor(url, ...more) {
    super(url, ...more);
    urls.push(String(url));
  }
};
const { RecoverySocket } = await import("../../recovery_app/static/recovery_app/recovery.js");

let tickets = 0;
const url = async () => `${process.env.DEMO_URL}/live/websocket?vsn=2.0.0&ticket=${++tickets}`;
const socket = new RecoverySocket(url, { storage: "none", reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 });
const views = ["one", "two"].map((viewId) => socket.channel(`lv:${viewId}`, async () => ({}), { viewId }));
const add = (view) => view.push("event", { type: "click", event: "add", value: {} });
const outcomes = () => Promise.all(views.map((view) => new Promise((resolve) => {
  const stop = view.on("outcome", (detail) => (stop(), resolve(detail)));
})));

await Promise.all(views.map((view) => view.join()));
assert.equal((await add(views[0])).diff["0"], "1");
await Promise.all([add(views[1]), add(views[1])]);

// with events of both on their way
const restored = outcomes();
const sent = [...Array(20).keys()].map((number) => add(views[number % 2]));
console.log("kill");
assert.deepEqual((await restored).map(({ outcome }) => outcome), ["recovered", "recovered"]);
const last = (await Promise.all(sent)).slice(-2).map(({ diff }) => diff["0"]);
assert.deepEqual(last, ["11", "12"]);

views[0].leave();
assert.equal((await add(views[1])).diff["0"], "13");
const before = urls.length;
views[1].close();
await socket.channel("lv:three", {}, { viewId: "three" }).join();
assert.equal(urls.length, before + 1);
assert.ok(urls.every((each, index) => each.endsWith(`ticket=${index + 1}`)), urls.join());
socket.close();
console.log("done");
