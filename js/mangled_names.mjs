/**
 * Members of internal classes and options, which recovery.min.js has under shorter names.
 *
 * Only names that nothing else has may be here: none of the public API, of browsers, of the wire, of what is stored.
 */
export const MANGLED_NAMES = [
  // events/event_queue.js
  "discard", "discardAll", "dropUnowned", "handOver", "handleJoin", "nextPlace", "readAgain", "releaseUpTo", "requeueAfter", "saveRest",
  "saveSoon", "setOwner", "startSending", "stopSending", "suspects", "isSending", "underWay",
  // events/listeners.js
  "onReply",
  // events/event_storage.js
  "forgetSettled", "loadSettled", "takeLeft",
  // events/ownership.js
  "forgetAliases", "isEarlyAndUnowned", "isEarlyFor", "isOwn", "ownerOfPage",
  // events/queued_event.js
  "chars", "handleReply", "isAppliedIn", "isStored", "isTakenIn", "isUpTo", "onLost", "passTo", "sizeBytes", "stage",
  // events/sender.js
  "flush", "hasLines", "isNumbered",
  // events/suspects.js
  "blameLargest", "first", "forgetUnanswered", "hold", "largestBytes", "noteUnanswered", "suspicion", "takeTooLarge", "takeUndeliverable",
  // tokens/token_store.js
  "forView", "present", "received", "regain", "saveAgain", "saveReceived",
  // tokens/stored_value.js
  "readJSON",
  // received_pushes.js
  "newest",
  // delivery.js, rejoins.js
  "isScheduled", "mustWait", "rejoins", "schedule", "sendNow", "sharedSocket", "transport",
  // connection/
  "areDenial", "begin", "current", "deny", "extend", "forgive", "handleFrame", "handleLost", "hasOthers", "hear", "intervalMs", "isClosed", "isIdle",
  "isOnly", "isOpen", "isPrepared",
  "isWanted", "isWorking", "listen", "lose", "markGood", "markJoined", "markLost", "markTrying", "meet", "nextRef",
  "onDead", "renew", "retryAfterMs", "settle", "startAs", "suspect", "topics",
  // timer.js
  "isSet",
];
