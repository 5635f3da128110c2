/** How many handshakes or joins may be refused in a row until that is more than a server that restarts. */
const FREE_REFUSALS = 5;

/** The longest wait of a page that isn't let in. Of one that was, and has a state to come back to before that expires: a
 * server that is away for minutes looks the same. */
const MAX_WAIT_MS = 300_000;
const MAX_WAIT_BACK_MS = 30_000;

/** The handshakes and joins that were refused since a connection has held. */
export class Refusals {
  count = 0;
  /** How many of those that are free no longer are. */ #denied = 0;
  #maxMs = MAX_WAIT_MS;

  /** Begin anew, as the page is let in. */
  forgive() {
    this.count = this.#denied = 0;
    this.#maxMs = MAX_WAIT_BACK_MS;
  }

  /** Count as a denial at once, as the server has said that it lets this client in no more. */
  deny() {
    this.#denied = Math.max(this.#denied, FREE_REFUSALS - this.count);
    this.#maxMs = MAX_WAIT_MS;
  }

  /** Whether the next refusal means more than a server that restarts. */
  get areDenial() {
    return this.#weight + 1 >= FREE_REFUSALS;
  }

  /** How long to wait at least until the next try: half of it is random. */
  get retryAfterMs() {
    if (this.#weight <= FREE_REFUSALS) return 0;
    const ms = Math.min(this.#maxMs, 1_000 * 2 ** (this.#weight - FREE_REFUSALS));
    return ms / 2 + (Math.random() * ms) / 2;
  }

  get #weight() {
    return this.count + this.#denied;
  }
}
