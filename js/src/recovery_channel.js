import { Recovery } from "./recovery.js";
/** @import { ChannelTopic, Payload, RecoveryOptions } from "./types.js" */

/** A view with a topic of its own on a shared `RecoverySocket`, made by its `channel`. */
export class RecoveryChannel extends Recovery {
  #topic;
  /** @type {Promise<Payload> | null} */ #joined = null;

  /** @param {RecoveryOptions & { viewId: string }} options @param {(view: Recovery) => ChannelTopic} makeTopic */
  constructor(options, makeTopic) {
    super(options.viewId, options);
    this.#topic = makeTopic(this);
  }

  /** Join, and do so again after every disconnect. Return a promise for the response of the first join, also if it is
   * called again. @returns {Promise<Payload>} */
  join() {
    this.#joined ??= this.#topic.start();
    this.#topic.want();
    return this.#joined;
  }

  /** Leave the topic permanently, and discard the events without a reply. The token stays; `forget` removes it. */
  leave() {
    this.#topic.end(true);
    this.giveUp();
  }

  /** Leave the topic permanently, and keep the events without a reply for the next view of this name. */
  close() {
    this.#topic.end(false);
    super.close();
  }
}
