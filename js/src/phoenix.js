/** `django-recovery-app/phoenix`: for the channels of the npm `phoenix` client. */
export { fullJitter, reconnectAfterMs, rejoinAfterMs } from "./backoff.js";
export { EventError } from "./event_error.js";
export { Recovery } from "./recovery.js";
export { version } from "./version.js";
export * from "./types.js";
