export * from "./recovery.js";
