/**
 * Members of internal classes and options, which recovery.min.js has under shorter names.
 *
 * Only names that nothing else has may be here: none of the public API, of browsers, of the wire, of what is stored.
 */
export const MANGLED_NAMES = [
  // events/event_queue.js
  "discard", "discardAll", "dropUnowned", "handOver", "handleJoin", "readAgain", "releaseUpTo", "requeueAfter", "saveRest",
  "saveSoon", "setOwner", "startSending", "stopSending", "suspects",
  // events/event_storage.js
  "forgetSettled", "loadSettled",
  // events/ownership.js
  "forgetAliases", "isEarlyAndUnowned", "isEarlyFor", "isOwn", "ownerOfPage",
  // events/queued_event.js
  "chars", "handleReply", "isAppliedIn", "isStored", "isTakenIn", "isUpTo", "onLost", "sizeBytes", "stage",
  // events/sender.js
  "flush", "hasLines", "isNumbered",
  // events/suspects.js
  "blameLargest", "forgetUnanswered", "hold", "largestBytes", "noteUnanswered", "suspicion", "takeTooLarge", "takeUndeliverable",
  // tokens/token_store.js
  "forView", "present", "regain", "received", "saveReceived",
  // received_pushes.js
  "newest",
  // connection/
  "areDenial", "begin", "deny", "extend", "handleFrame", "handleLost", "hasOthers", "forgive", "hear", "intervalMs", "isOnly", "isPrepared",
  "isWanted", "isWorking", "joinNext", "listen", "lose", "markGood", "markJoined", "markLost", "markTrying", "meet", "nextRef",
  "onDead", "retryAfterMs", "settle", "startAs",
  // timer.js
  "isSet",
];
