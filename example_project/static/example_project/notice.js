/** A notice of what happened to the form, which offers to put back what was typed. */

const OUTCOMES = {
  copied: "Another page has gone on with your form, so this is a copy of it.",
  expired: "You were away for longer than the server keeps a form, so this is a new one.",
  not_found: "The server no longer has your form, so this is a new one.",
  superseded: "Your form was ended elsewhere, so this is a new one.",
  rejected: "The server no longer accepts that your form is yours, so this is a new one.",
  version: "Your form was saved by a newer version of this page, which the server can’t read, so this is a new one.",
  failed: "The server failed to restore your form, so this is a new one.",
  unavailable: "The server couldn’t load your form in time, so this is a new one.",
};
const LOSSES = {
  refused: "The server refused your last change.",
  too_large: "A change was too large for the server.",
  undeliverable: "A change couldn’t be delivered: the connection was lost each time.",
  full: "Too many changes were waiting, so the last ones weren’t kept.",
  rolled_back: "The server has an older version of your form than you had.",
};
const OTHER_LOSS = "Some of your changes didn’t reach the server.";
const KEPT = " What you typed is still here.";
const NOTHING_TO_LOSE = ["", "new", "recovered"];

/** Return a sentence on what happened to a form, or "" if nothing has. @param {string} [outcome] @param {string} [loss] */
export function explain(outcome = "", loss = "") {
  if (!NOTHING_TO_LOSE.includes(outcome)) return OUTCOMES[outcome] ?? OTHER_LOSS;
  return loss ? (LOSSES[loss] ?? OTHER_LOSS) : "";
}

export class Notice {
  #element = document.querySelector("#notice");
  #sentence = document.querySelector("#notice-text");
  #button = document.querySelector("#put-back");

  /** @param {{ putBack: () => void, dismiss: () => void }} actions */
  constructor({ putBack, dismiss }) {
    this.#button.addEventListener("click", putBack);
    document.querySelector("#dismiss").addEventListener("click", dismiss);
  }

  /** Show what happened, or hide the notice. @param {{ sentence: string, texts: object | null } | null} offer */
  show(offer) {
    const text = offer ? offer.sentence + (offer.texts ? KEPT : "") : "";
    this.#element.toggleAttribute("data-shown", offer !== null);
    this.#button.hidden = !offer?.texts;
    if (this.#sentence.textContent === text) return;
    this.#sentence.textContent = text;
    if (text) this.#element.scrollIntoView({ block: "nearest" });
  }
}
