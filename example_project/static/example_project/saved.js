/** The line that says whether all changes are on the server. */
import { setText } from "./panel.js";

const SLOW_MS = 2_000;

export class Saved {
  #element = document.querySelector("#saved");
  #timer = 0;
  #isSlow = false;

  /** Show how many changes wait for a reply, and how many the server has. @param {{ waiting: number, isLive: boolean, total: number }} now */
  show({ waiting, isLive, total }) {
    this.#element.dataset.unsaved = String(waiting);
    if (!waiting || !isLive) this.#stop();
    else if (!this.#timer) this.#timer = setTimeout(() => this.#tellSlow(), SLOW_MS);
    // Don't flicker while a reply is on its way.
    if (waiting && isLive && !this.#isSlow) return;
    this.#element.dataset.waiting = String(!isLive || this.#isSlow);
    setText("#saved", this.#text(waiting, isLive, total));
  }

  /** Note that a reply has come: the server isn't slow. */
  answered() {
    this.#stop();
  }

  #text(waiting, isLive, total) {
    if (this.#isSlow) return "Sending…";
    if (waiting) return `${count(waiting)} waiting to be sent`;
    return isLive ? `Saved on the server · ${count(total)}` : "No unsent changes";
  }

  #tellSlow() {
    this.#isSlow = true;
    this.#element.dataset.waiting = "true";
    setText("#saved", "Sending…");
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isSlow = false;
  }
}

/** @param {number} changes */
export function count(changes) {
  return changes === 1 ? "1 change" : `${changes} changes`;
}
