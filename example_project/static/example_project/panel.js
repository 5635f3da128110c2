/** The panel: the status of the connection, the last recovery, and a timeline. */

const STATES = { connected: "Connected", connecting: "Connecting…", reconnecting: "Reconnecting…", offline: "Offline" };
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
const PHONE = "(max-width: 44rem)";

export class Panel {
  #pill = document.querySelector("#status");
  #timeline = document.querySelector("#timeline");
  #attemptAt = performance.now();
  #attempts = 0;
  #trying = null;
  #isCut = false;
  #wasConnected = false;
  #isReturn = false;
  #isWaiting = false;
  #recovered = "";
  #thing;

  /** @param {string} [thing] what the page calls what it shows */
  constructor(thing = "form") {
    this.#thing = thing;
    this.note("start", "Page opened");
    const phone = matchMedia(PHONE);
    phone.addEventListener("change", () => placeControls(phone.matches));
    placeControls(phone.matches);
  }

  /** Announce that the user is about to cut the connection. */
  expectCut() {
    this.#isCut = true;
  }

  /** @param {"connecting" | "connected" | "disconnected"} status @param {boolean} staysOffline whether the user wants it so */
  status(status, staysOffline) {
    this.#pill.dataset.status = status;
    if (status === "connecting") this.#attempt();
    if (status === "disconnected" && this.#wasConnected) {
      this.note("cut", this.#isCut ? "You cut the connection" : "The connection was lost");
    }
    this.#isCut = false;
    this.#wasConnected = status === "connected";
    this.#showState(this.#stateOf(status, staysOffline));
  }

  #stateOf(status, staysOffline) {
    if (staysOffline) return "offline";
    // While it waits for its form, the page connects again and again.
    if (status === "connected" && !this.#isWaiting) return "connected";
    return this.#isReturn ? "reconnecting" : "connecting";
  }

  // Screen readers read the pill aloud, so it changes with the state and not with each attempt.
  #showState(state) {
    this.#pill.dataset.state = state;
    setText("#status-text", STATES[state]);
    // The outcome came before "connected", and says more.
    setText("#status-more", state === "connected" ? this.#recovered : "");
  }

  /** Show the outcome of a join. `elapsedMs`: the time since the connection was lost. */
  outcome({ outcome, elapsedMs, isWaiting }) {
    const tookMs = Math.round(performance.now() - this.#attemptAt);
    const isBack = outcome === "recovered" || outcome === "copied";
    const text = (isWaiting ? WAITING : OUTCOMES)[outcome].replaceAll("form", this.#thing);
    setText("#took", String(tookMs));
    setText("#outcome", outcome);
    document.querySelector("#outcome").dataset.outcome = outcome;
    setText("#outcome-text", text);
    setText("#away", this.#isReturn ? `Disconnected for ${duration(elapsedMs)}.` : "");
    this.#isWaiting = isWaiting;
    this.#recovered = isBack ? `recovered in ${tookMs} ms` : "";
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

/** Place the controls at the bottom of the screen, or in their card. @param {boolean} isPhone */
function placeControls(isPhone) {
  const controls = document.querySelector("#controls");
  if (isPhone) document.body.append(controls);
  else document.querySelector("#second-tab").before(controls);
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

/** Set a text, unless it is there already: that would count as a change. */
export function setText(selector, text) {
  const element = document.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}
