/**
 * A visitor who logs in, and the next user of the same tab, against a real server: node visitor_logs_in.js ORIGIN
 * COOKIE_OF_ANN COOKIE_OF_BOB. Prints what each page finds, as JSON. Run by tests/test_two_logins.py.
 */
import { WebSocket } from "ws";
import { FakeBrowser, record } from "./support/browser.js";

const [origin, ann, bob] = process.argv.slice(2);

/** Load a page, and return the cookie that it sets and the names of its owner. */
async function load(...cookies) {
  const response = await fetch(origin, { headers: { cookie: cookies.join("; ") } });
  const [cookie = null] = response.headers.getSetCookie().map((header) => header.split(";")[0]);
  const [, owner] = (await response.text()).match(/data-recovery-owner="([^"]*)"/) ?? [];
  return { cookie, owner };
}

/** Open a tab's next page, join, push an event, and leave two unsent. */
async function visit(tab, path, ...cookies) {
  tab.WebSocket = class extends WebSocket {
    constructor(address) {
      super(address, { headers: { cookie: cookies.join("; ") } });
    }
  };
  const { owner } = await load(...cookies);
  const socket = new tab.app.RecoverySocket(`${origin.replace("http", "ws")}${path}`, { viewId: "form", owner });
  const notes = record(socket, "lost", "reply");
  const before = socket.pending.length;
  await socket.join("form");
  const { count } = await socket.push("add");
  socket.disconnect();
  socket.push("add");
  socket.push("add");
  return { outcome: socket.outcome, count, told: before + notes.length };
}

async function logInAndOut(path) {
  const { cookie } = await load();
  const found = [];
  let tab = new FakeBrowser().open();
  for (const login of [[], [], [ann], [bob], []]) {
    found.push(await visit(tab, path, cookie, ...login));
    tab = tab.reload();
  }
  return found;
}

console.log(JSON.stringify({ kept: await logInAndOut("/kept"), not: await logInAndOut("/gathering") }));
