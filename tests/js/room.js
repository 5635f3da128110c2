/**
 * Pages in a room, cut again and again while another one publishes: node room.js URL. Prints what each was told and what
 * its state has in the end, as JSON. Run by tests/test_room.py, which kills the server meanwhile.
 */
import { Socket } from "phoenix";
import { FakeBrowser, record } from "./support/browser.js";
import { until } from "./support/pages.js";

const [url] = process.argv.slice(2);
const ROUNDS = 6;
const EACH = 5;
const LAST = ROUNDS * EACH;
const SOON = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 };

function ownSocket(tab) {
  const view = new tab.app.RecoverySocket(url, { viewId: "room", ...SOON });
  return { view, target: view, join: () => view.join("room") };
}

function npmClient(tab) {
  const socket = new Socket(url, { transport: tab.WebSocket, ...SOON });
  const view = new tab.app.Recovery("room", SOON);
  const target = view.channel(socket, "room");
  socket.connect();
  return { view, target, join: () => target.join() };
}

const pages = [ownSocket, npmClient].map((open) => {
  const tab = new FakeBrowser().open();
  const page = open(tab);
  const told = [];
  page.target.on("number", ({ number }) => told.push(number));
  const missed = record(page.view, "missed");
  page.join();
  return { ...page, tab, told, missed };
});
await until(() => pages.every(({ view }) => view.outcome === "new"));

const publisher = new (new FakeBrowser().open().app.RecoverySocket)(url, { viewId: "publisher", ...SOON });
await publisher.join("publisher");
for (let round = 0; round < ROUNDS; round += 1) {
  const numbers = Array.from({ length: EACH }, (_, place) => round * EACH + place + 1);
  // Its handler publishes, which comes again if the server is killed before its reply: so not while that may be.
  await publisher.push("publish", { numbers });
  const page = pages[round % 2];
  page.tab.connections.at(-1).terminate();
  if (round === ROUNDS / 2) {
    console.error("kill");
    await until(() => publisher.status !== "connected");
    await until(() => publisher.status === "connected");
  }
}
await until(() => pages.every(({ told }) => told.includes(LAST)));
const found = [];
for (const { view, told, missed } of pages) found.push({ told, missed, ...(await view.push("state")) });
console.log(JSON.stringify(found));
process.exit();
