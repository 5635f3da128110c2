/** Types of the public API. */

/** @typedef {"connecting" | "connected" | "disconnected"} Status */
/** @typedef {"sessionStorage" | "localStorage" | "none"} StorageKind */
// prettier-ignore
/** @typedef {"new" | "recovered" | "copied" | "expired" | "not_found" | "superseded" | "rejected" | "version" | "failed" | "unavailable"} Outcome */
/** @typedef {Record<string, any>} Payload */
/** @typedef {Payload | (() => Payload)} Params */
/**
 * @typedef {Params | (() => Promise<Payload>)} SocketParams
 * @typedef {string | URL | (() => string | URL | Promise<string | URL>)} SocketUrl
 * @typedef {string | string[] | (() => string | string[] | Promise<string | string[]>)} Protocols
 */
/** @typedef {"connecting" | "connected" | "reconnecting" | "disconnected"} ConnectionStatus */
/**
 * @typedef {object} ConnectionDetail detail of the event "connection", and the property of that name
 * @property {ConnectionStatus} status "connecting" until the first join, "reconnecting" after it; "disconnected" if nothing is tried
 * @property {number | null} code with which the last connection was closed, if that is known
 * @property {number} attempt how many times it was tried since the view was joined
 * @property {number | null} nextDelayMs how long the next try was put off when the last one had failed; null while it runs
 */
/** @typedef {(level: "debug" | "info" | "warn", message: string, data?: object) => void} Log */
/** @typedef {Log | { debug?: (...what: any[]) => void, info?: (...what: any[]) => void, warn?: (...what: any[]) => void }} Logger */
/** @typedef {(tries: number) => number} Backoff returns the milliseconds to wait before try 1, 2, 3, … */
/**
 * @typedef {object} OutcomeDetail detail of the event "outcome"
 * @property {Outcome | null} outcome null if the server doesn't recover this topic
 * @property {number} elapsedMs from the disconnect (for the page's first join: from its start) to the join's reply
 * @property {number | null} ttl in seconds
 * @property {Payload} response the response of the join, without the token
 * @property {boolean} isWaiting whether the view joins again for the state, and sends nothing until then
 */
/** @typedef {{ event: string, payload: Payload }} PageEvent */
/**
 * Why events were lost.
 *
 *   "rolled_back"  the server's storage lost an earlier event that it had already stored
 *   "full"         the queue was full
 *   "too_large"    the server accepts no message of that size, and closed the connection over it
 *   "undeliverable" three connections were cut, or servers crashed, when this event was next
 *   "superseded"   another page has continued the state, and its events have these numbers
 *   "left"         the page left the topic
 *   "forgotten"    the page discarded its token
 *   "closed"       the page closed the view, which keeps the event for the next one; in no "lost"
 *   "withdrawn"    the page stopped waiting, and the event hadn't been numbered yet: it isn't applied; in no "lost"
 *   "in_flight"    the page stopped waiting, and the event is delivered all the same: "reply" has the response; in no "lost"
 *   "unconfirmed"  sent to a server without recovery, and the connection was lost before the reply
 *   "owner"        another person has joined since; such events are in no "lost"
 *
 * Any other value is the outcome of a join that didn't restore the state.
 * @typedef {"rolled_back" | "full" | "too_large" | "undeliverable" | "left" | "forgotten" | "closed" | "withdrawn" | "in_flight" |
 *   "unconfirmed" | "owner" | Outcome | null} LostReason
 */
/**
 * @typedef {object} PushOptions how long to wait for the response; by default as long as it takes
 * @property {AbortSignal} [signal] stops the wait when it is aborted
 * @property {number} [timeoutMs] stops the wait after so long
 */
