/**
 * A debounce for text input. Offline, a text is held until another change, so that a long text is one change and not
 * hundreds. Until then the tab remembers it, as a page may be killed without hearing of it.
 */

/** @typedef {{ event: string, payload: Record<string, any> }} Change */

const TYPING_MS = 200;

export class Typing {
  /** @type {Change | null} */
  change = null;
  #push;
  #memory;
  #isLive = false;
  #timer = 0;

  /** @param {(event: string, payload: object) => void} push @param {import("./memory.js").Memory} memory */
  constructor(push, memory) {
    this.#push = push;
    this.#memory = memory;
  }

  /** Hold a change of a text, replacing an earlier change of the same text. */
  add(event, payload) {
    if (!this.#isOf(event, payload)) this.flush();
    this.change = { event, payload };
    this.#memory.draft = this.change;
    if (this.#isLive && !this.#timer) this.#timer = setTimeout(() => this.flush(), TYPING_MS);
  }

  /** Set whether changes can be sent at once. */
  setLive(isLive) {
    this.#isLive = isLive;
    if (isLive) this.flush();
  }

  /** Go on with the text that was being typed when the tab was killed. */
  resume() {
    const { draft } = this.#memory;
    if (draft && !this.change) this.add(draft.event, draft.payload);
  }

  flush() {
    const { change } = this;
    if (change) this.#push(change.event, change.payload);
    // From here on the socket keeps it.
    this.drop();
  }

  /** Forget the text: the form that it was typed into is gone. */
  drop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.change = null;
    this.#memory.draft = null;
  }

  #isOf(event, { id, field }) {
    const { change } = this;
    return change?.event === event && change.payload.id === id && change.payload.field === field;
  }
}
