/** `django-recovery-app/liveview`: for the npm LiveView client. */
export { fullJitter, reconnectAfterMs, rejoinAfterMs } from "./backoff.js";
export { LiveViewRecovery } from "./live_view_recovery.js";
export { version } from "./version.js";
export * from "./types.js";
