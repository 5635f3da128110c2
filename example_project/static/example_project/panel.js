/** The panel: how the connection is, what became of the last recovery, and what happened so far. */

const STATUS = { connected: "Connected", connecting: "Connecting", disconnected: "Disconnected" };
const GLOW = [{ boxShadow: "0 0 0 3px var(--good)" }, { boxShadow: "0 0 0 3px transparent" }];

const OUTCOMES = {
  new: "A fresh form: there was nothing to bring back.",
  recovered: "Everything is as it was.",
  expired: "You were away for too long: this is a fresh form.",
  not_found: "The server has nothing kept: this is a fresh form.",
  superseded: "Another page goes on with that form: this is a fresh one.",
  rejected: "What this tab showed isn’t good: this is a fresh form.",
  version: "A newer version wrote this form. Trying again.",
  unavailable: "The storage can’t be reached. Trying again.",
};
const MAX_NOTES = 40;

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
    this.#note("start", "Page opened");
  }

  /** The person is about to cut the connection. */
  expectCut() {
    this.#isCut = true;
  }

  /** @param {"connecting" | "connected" | "disconnected"} status */
  status(status) {
    this.#pill.dataset.status = status;
    setText("#status-text", STATUS[status]);
    setText("#status-more", "");
    if (status === "connecting") this.#attempt();
    if (status === "disconnected" && this.#wasConnected) {
      this.#note("cut", this.#isCut ? "You cut the connection" : "The connection was lost");
    }
    this.#isCut = false;
    this.#wasConnected = status === "connected";
  }

  /** Show how a join ended. `elapsedMs`: since the connection went. */
  outcome({ outcome, elapsedMs }) {
    const tookMs = Math.round(performance.now() - this.#attemptAt);
    const isBack = outcome === "recovered";
    setText("#took", String(tookMs));
    setText("#outcome", outcome);
    document.querySelector("#outcome").dataset.outcome = outcome;
    setText("#outcome-text", OUTCOMES[outcome]);
    setText("#away", this.#isReturn ? `The connection was gone for ${duration(elapsedMs)}.` : "");
    setText("#status-more", isBack ? `recovered in ${tookMs} ms` : "");
    if (isBack) glow(document.querySelector("#last"));
    this.#note(isBack || outcome === "new" ? "good" : "bad", `${outcome} in ${tookMs} ms`, OUTCOMES[outcome]);
    this.#attempts = 0;
    this.#trying = null;
    this.#isReturn = true;
  }

  /** Add a line to what happened. @param {"note" | "bad"} kind @param {string} text */
  tell(kind, text) {
    this.#note(kind, text);
  }

  #attempt() {
    this.#attemptAt = performance.now();
    this.#attempts += 1;
    if (!this.#isReturn) return;
    this.#trying ??= this.#note("try", "");
    const text = this.#attempts === 1 ? "Reconnecting" : `Reconnecting, try ${this.#attempts}`;
    this.#trying.querySelector(".what").textContent = text;
  }

  #note(kind, what, more = "") {
    const entry = document.createElement("li");
    entry.dataset.kind = kind;
    entry.append(part("time", clock()), part("p", what, "what"));
    if (more) entry.append(part("p", more, "more"));
    this.#timeline.prepend(entry);
    this.#timeline.children[MAX_NOTES]?.remove();
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
