import { CLOSE_TOO_LARGE, CUT_CODES } from "../connection/close_codes.js";
/** @import { EventQueue } from "./event_queue.js" */

/** The queues of all views on a socket of the npm client. @type {WeakMap<object, EventQueue[]>} */
const queuesOn = new WeakMap();

/** Have one event given up, of all views on a socket of the npm client, if it is closed over a message's size.
 * @param {any} socket @param {EventQueue} added */
export function shareSocket(socket, added) {
  const queues = queuesOn.get(socket) ?? [];
  queuesOn.set(socket, queues);
  if (queues.push(added) > 1) return;
  socket.onClose?.((/** @type {any} */ event) => {
    if (!CUT_CODES.includes(event?.code ?? 1006)) for (const queue of queues) queue.suspects.absolve();
    if (event?.code !== CLOSE_TOO_LARGE) return;
    const [largest] = [...queues].sort((one, other) => other.suspects.largestBytes - one.suspects.largestBytes);
    largest?.suspects.blameLargest();
  });
}
