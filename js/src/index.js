/** The package `django-recovery-app`: everything that it exports. */
export { fullJitter, reconnectAfterMs, rejoinAfterMs } from "./backoff.js";
export { EventError } from "./event_error.js";
export { LiveViewRecovery } from "./live_view_recovery.js";
export { Recovery } from "./recovery.js";
export { RecoveryChannel } from "./recovery_channel.js";
export { RecoverySocket } from "./recovery_socket.js";
export { version } from "./version.js";
export * from "./types.js";
