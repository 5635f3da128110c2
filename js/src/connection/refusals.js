/** @import { Backoff } from "../types.js" */

/** How many handshakes or joins may be refused in a row until that is more than a server that restarts. */
const FREE_REFUSALS = 5;

/** The backoff of a page that isn't let in: half of it is random. @type {Backoff} */
function deniedAfterMs(refusals) {
  const ms = Math.min(300_000, 1_000 * 2 ** refusals);
  return ms / 2 + (Math.random() * ms) / 2;
}

/** The handshakes and joins that were refused since a connection has held. */
export class Refusals {
  count = 0;

  /** Count as a denial at once, as the server has said that it lets this client in no more. */
  deny() {
    this.count = Math.max(this.count, FREE_REFUSALS);
  }

  /** Whether the next refusal means more than a server that restarts. */
  get areDenial() {
    return this.count + 1 >= FREE_REFUSALS;
  }

  /** How long to wait at least until the next try. */
  get retryAfterMs() {
    return this.count > FREE_REFUSALS ? deniedAfterMs(this.count - FREE_REFUSALS) : 0;
  }
}
