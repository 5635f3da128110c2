/** The panel: the status of the connection, the last recovery, and a timeline. */

const STATUS = { connected: "Connected", connecting: "Connecting", disconnected: "Disconnected" };
const GLOW = [{ boxShadow: "0 0 0 3px var(--good)" }, { boxShadow: "0 0 0 3px transparent" }];

const OUTCOMES = {
  new: "This is a new form.",
  recovered: "Your form is restored.",
  copied: "Another page has gone on with your form. This is a copy of it.",
  expired: "You were away for too long. This is a new form.",
  not_found: "The server no longer has your form. This is a new form.",
  superseded: "Another page has taken over your form. This is a new form.",
  rejected: "The token of this tab is invalid. This is a new form.",
  version: "Your form was saved by a newer version. This is a new form.",
  failed: "The server failed to restore your form. This is a new form.",
  unavailable: "The storage can’t be reached. This is a new form.",
};
const WAITING = {
  version: "This form was saved by a newer version. Trying again.",
  unavailable: "The storage can’t be reached. Trying again.",
};
const MAX_ENTRIES = 40;

export class Panel {
  #pill = document.querySelector("#status");
  #timeline = document.querySelector("#timeline");
  #attemptAt = performance.now();
  #attempts = 0;
  #trying = null;
  #isCut = false;
  #wasConnected = false;
  #isReturn = false;

  constructor() {
    this.note("start", "Page opened");
  }

  /** Announce that the user is about to cut the connection. */
  expectCut() {
    this.#isCut = true;
  }

  /** @param {"connecting" | "connected" | "disconnected"} status */
  status(status) {
    this.#pill.dataset.status = status;
    setText("#status-text", STATUS[status]);
    // The outcome comes before "connected", and says more.
    if (status !== "connected") setText("#status-more", "");
    if (status === "connecting") this.#attempt();
    if (status === "disconnected" && this.#wasConnected) {
      this.note("cut", this.#isCut ? "You cut the connection" : "The connection was lost");
    }
    this.#isCut = false;
    this.#wasConnected = status === "connected";
  }

  /** Show the outcome of a join. `elapsedMs`: the time since the connection was lost. */
  outcome({ outcome, elapsedMs, isWaiting }) {
    const tookMs = Math.round(performance.now() - this.#attemptAt);
    const isBack = outcome === "recovered" || outcome === "copied";
    const text = (isWaiting ? WAITING : OUTCOMES)[outcome];
    setText("#took", String(tookMs));
    setText("#outcome", outcome);
    document.querySelector("#outcome").dataset.outcome = outcome;
    setText("#outcome-text", text);
    setText("#away", this.#isReturn ? `Disconnected for ${duration(elapsedMs)}.` : "");
    setText("#status-more", isBack ? `recovered in ${tookMs} ms` : "");
    if (isBack) glow(document.querySelector("#last"));
    this.note(isBack || outcome === "new" ? "good" : "bad", `${outcome} in ${tookMs} ms`, text);
    this.#attempts = 0;
    this.#trying = null;
    this.#isReturn = true;
  }

  #attempt() {
    this.#attemptAt = performance.now();
    this.#attempts += 1;
    if (!this.#isReturn) return;
    this.#trying ??= this.note("try", "");
    const text = this.#attempts === 1 ? "Reconnecting" : `Reconnecting, try ${this.#attempts}`;
    this.#trying.querySelector(".what").textContent = text;
  }

  /** Add an entry to the timeline. @param {string} kind @param {string} what @param {string} [more] */
  note(kind, what, more = "") {
    const entry = document.createElement("li");
    entry.dataset.kind = kind;
    entry.append(part("time", clock()), part("p", what, "what"));
    if (more) entry.append(part("p", more, "more"));
    this.#timeline.prepend(entry);
    this.#timeline.children[MAX_ENTRIES]?.remove();
    return entry;
  }
}

function part(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function glow(element) {
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) element.animate(GLOW, 1_500);
}

function clock() {
  return new Date().toLocaleTimeString("en-GB");
}

function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function setText(selector, text) {
  document.querySelector(selector).textContent = text;
}
