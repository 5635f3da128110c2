import { SharedSocket } from "./connection/phoenix_socket.js";
import { keepCounting } from "./connection/phoenix_timer.js";
import { checkOptions } from "./options.js";
import { Recovery } from "./recovery.js";
/** @import { Params, Payload, PhoenixSocket, StorageKind } from "./types.js" */

/** The recovery of all LiveViews of a page, by element id. */
export class LiveViewRecovery {
  #options;
  /** @type {Map<string, Recovery>} */ #views = new Map();
  /** The channel of each view: what an earlier one still hears is of no matter. @type {Map<Recovery, object>} */ #channels = new Map();

  /** @param {{ storage?: StorageKind, owner?: string }} [options] */
  constructor(options = {}) {
    this.#options = checkOptions("LiveViewRecovery", options);
  }

  /** Return the recovery of one view. @param {string} id of its element */
  view(id) {
    const known = this.#views.get(id);
    if (known !== undefined) return known;
    const view = new Recovery(id, this.#options);
    view.beginWith(`lv:${id}`);
    this.#views.set(id, view);
    return view;
  }

  /**
   * Return the params for LiveSocket's `params: (el) => …`, as a new object, since LiveView modifies it.
   * LiveSocket also calls it without an element, for the socket's URL: a token there would end up in access logs.
   * @param {Element | undefined} el @param {Params} [params] @returns {Payload}
   */
  params(el, params = {}) {
    if (el?.id) return this.view(el.id).joinPayload(params);
    return { ...(typeof params === "function" ? params() : params) };
  }

  /**
   * Watch a LiveSocket for new tokens. Call it before `liveSocket.connect()`. LiveView doesn't expose the replies to
   * its joins, so this hooks into each new channel, before LiveView: an exception in a page's hook loses no token.
   * @template {{ getSocket(): PhoenixSocket }} L @param {L} liveSocket @returns {L}
   */
  watch(liveSocket) {
    const socket = liveSocket.getSocket();
    SharedSocket.of(socket);
    const make = socket.channel.bind(socket);
    socket.channel = (topic, params) => {
      const view = topic.startsWith("lv:") ? this.view(topic.slice("lv:".length)) : null;
      let isNew = true;
      const channel = make(topic, view ? () => this.#begin(view, params(), isNew) : params);
      const markJoined = keepCounting(channel.rejoinTimer);
      if (view) this.#channels.set(view, channel);
      channel.onMessage = (/** @type {string} */ event, /** @type {any} */ payload) => {
        if (event === "phx_reply" && payload?.status === "ok") {
          markJoined();
          isNew = false;
        }
        const handle = () => view && this.#channels.get(view) === channel && this.#handleMessage(view, event, payload);
        // the main view is closed just before that of the next page
        if (event === "phx_close") queueMicrotask(handle);
        else handle();
        return payload;
      };
      return channel;
    };
    return liveSocket;
  }

  /** Return the payload of a join. A live navigation puts another page into the main view's element, and that page has a
   * state of its own. @param {Recovery} view @param {any} payload @param {boolean} isNew whether it has never joined */
  #begin(view, payload, isNew) {
    if (isNew && payload.redirect) {
      view.forget();
      delete payload.params._recovery;
      view.joinPayload();
    }
    return payload;
  }

  /** @param {Recovery} view @param {string} event @param {any} payload */
  #handleMessage(view, event, payload) {
    if (event === "recovery:token") view.keep(payload);
    else if (event === "phx_error") view.dropped();
    else if (event === "phx_close") view.dropped(undefined, null);
    else if (event === "phx_reply" && payload?.response?._recovery?.outcome) view.joined(payload.response);
  }
}
