/** @import { TokenStore } from "./tokens/token_store.js" */
/** @import { Outcome, Payload } from "./types.js" */

/** After how many pushes the server is told that the page has them, so that it keeps them no longer. */
const TOLD_AFTER = 32;

/**
 * The server's numbered pushes: each is told to the page once. Their number is stored with the token, as the state that
 * this is for goes on with them.
 */
export class ReceivedPushes {
  #tokens;
  #acknowledge;
  #onMissed;
  /** Whether the next one may leave some out, as the page knows of those. */ #mayLeaveOut = false;

  /** @param {() => TokenStore} tokens @param {(payload: Payload) => void} acknowledge @param {() => void} onMissed */
  constructor(tokens, acknowledge, onMissed) {
    this.#tokens = tokens;
    this.#acknowledge = acknowledge;
    this.#onMissed = onMissed;
  }

  /** The newest one that the page has, for its joins. */
  get newest() {
    return this.#tokens().received || null;
  }

  /** Handle the reply to a join, before its pushes. Return whether the page lacks some that are gone.
   * @param {Outcome | null} outcome @param {boolean} hasToken @param {boolean} missed */
  handleJoin(outcome, hasToken, missed) {
    // without a token, the page's own is still for a state whose pushes it has up to that number
    if (outcome !== "recovered" && hasToken) this.#tokens().saveReceived(0);
    this.#mayLeaveOut = missed;
    return missed;
  }

  /** Return what the page is told of a push, without its number; null if it was told already. @param {any} payload */
  receive(payload) {
    if (typeof payload?._push !== "number") return payload;
    const { _push: number, ...told } = payload;
    const received = this.#tokens().received;
    if (number <= received) return null;
    if (number > received + 1 && !this.#mayLeaveOut) this.#onMissed();
    this.#mayLeaveOut = false;
    this.#tokens().saveReceived(number);
    if (number % TOLD_AFTER === 0) this.#acknowledge({ _recv: number });
    return told;
  }
}
