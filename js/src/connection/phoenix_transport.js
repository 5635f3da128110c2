/** @import { Transport } from "../types.js" */

/**
 * Return a transport for a channel of the npm `phoenix` client. It bypasses the channel's buffer, which is sent after
 * the next join, when the queue resends the same events.
 * @param {any} channel @returns {Transport}
 */
export function phoenixTransport(channel) {
  const send = channel.push.bind(channel);
  return {
    takesPushes: typeof channel.trigger === "function",
    send(event, payload, onReply) {
      if (!channel.canPush()) return false;
      const push = send(event, payload);
      for (const status of ["ok", "error", "timeout"]) {
        push.receive(status, (/** @type {any} */ response) => onReply({ status, response }));
      }
      return true;
    },
    // as if the server had reported a crash: the only way to make the client rejoin by its own rules
    rejoin: () => channel.trigger("phx_error"),
  };
}
