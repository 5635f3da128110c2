/**
 * Two people in one tab, against a real server: node two_logins.js URL COOKIE_OF_ANN COOKIE_OF_BOB. Prints what Bob's
 * pages find, as JSON. Run by tests/test_two_logins.py.
 */
import { WebSocket } from "ws";
import { dispatched, FakeBrowser, record } from "./support/browser.js";

const [url, ...cookies] = process.argv.slice(2);
const [ann, bob] = cookies.map((cookie) => {
  return class extends WebSocket {
    constructor(address) {
      super(address, { headers: { cookie } });
    }
  };
});

const open = (tab, options) => new tab.app.RecoverySocket(url, { viewId: "form", ...options });

/** Log in as Bob in Ann's tab: load a page and push one event. */
async function visitAsBob(annsTab, options) {
  const tab = annsTab.reload();
  tab.WebSocket = bob;
  const socket = open(tab, options);
  const notes = record(socket, "lost", "reply");
  const before = socket.pending.length;
  await socket.join("form");
  const { count } = await socket.push("add");
  const { outcome } = socket;
  socket.disconnect();
  return { outcome, count, told: before + notes.length };
}

/** Ann never gets a connection, and pushes two events. */
async function annIsOffline(options) {
  const tab = new FakeBrowser().open({ WebSocket: ann });
  const socket = open(tab, options);
  socket.push("add");
  socket.push("add");
  return tab;
}

/** Ann joins, loses her connection, and pushes two events. */
async function annIsCut() {
  const tab = new FakeBrowser().open({ WebSocket: ann });
  const socket = open(tab);
  await socket.join("form");
  await socket.push("add");
  socket.disconnect();
  socket.push("add");
  socket.push("add");
  return tab;
}

/** Ann reloads, and her events are applied. */
async function annComesBack(tab) {
  const socket = open(tab.reload());
  const reply = dispatched(socket, "reply");
  await socket.join("form");
  await reply;
  const { count } = await socket.push("add");
  socket.disconnect();
  return { outcome: socket.outcome, count };
}

const found = {
  "before the first join": await visitAsBob(await annIsOffline()),
  "before the first join, with an owner": await visitAsBob(await annIsOffline({ owner: "ann" })),
  "after a cut": await visitAsBob(await annIsCut()),
  "ann herself": await annComesBack(await annIsCut()),
};
console.log(JSON.stringify(found));
