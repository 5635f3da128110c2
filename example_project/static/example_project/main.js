/** The page: a socket that reconnects and queues changes, a form and a panel. */
import { fullJitter, RecoverySocket } from "../recovery_app/recovery.js";
import { QuoteForm } from "./form.js";
import { Panel } from "./panel.js";
import { withChanges } from "./quote.js";
import { Typing } from "./typing.js";

const OFFLINE = "You are offline. Your changes are kept here and sent when you are back online.";
const OUTAGE = "The server can’t load your form at the moment. It isn’t lost, and the page keeps trying.";
const socket = new RecoverySocket("/ws/websocket?vsn=2.0.0", {
  viewId: "quote",
  // Frequent retries are fine with a single page and server.
  reconnectAfterMs: fullJitter(100, 800),
  rejoinAfterMs: fullJitter(500, 2_000),
});
const typing = new Typing(push);
const panel = new Panel();
const form = new QuoteForm(change);
/** The quote as last received. @type {any} */
let quote = null;
/** Whether the connection has joined with the form. */
let isLive = false;

// From the server

socket.addEventListener("status", ({ detail }) => {
  // Whether the form still exists is known only after the outcome.
  if (detail === "connected") typing.flush();
  else setLive(false);
  panel.status(detail);
  render();
});

socket.addEventListener("outcome", ({ detail }) => {
  panel.outcome(detail);
  // Otherwise the socket queues changes and joins again until it gets the form, for a minute at most.
  if (!detail.isWaiting) {
    const waiting = socket.pending.length;
    if (waiting) panel.note("note", `${changes(waiting)} sent now`);
    quote = detail.response.quote;
    setLive(true);
  }
  render();
});

socket.addEventListener("lost", ({ detail }) => panel.note("bad", `${changes(detail.events.length)} lost`));

// Replies to changes made before a reload.
socket.addEventListener("reply", ({ detail: { status, response } }) => (status === "ok" ? answered(response) : refused()));

socket.on("recovery:token", () => panel.note("note", "This tab continues with its own copy"));

function setLive(live) {
  isLive = live;
  typing.setLive(live);
}

function answered(response) {
  // A repeated reply may be empty, as the server doesn't keep all; the join had the current form.
  quote = response.quote ?? quote;
  render();
}

function refused() {
  panel.note("bad", "The server refused a change");
  render();
}

// From the user

function change(event, payload) {
  if (event.startsWith("set_")) typing.add(event, payload);
  else {
    typing.flush();
    push(event, payload);
  }
  render();
}

function push(event, payload) {
  socket.push(event, payload).then(answered, ({ name }) => name === "EventRefused" && refused());
}

document.querySelector("#quote").addEventListener("focusout", () => typing.flush());
addEventListener("pagehide", () => typing.flush());

document.querySelector("#cut").addEventListener("click", () => {
  panel.expectCut();
  socket.drop();
});

document.querySelector("#stay-offline").addEventListener("change", ({ target }) => {
  panel.expectCut();
  if (target.checked) socket.disconnect();
  else socket.connect();
});

// Without an opener, the new tab doesn't copy the session storage and starts a new form.
document.querySelector("#second-tab").addEventListener("click", () => {
  window.open(location.href, "_blank", "noopener");
});

// Rendering

function render() {
  form.enable({ hasQuote: quote !== null, isLive });
  document.querySelector("#offline").textContent = warning();
  if (quote === null) return;
  const waiting = typing.change ? [...socket.pending, typing.change] : socket.pending;
  form.render(withChanges(quote, waiting), { uncounted: isLive ? 0 : waiting.length });
  showSaved(waiting.length);
}

function warning() {
  if (isLive) return "";
  if (socket.status === "connected") return OUTAGE;
  return quote === null ? "" : OFFLINE;
}

function showSaved(waiting) {
  const saved = document.querySelector("#saved");
  saved.dataset.unsaved = String(waiting);
  // Don't flicker while a reply is on its way.
  if (waiting && isLive) return;
  saved.dataset.waiting = String(!isLive);
  if (waiting) saved.textContent = `${changes(waiting)} waiting to be sent`;
  else saved.textContent = isLive ? `Saved on the server · ${changes(quote.changes)}` : "No unsent changes";
}

function changes(count) {
  return count === 1 ? "1 change" : `${count} changes`;
}

render();
socket.join("quote");
