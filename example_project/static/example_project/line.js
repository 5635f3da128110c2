/** A page in a durable group: its socket, its panel, and the controls that cut the connection. */
import { fullJitter, RecoverySocket } from "../recovery_app/recovery.js";
import { Panel } from "./panel.js";

/** Return a socket that the page's controls cut, and a panel that shows it. @param {string} url @param {string} viewId */
export function openLine(url, viewId) {
  const socket = new RecoverySocket(url, {
    viewId,
    // Frequent retries are fine with a few pages and one server.
    reconnectAfterMs: fullJitter(100, 800),
    rejoinAfterMs: fullJitter(500, 2_000),
  });
  const panel = new Panel("page");
  const staysOffline = document.querySelector("#stay-offline");
  socket.on("status", (status) => panel.status(status, staysOffline.checked));
  socket.on("outcome", (detail) => panel.outcome(detail));
  document.querySelector("#cut").addEventListener("click", () => {
    panel.expectCut();
    socket.drop();
  });
  staysOffline.addEventListener("change", () => {
    panel.expectCut();
    if (staysOffline.checked) socket.disconnect();
    else socket.connect();
  });
  document.querySelector("#second-tab").addEventListener("click", () => {
    window.open(location.href, "_blank", "noopener");
  });
  return { socket, panel };
}

/** Counts, in one entry of the timeline, what comes behind a join and was published before it. */
export class CatchUp {
  #panel;
  #words;
  #joinedAt = 0;
  #count = 0;
  #entry = null;

  /** @param {Panel} panel @param {[string, string]} words for one, and for more than one */
  constructor(panel, words) {
    this.#panel = panel;
    this.#words = words;
  }

  /** Begin anew at a join. @param {number | null} now the server's time; null if the page isn't one that was away */
  begin(now) {
    this.#joinedAt = now ?? 0;
    this.#count = 0;
    this.#entry = null;
  }

  /** Return whether something was published while the page was away. @param {number} at the server's time */
  note(at) {
    if (at > this.#joinedAt) return false;
    this.#count += 1;
    this.#entry ??= this.#panel.note("good", "");
    const words = this.#words[this.#count === 1 ? 0 : 1];
    this.#entry.querySelector(".what").textContent = `Caught up with ${this.#count} ${words}`;
    return true;
  }
}

/** @param {number} ms since 1970 */
export function timeOf(ms) {
  return new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}
