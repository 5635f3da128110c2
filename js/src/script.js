/** The plain script: everything that the package exports, as the global `RecoveryApp`. */
import {
  EventError, LiveViewRecovery, Recovery, RecoveryChannel, RecoverySocket, fullJitter, reconnectAfterMs, rejoinAfterMs, version,
} from "./index.js";

const RecoveryApp = {
  EventError, LiveViewRecovery, Recovery, RecoveryChannel, RecoverySocket, fullJitter, reconnectAfterMs, rejoinAfterMs, version,
};

Object.assign(globalThis, { RecoveryApp });
