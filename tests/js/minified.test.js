/** The minified file passes the tests of events. */
process.env.RECOVERY_JS = "recovery.min.js";
await import("./events.test.js");
