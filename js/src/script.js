/** The plain script: everything that the package exports, as the global `RecoveryApp`. */
import * as everything from "./index.js";

Object.assign(globalThis, { RecoveryApp: { ...everything } });
