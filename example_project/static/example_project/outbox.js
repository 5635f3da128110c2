/**
 * The changes that the server has not answered yet, oldest first.
 *
 * They wait here while there is no connection, and in the tab's storage over a reload. What was sent and never
 * answered is sent again: each change of a quote may come twice without harm.
 */

/** @typedef {{ event: string, payload: Record<string, any>, isSent?: boolean }} Change */

const KEY = "quote_outbox";
const TYPING_MS = 200;

export class Outbox {
  /** @type {Change[]} */ changes;
  #push;
  #answered;
  #isOpen = false;
  #timer = 0;

  /**
   * @param {(event: string, payload: object) => Promise<any>} push
   * @param {(response: any) => void} answered called with each reply, or with the error of a refused change
   */
  constructor(push, answered) {
    this.#push = push;
    this.#answered = answered;
    this.changes = stored();
  }

  /** Take a change: what is typed goes out a little later, all else at once. */
  add(event, payload) {
    const earlier = this.#sameTarget(event, payload);
    if (earlier) earlier.payload = payload;
    else this.changes.push({ event, payload });
    this.#save();
    if (!event.startsWith("set_")) this.flush();
    else if (!this.#timer) this.#timer = setTimeout(() => this.flush(), TYPING_MS);
  }

  /** The server has the form that the changes are for: send what waits, and from now on at once. */
  open() {
    this.#isOpen = true;
    this.flush();
  }

  /** The connection is gone: keep what comes. */
  close() {
    this.#isOpen = false;
  }

  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (this.#isOpen) this.changes.filter((change) => !change.isSent).forEach((change) => this.#send(change));
  }

  /** Give up what waits, and say how many changes that were. */
  clear() {
    const { length } = this.changes;
    this.changes = [];
    this.#save();
    return length;
  }

  #send(change) {
    change.isSent = true;
    const remove = (response) => {
      this.changes = this.changes.filter((each) => each !== change);
      this.#save();
      this.#answered(response);
    };
    this.#push(change.event, change.payload).then(remove, (error) => {
      if (error.name === "EventUnconfirmed") change.isSent = false;
      else remove(error);
    });
  }

  /** Find the waiting change that a newer one of the same text makes useless. */
  #sameTarget(event, { id, field }) {
    for (const change of this.changes.toReversed()) {
      if (change.isSent || !change.event.startsWith("set_")) return null;
      if (change.event === event && change.payload.id === id && change.payload.field === field) return change;
    }
    return null;
  }

  #save() {
    store(this.changes.map(({ event, payload }) => ({ event, payload })));
  }
}

// Without storage (a browser may forbid it, or be out of it) changes live as long as the page.

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function store(changes) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(changes));
  } catch {
    // See above.
  }
}
