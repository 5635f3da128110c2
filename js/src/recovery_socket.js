import { reconnectAfterMs, rejoinAfterMs } from "./backoff.js";
import { CLOSE_DROPPED } from "./connection/close_codes.js";
import { Connection } from "./connection/connection.js";
import { checkJoin, Topic } from "./connection/topic.js";
import { logTo } from "./logger.js";
import { checkOptions } from "./options.js";
import { Recovery } from "./recovery.js";
import { RecoveryChannel } from "./recovery_channel.js";
/** @import { ChannelOptions, Payload, SocketOptions, SocketParams, SocketUrl } from "./types.js" */

/**
 * A WebSocket that reconnects automatically, with one topic that is joined by `join`, or several by `channel`.
 *
 * Dispatches the events of Recovery, and "refused", as its channels do: with the error response of a join; with
 * `{ reason: "closed", code, tries }` if the server closes the connection with a code that means so (4xxx, 1008); with
 * `{ reason: "handshake", code, tries }` if the connection can't be opened again and again; and with
 * `{ reason, error, tries }` if a function of the page's fails: "url", "protocols" or "params". All is tried again,
 * less and less often.
 */
export class RecoverySocket extends Recovery {
  #connection;
  #topic;
  #options;
  #topicOptions;
  #hasJoined = false;

  /** @param {SocketUrl} url as for a WebSocket, or a path on this page's host; or a function that returns or promises one,
   * called for each connection @param {SocketOptions} [options] */
  constructor(url, options = {}) {
    const given = checkOptions("RecoverySocket", options);
    const log = logTo(given.logger);
    const settings = { heartbeatMs: 30_000, timeoutMs: 10_000, reconnectAfterMs, rejoinAfterMs, ...given, log };
    const connection = new Connection(url, settings);
    super(given.viewId ?? null, given);
    this.#options = given;
    this.#topicOptions = settings;
    this.#connection = connection;
    this.#topic = new Topic(this, connection, "", {}, settings);
  }

  /**
   * Connect and join, and do so again after every disconnect. Return a promise for the response of the first join;
   * "outcome" has that of each.
   * @param {string} topic @param {SocketParams} [params] called for each join, if it is a function
   * @returns {Promise<Payload>}
   */
  join(topic, params = {}) {
    if (this.#hasJoined) throw new Error(`this socket has already joined ${this.#topic.name}: one topic on one socket, or more by channel()`);
    checkJoin(topic, params);
    if (this.#options.viewId === undefined) this.nameView(this.#defaultName(topic));
    const joined = this.#topic.startAs(topic, params);
    this.#hasJoined = true;
    return joined;
  }

  /**
   * Return a view for another topic on this connection, which opens when the first one joins and closes when the last
   * one has left. Its options are those of the socket unless it has its own.
   * @overload
   * @param {string} topic
   * @param {SocketParams} [params]
   * @param {ChannelOptions} [options]
   * @returns {RecoveryChannel}
   */
  /**
   * @overload
   * @param {object} socket of an npm client: only for a `Recovery`
   * @param {string} topic
   * @param {any} [params]
   * @returns {never}
   */
  /** @param {any} topic @param {any} [params] @param {any} [options] @returns {any} */
  channel(topic, params = {}, options = {}) {
    checkJoin(topic, params);
    const { viewId, ...own } = checkOptions("channel", options);
    const settings = { ...this.#options, ...own, viewId: viewId ?? this.#defaultName(topic) };
    const topicOptions = { ...this.#topicOptions, ...own, log: logTo(settings.logger) };
    return new RecoveryChannel(settings, (view) => new Topic(view, this.#connection, topic, params, topicOptions));
  }

  /** @param {string} topic */
  #defaultName(topic) {
    const { place } = this.#connection;
    if (place !== null) return `${place} ${topic}`;
    throw new TypeError("a socket whose URL is a function needs the option viewId, the same after a reload");
  }

  /** Connect again after `disconnect`. */
  connect() {
    this.#connection.connect();
  }

  /** Close the connection until `connect`. Events pushed meanwhile are queued. */
  disconnect() {
    this.#connection.disconnect();
  }

  /** Close the connection as a network failure would, and reconnect. */
  drop() {
    this.#connection.lose(CLOSE_DROPPED);
  }

  /** Leave all topics permanently. The tokens stay; `forget` removes them. */
  leave() {
    this.#end("leave");
    this.#topic.end(true);
    this.giveUp();
  }

  /** Close the connection permanently, and keep the events without a reply for the next sockets of these views: as a
   * component of a single-page app does that may be mounted again. */
  close() {
    this.#end("close");
    this.#topic.end(false);
    super.close();
  }

  /** @param {"leave" | "close"} how the channels end */
  #end(how) {
    this.#connection.isClosed = true;
    for (const { view } of this.#connection.topics) if (view instanceof RecoveryChannel) view[how]();
  }
}
