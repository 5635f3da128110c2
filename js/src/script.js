/** The plain script: everything that the package exports, as the global `RecoveryApp`. */
import {
  EventError, LiveViewRecovery, Recovery, RecoverySocket, fullJitter, reconnectAfterMs, rejoinAfterMs,
} from "./index.js";

const RecoveryApp = { EventError, LiveViewRecovery, Recovery, RecoverySocket, fullJitter, reconnectAfterMs, rejoinAfterMs };

Object.assign(globalThis, { RecoveryApp });