/** @typedef {{ reason: LostReason, events: PageEvent[] }} LostDetail detail of the event "lost" */
/** @typedef {{ start(): Promise<Payload>, want(): void, end(isLeave: boolean): void }} ChannelTopic what a channel joins, made by its socket */
/** @typedef {{ status: string, response: any }} Reply status: "ok", "error", or "timeout" if there is no reply */
/** @typedef {PageEvent & Reply} ReplyDetail detail of the event "reply" */
/**
 * @typedef {object} RefusedDetail detail of the event "refused": one of these, or the error response of a join
 * @property {any} [reason] "closed", "handshake", "url", "protocols", "params", "replaced", or what the server says
 * @property {number} [code] with which the connection was closed
 * @property {number} [tries] how many were refused in a row
 * @property {any} [error] of a function of the page's
 */
/**
 * @typedef {object} ViewEvents the details of a view's own events
 * @property {Status} status
 * @property {ConnectionDetail} connection
 * @property {OutcomeDetail} outcome
 * @property {LostDetail} lost
 * @property {ReplyDetail} reply
 * @property {Record<string, never>} missed
 * @property {RefusedDetail & Payload} refused
 * @property {boolean} kept the new value of `isKept`
 */
/**
 * @typedef {object} Transport sends the events of a view; it must not buffer or resend them
 * @property {(event: string, payload: Payload, onReply: (reply: Reply) => void) => boolean} send returns false if it
 *   can't send now
 * @property {() => void} rejoin makes the joined channel join again
 * @property {boolean} [takesPushes] whether each push of the server passes through `receive`
 * @property {() => boolean} [isBusy] whether what was sent is still leaving this machine
 * @property {() => void} [probe] finds out soon whether the connection is dead
 */
/**
 * @typedef {object} RecoveryOptions
 * @property {StorageKind} [storage] default: "sessionStorage"; with "localStorage", await `ready` before the first join
 * @property {string} [owner] whom the page was made for, and by which other names its connection may know them,
 *   separated by spaces; default: the attribute `data-recovery-owner` of an element
 * @property {number} [maxKept] maximum number of queued events
 * @property {number} [maxKeptChars] maximum total length of their payloads as JSON
 * @property {number} [timeoutMs] how long to wait for a reply before an event is resent
 * @property {Backoff} [rejoinAfterMs]
 * @property {Logger} [logger] is told what happens, without payloads, tokens and URLs: a function, or an object such as console
 */
/**
 * @typedef {object} PhoenixChannel the part used of the npm client's Channel
 * @property {(timeout?: number) => any} join
 * @property {(event: string, callback: (payload: any) => void) => unknown} on
 * @property {(event: string, payload?: any, ...rest: any[]) => void} [trigger] what calls the callbacks of `on`
 * @property {(callback: () => void) => unknown} onError
 * @property {(callback: () => void) => unknown} onClose
 * @property {{ closeWasClean?: boolean }} [socket]
 * @property {(...what: any) => any} push
 * @property {(...what: any) => any} [onMessage]
 * @property {{ timerCalc?: Backoff }} [rejoinTimer]
 */
/**
 * @template [C=any]
 * @typedef {object} PhoenixSocket the part used of the npm client's Socket
 * @property {(topic: string, params?: any) => C} channel
 * @property {(callback: (event: any) => void) => unknown} [onClose]
 * @property {(callback: () => void) => unknown} [onOpen]
 * @property {{ timerCalc?: Backoff }} [reconnectTimer]
 */

/**
 * @typedef {object} RecoverySocketOptions
 * @property {string} [viewId] default: the path and the query of the URL, and the topic; required if the URL is a function
 * @property {number} [heartbeatMs] time between heartbeats
 * @property {number} [timeoutMs] how long a connection, a join or a reply may take
 * @property {Backoff} [reconnectAfterMs]
 * @property {Protocols} [protocols] subprotocols of the WebSocket
 * @typedef {RecoveryOptions & RecoverySocketOptions} SocketOptions
 * @typedef {RecoveryOptions & { viewId?: string }} ChannelOptions
 */
export {};
