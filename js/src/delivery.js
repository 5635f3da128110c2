import { Sender } from "./events/sender.js";
import { Rejoins } from "./rejoins.js";
/** @import { SharedSocket } from "./connection/phoenix_socket.js" */
/** @import { EventQueue } from "./events/event_queue.js" */
/** @import { Backoff, PageEvent, Transport } from "./types.js" */

/** How the events of a view leave the page: by its transport, from each join until the connection is lost. */
export class Delivery {
  /** @type {Transport | null} */ transport = null;
  /** With an npm client. @type {SharedSocket | null} */ sharedSocket = null;
  #queue;
  #timeoutMs;
  #isJoined;

  /** @param {EventQueue} queue @param {Backoff} rejoinAfterMs @param {number} timeoutMs @param {() => boolean} isJoined */
  constructor(queue, rejoinAfterMs, timeoutMs, isJoined) {
    this.rejoins = new Rejoins(rejoinAfterMs);
    this.#queue = queue;
    this.#timeoutMs = timeoutMs;
    this.#isJoined = isJoined;
  }

  /** Start to send events. @param {number} seq of the last one in the state @param {boolean} isNumbered @param {boolean} hasLines */
  start(seq, isNumbered, hasLines) {
    this.rejoins.tries = 0;
    const { transport, sharedSocket } = this;
    if (transport === null) return;
    /** @type {Transport["send"]} */
    const send = (event, payload, onReply) =>
      transport.send(event, payload, (reply) => {
        onReply(reply);
        sharedSocket?.settle(this.#queue);
      });
    const rejoin = () => {
      this.stop();
      this.rejoin(1);
    };
    const { isBusy, probe } = transport;
    const options = { send, rejoin, isBusy, probe, seq, isNumbered, hasLines, timeoutMs: this.#timeoutMs };
    const start = () => this.#queue.startSending(new Sender(this.#queue, options));
    if (sharedSocket) sharedSocket.start(this.#queue, start);
    else start();
  }

  /** Send an event now or not at all, outside the queue. Return whether it was sent. @param {PageEvent} pushed */
  sendNow({ event, payload }) {
    if (!this.#queue.isSending || this.transport?.isBusy?.()) return false;
    return this.transport?.send(event, payload, () => {}) ?? false;
  }

  /** @param {number} [suspicion] that an event is why */
  stop(suspicion) {
    this.sharedSocket?.stop(this.#queue);
    this.#queue.stopSending(suspicion);
  }

  /** Join again, after a while. @param {number} tries */
  rejoin(tries) {
    const { transport } = this;
    if (transport !== null && this.#isJoined()) this.rejoins.schedule(tries, () => transport.rejoin());
  }
}
