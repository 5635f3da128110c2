import { keepCounting } from "./phoenix_timer.js";
import { phoenixTransport } from "./phoenix_transport.js";
/** @import { Recovery } from "../recovery.js" */
/** @import { Payload, PhoenixChannel } from "../types.js" */

/** The events of a channel that no server has pushed. */
const PROTOCOL_EVENT = /^(phx_|chan_reply_)/;
/** Those and what is pushed to the view itself. */
const OWN_EVENT = /^(phx_|chan_reply_|recovery:)/;

/**
 * Have a view told what happens to a channel of the npm `phoenix` client, and send its events. Return the channel.
 * @template {PhoenixChannel} C @param {Recovery} view @param {C} channel
 * @param {() => void} onPush called when the page uses the channel's own `push`
 */
export function phoenixChannel(view, channel, onPush) {
  const join = channel.join.bind(channel);
  const markJoined = keepCounting(channel.rejoinTimer);
  channel.join = (timeout) =>
    join(timeout).receive("ok", (/** @type {Payload} */ reply) => {
      markJoined();
      view.joined(reply);
    });
  channel.on("recovery:token", (pushed) => view.keep(pushed));
  // after the page's own `disconnect`, nothing is tried
  channel.onError(() => (channel.socket?.closeWasClean ? view.dropped(undefined, null) : view.dropped()));
  channel.onClose(() => view.dropped(undefined, null));
  const trigger = channel.trigger?.bind(channel);
  if (trigger) {
    channel.trigger = (event, payload, ...rest) => {
      const told = OWN_EVENT.test(event) ? payload : view.receive(payload);
      if (told !== null) trigger(event, told, ...rest);
    };
  }
  const { onMessage } = channel;
  channel.onMessage = (/** @type {any[]} */ ...message) => {
    if (!PROTOCOL_EVENT.test(message[0])) view.heard(message[0], message[1]);
    return onMessage ? onMessage.apply(channel, message) : message[1];
  };
  view.carry(phoenixTransport(channel));
  const push = channel.push.bind(channel);
  channel.push = (/** @type {any[]} */ ...what) => {
    onPush();
    return push(...what);
  };
  return channel;
}
