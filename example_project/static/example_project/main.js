/** The page: a socket that reconnects and queues changes, a form and a panel. */
import { fullJitter, RecoverySocket } from "../recovery_app/recovery.js";
import { QuoteForm } from "./form.js";
import { Memory } from "./memory.js";
import { explain, Notice } from "./notice.js";
import { Panel, setText } from "./panel.js";
import { mergedTexts, missingTexts, textsOf, withChanges } from "./quote.js";
import { count, Saved } from "./saved.js";
import { Typing } from "./typing.js";

const OFFLINE = "You are offline. Your changes are kept here and sent when you are back online.";
const UNSTORED = "You are offline. Your changes are sent when you are back online, unless you leave this page: your browser has no room to store them.";
const OUTAGE = "The server can’t load your form at the moment. It isn’t lost, and the page keeps trying.";
const socket = new RecoverySocket("/ws/websocket?vsn=2.0.0", {
  viewId: "quote",
  // Frequent retries are fine with a single page and server.
  reconnectAfterMs: fullJitter(100, 800),
  rejoinAfterMs: fullJitter(500, 2_000),
});
const staysOffline = document.querySelector("#stay-offline");
const memory = new Memory(document.querySelector("[data-recovery-owner]")?.dataset.recoveryOwner);
const typing = new Typing(push, memory);
const panel = new Panel();
const saved = new Saved();
const notice = new Notice({ putBack, dismiss });
const form = new QuoteForm(change);
/** The quote as last received. @type {any} */
let quote = null;
/** Whether the connection has joined with the form. */
let isLive = false;
/** Whether the server can't load the form at the moment. */
let isOutage = false;
/** The form as it was before something was lost, and why. @type {{ form: any, outcome?: string, reason?: string } | null} */
let loss = null;

// From the server

socket.addEventListener("status", ({ detail }) => {
  // Whether the form still exists is known only after the outcome.
  if (detail === "connected") typing.flush();
  else setLive(false);
  panel.status(detail, staysOffline.checked);
  render();
});

socket.addEventListener("outcome", ({ detail }) => {
  panel.outcome(detail);
  isOutage = detail.isWaiting;
  // Otherwise the socket queues changes and joins again until it gets the form, for a minute at most.
  if (!detail.isWaiting) joined(detail);
  render();
});

function joined({ outcome, response }) {
  if (outcome !== "recovered") remember({ outcome });
  if (outcome === "recovered" || outcome === "copied") typing.resume();
  else typing.drop();
  const waiting = socket.pending.length;
  if (waiting) panel.note("note", `${count(waiting)} sent now`);
  quote = response.quote;
  setLive(true);
  notice.show(memory.offer);
}

socket.addEventListener("lost", ({ detail: { events, reason } }) => {
  panel.note("bad", `${count(events.length)} lost`);
  remember({ reason });
});

/** Remember what was typed, before the page shows what is left of it. @param {{ outcome?: string, reason?: string }} why */
function remember(why) {
  // The outcome of a join comes right after what it has lost.
  if (!loss) queueMicrotask(tellLoss);
  loss = { form: memory.form, ...loss, ...why };
}

/** Say what happened to the form, and offer to put back what it lacks now. */
function tellLoss() {
  const { form: typed, outcome, reason } = loss;
  loss = null;
  const sentence = typed ? explain(outcome, reason) : "";
  if (!sentence) return;
  // What was offered before and not put back is still wanted.
  memory.offer = { sentence, texts: mergedTexts(memory.offer?.texts, missingTexts(typed, memory.form)) };
  notice.show(memory.offer);
}

// Replies to changes made before a reload.
socket.addEventListener("reply", ({ detail: { status, response } }) => (status === "ok" ? answered(response) : refused()));

socket.on("kept", render);

socket.on("recovery:token", () => panel.note("note", "This tab continues with its own copy"));

function setLive(live) {
  isLive = live;
  typing.setLive(live);
}

function answered(response) {
  // A repeated reply may be empty, as the server doesn't keep all; the join had the current form.
  quote = response.quote ?? quote;
  saved.answered();
  render();
}

function refused() {
  panel.note("bad", "The server refused a change");
  remember({ reason: "refused" });
  saved.answered();
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

staysOffline.addEventListener("change", () => {
  panel.expectCut();
  if (staysOffline.checked) socket.disconnect();
  else socket.connect();
});

// Without an opener, the new tab doesn't copy the session storage and starts a new form.
document.querySelector("#second-tab").addEventListener("click", () => {
  window.open(location.href, "_blank", "noopener");
});

function putBack() {
  change("put_back", memory.offer.texts);
  dismiss();
  setText("#announcer", "What you typed is back in the form.");
}

function dismiss() {
  memory.offer = null;
  notice.show(null);
  // The button that had the focus is gone.
  document.querySelector("#title").focus();
}

// Rendering

function render() {
  form.enable({ hasQuote: quote !== null, isLive });
  setText("#offline", warning());
  if (quote === null) return;
  const waiting = typing.change ? [...socket.pending, typing.change] : socket.pending;
  const shown = withChanges(quote, waiting);
  form.render(shown, { uncounted: isLive ? 0 : waiting.length });
  saved.show({ waiting: waiting.length, isLive, total: quote.changes });
  memory.form = textsOf(shown);
}

function warning() {
  if (isLive) return "";
  if (isOutage && !staysOffline.checked) return OUTAGE;
  if (quote === null) return "";
  return socket.isKept ? OFFLINE : UNSTORED;
}

render();
socket.join("quote");
