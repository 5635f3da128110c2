/**
 * A debounce for text input. Offline, a text is held until another change, so that a long text is one change and not
 * hundreds.
 */

/** @typedef {{ event: string, payload: Record<string, any> }} Change */

const TYPING_MS = 200;

export class Typing {
  /** @type {Change | null} */
  change = null;
  #push;
  #isLive = false;
  #timer = 0;

  /** @param {(event: string, payload: object) => void} push */
  constructor(push) {
    this.#push = push;
  }

  /** Hold a change of a text, replacing an earlier change of the same text. */
  add(event, payload) {
    if (!this.#isOf(event, payload)) this.flush();
    this.change = { event, payload };
    if (this.#isLive && !this.#timer) this.#timer = setTimeout(() => this.flush(), TYPING_MS);
  }

  /** Set whether changes can be sent at once. */
  setLive(isLive) {
    this.#isLive = isLive;
    if (isLive) this.flush();
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const { change } = this;
    this.change = null;
    if (change) this.#push(change.event, change.payload);
  }

  #isOf(event, { id, field }) {
    const { change } = this;
    return change?.event === event && change.payload.id === id && change.payload.field === field;
  }
}
