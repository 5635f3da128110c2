/** The page: a socket that comes back by itself, an outbox, a form and a panel. */
import { fullJitter, RecoverySocket } from "../recovery_app/recovery.js";
import { QuoteForm } from "./form.js";
import { Outbox } from "./outbox.js";
import { Panel } from "./panel.js";
import { withChanges } from "./quote.js";

const RETRY_MS = 2_000;
const OFFLINE = "You are offline. Go on typing: it is kept here, and sent when the connection is back.";
const OUTAGE = "The server can’t reach your form just now. It is kept, and looked for again.";
const socket = new RecoverySocket("/ws/websocket?vsn=2.0.0", {
  viewId: "quote",
  // One page and one server: nobody else is kept waiting by frequent tries.
  reconnectAfterMs: fullJitter(100, 800),
});
const outbox = new Outbox((event, payload) => socket.push(event, payload), answered);
const panel = new Panel();
const form = new QuoteForm(change);
/** What the server said last. @type {any} */
let quote = null;
/** Whether the server has the form at hand. */
let isLive = false;

// From the server

socket.addEventListener("status", ({ detail }) => {
  if (detail !== "connected") isLive = false;
  if (!isLive) outbox.close();
  panel.status(detail);
  render();
});

socket.addEventListener("outcome", ({ detail }) => {
  panel.outcome(detail);
  if (detail.outcome === "unavailable" || detail.outcome === "version") {
    // The form is still kept somewhere: change nothing, and join again for it.
    setTimeout(() => socket.drop(), RETRY_MS * (1 + Math.random()));
    return render();
  }
  const isBack = detail.outcome === "recovered";
  const waiting = isBack ? outbox.changes.length : outbox.clear();
  if (waiting) panel.tell(isBack ? "note" : "bad", `${changes(waiting)} ${isBack ? "sent now" : "lost"}`);
  quote = detail.response.quote;
  isLive = true;
  outbox.open();
  render();
});

socket.on("recovery:token", () => panel.tell("note", "This tab got a copy of its own"));

function answered(response) {
  if (response instanceof Error) panel.tell("bad", "The server refused a change");
  else quote = response.quote;
  render();
}

// From the person

function change(event, payload) {
  outbox.add(event, payload);
  render();
}

document.querySelector("#quote").addEventListener("focusout", () => outbox.flush());
addEventListener("pagehide", () => outbox.flush());

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
  form.render(withChanges(quote, outbox.changes), { uncounted: isLive ? 0 : outbox.changes.length });
  showSaved();
}

function warning() {
  if (isLive) return "";
  if (socket.status === "connected") return OUTAGE;
  return quote === null ? "" : OFFLINE;
}

function showSaved() {
  const waiting = outbox.changes.length;
  const saved = document.querySelector("#saved");
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
