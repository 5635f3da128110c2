import { CLOSE_DEAD, CLOSE_TOO_LARGE, suspicionOf } from "../connection/close_codes.js";
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
    const suspicion = socket.closeWasClean ? 0 : suspicionOf(event?.code ?? CLOSE_DEAD);
    for (const { suspects } of queues) suspects.suspicion = Math.min(suspects.suspicion, suspicion);
    if (event?.code !== CLOSE_TOO_LARGE) return;
    const [largest] = [...queues].sort((one, other) => other.suspects.largestBytes - one.suspects.largestBytes);
    largest?.suspects.blameLargest();
  });
}
