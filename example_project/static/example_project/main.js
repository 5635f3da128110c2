/** The page: a socket that comes back by itself and keeps what is not sent, a form and a panel. */
import { fullJitter, RecoverySocket } from "../recovery_app/recovery.js";
import { QuoteForm } from "./form.js";
import { Panel } from "./panel.js";
import { withChanges } from "./quote.js";
import { Typing } from "./typing.js";

const OFFLINE = "You are offline. Go on typing: it is kept here, and sent when the connection is back.";
const OUTAGE = "The server can’t reach your form just now. It is kept, and looked for again.";
const socket = new RecoverySocket("/ws/websocket?vsn=2.0.0", {
  viewId: "quote",
  // One page and one server: nobody else is kept waiting by frequent tries.
  reconnectAfterMs: fullJitter(100, 800),
  rejoinAfterMs: fullJitter(500, 2_000),
});
const typing = new Typing(push);
const panel = new Panel();
const form = new QuoteForm(change);
/** What the server said last. @type {any} */
let quote = null;
/** Whether the server has the form at hand. */
let isLive = false;

// From the server

socket.addEventListener("status", ({ detail }) => {
  // The outcome, which comes next, says whether there is still a form for it.
  if (detail === "connected") typing.flush();
  else setLive(false);
  panel.status(detail);
  render();
});

socket.addEventListener("outcome", ({ detail }) => {
  panel.outcome(detail);
  // Else the form is still kept somewhere: the socket joins again for it, and holds back what is changed.
  if (detail.outcome !== "unavailable" && detail.outcome !== "version") {
    const waiting = socket.pending.length;
    if (waiting) panel.tell("note", `${changes(waiting)} sent now`);
    quote = detail.response.quote;
    setLive(true);
  }
  render();
});

socket.addEventListener("lost", ({ detail }) => panel.tell("bad", `${changes(detail.events.length)} lost`));

// What was changed before a reload is answered here.
socket.addEventListener("reply", ({ detail: { status, response } }) => (status === "ok" ? answered(response) : refused()));

socket.on("recovery:token", () => panel.tell("note", "This tab got a copy of its own"));

function setLive(live) {
  isLive = live;
  typing.follow(live);
}

function answered(response) {
  // A reply that was lost may be known no more when it is asked for again: the join has brought the form as it is.
  quote = response.quote ?? quote;
  render();
}

function refused() {
  panel.tell("bad", "The server refused a change");
  render();
}

// From the person

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

// Without an opener the new tab gets no copy of this one's storage: it starts a form of its own.
document.querySelector("#second-tab").addEventListener("click", () => {
  window.open(location.href, "_blank", "noopener");
});

// On the page

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
  // While a reply is on its way, what was said before still holds well enough not to flicker.
  if (waiting && isLive) return;
  saved.dataset.waiting = String(!isLive);
  if (waiting) saved.textContent = `${changes(waiting)} kept here`;
  else saved.textContent = isLive ? `Kept by the server · ${changes(quote.changes)}` : "Nothing new to send";
}

function changes(count) {
  return count === 1 ? "1 change" : `${count} changes`;
}

render();
socket.join("quote");
