/*! django-recovery-app 0.1.0 | BSD-3-Clause */
export as namespace RecoveryApp;

export type Status = "connecting" | "connected" | "disconnected";
export type StorageKind = "sessionStorage" | "localStorage" | "none";
export type Outcome = "new" | "recovered" | "copied" | "expired" | "not_found" | "superseded" | "rejected" | "version" | "failed" | "unavailable";
export type Payload = Record<string, any>;
export type Params = Payload | (() => Payload);
export type SocketParams = Params | (() => Promise<Payload>);
export type SocketUrl = string | URL | (() => string | URL | Promise<string | URL>);
export type Protocols = string | string[] | (() => string | string[] | Promise<string | string[]>);
export type ConnectionStatus = "connecting" | "connected" | "reconnecting" | "disconnected";
/**
 * detail of the event "connection", and the property of that name
 */
export type ConnectionDetail = {
    /**
     * "connecting" until the first join, "reconnecting" after it; "disconnected" if nothing is tried
     */
    status: ConnectionStatus;
    /**
     * with which the last connection was closed, if that is known
     */
    code: number | null;
    /**
     * how many times it was tried since the view was joined
     */
    attempt: number;
    /**
     * how long the next try was put off when the last one had failed; null while it runs
     */
    nextDelayMs: number | null;
};
export type Log = (level: "debug" | "info" | "warn", message: string, data?: object) => void;
export type Logger = Log | {
    debug?: (...what: any[]) => void;
    info?: (...what: any[]) => void;
    warn?: (...what: any[]) => void;
};
/**
 * returns the milliseconds to wait before try 1, 2, 3, …
 */
export type Backoff = (tries: number) => number;
/**
 * detail of the event "outcome"
 */
export type OutcomeDetail = {
    /**
     * null if the server doesn't recover this topic
     */
    outcome: Outcome | null;
    /**
     * from the disconnect (for the page's first join: from its start) to the join's reply
     */
    elapsedMs: number;
    /**
     * in seconds
     */
    ttl: number | null;
    /**
     * the response of the join, without the token
     */
    response: Payload;
    /**
     * whether the view joins again for the state, and sends nothing until then
     */
    isWaiting: boolean;
};
export type PageEvent = {
    event: string;
    payload: Payload;
};
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
 */
export type LostReason = "rolled_back" | "full" | "too_large" | "undeliverable" | "left" | "forgotten" | "closed" | "withdrawn" | "in_flight" | "unconfirmed" | "owner" | Outcome | null;
/**
 * how long to wait for the response; by default as long as it takes
 */
export type PushOptions = {
    /**
     * stops the wait when it is aborted
     */
    signal?: AbortSignal | undefined;
    /**
     * stops the wait after so long
     */
    timeoutMs?: number | undefined;
};
/**
 * detail of the event "lost"
 */
export type LostDetail = {
    reason: LostReason;
    events: PageEvent[];
};
/**
 * what a channel joins, made by its socket
 */
export type ChannelTopic = {
    start(): Promise<Payload>;
    want(): void;
    end(isLeave: boolean): void;
};
/**
 * status: "ok", "error", or "timeout" if there is no reply
 */
export type Reply = {
    status: string;
    response: any;
};
/**
 * detail of the event "reply"
 */
export type ReplyDetail = PageEvent & Reply;
/**
 * detail of the event "refused": one of these, or the error response of a join
 */
export type RefusedDetail = {
    /**
     * "closed", "handshake", "url", "protocols", "params", "replaced", or what the server says
     */
    reason?: any;
    /**
     * with which the connection was closed
     */
    code?: number | undefined;
    /**
     * how many were refused in a row
     */
    tries?: number | undefined;
    /**
     * of a function of the page's
     */
    error?: any;
};
/**
 * the details of a view's own events
 */
export type ViewEvents = {
    status: Status;
    connection: ConnectionDetail;
    outcome: OutcomeDetail;
    lost: LostDetail;
    reply: ReplyDetail;
    missed: Record<string, never>;
    refused: RefusedDetail & Payload;
    /**
     * the new value of `isKept`
     */
    kept: boolean;
};
/**
 * sends the events of a view; it must not buffer or resend them
 */
export type Transport = {
    /**
     * returns false if it
     * can't send now
     */
    send: (event: string, payload: Payload, onReply: (reply: Reply) => void) => boolean;
    /**
     * makes the joined channel join again
     */
    rejoin: () => void;
    /**
     * whether each push of the server passes through `receive`
     */
    takesPushes?: boolean | undefined;
    /**
     * whether what was sent is still leaving this machine
     */
    isBusy?: (() => boolean) | undefined;
    /**
     * finds out soon whether the connection is dead
     */
    probe?: (() => void) | undefined;
};
export type RecoveryOptions = {
    /**
     * default: "sessionStorage"; with "localStorage", await `ready` before the first join
     */
    storage?: StorageKind | undefined;
    /**
     * whom the page was made for, and by which other names its connection may know them,
     * separated by spaces; default: the attribute `data-recovery-owner` of an element
     */
    owner?: string | undefined;
    /**
     * maximum number of queued events
     */
    maxKept?: number | undefined;
    /**
     * maximum total length of their payloads as JSON
     */
    maxKeptChars?: number | undefined;
    /**
     * how long to wait for a reply before an event is resent
     */
    timeoutMs?: number | undefined;
    rejoinAfterMs?: Backoff | undefined;
    /**
     * is told what happens, without payloads, tokens and URLs: a function, or an object such as console
     */
    logger?: Logger | undefined;
};
/**
 * the part used of the npm client's Channel
 */
export type PhoenixChannel = {
    join: (timeout?: number) => any;
    on: (event: string, callback: (payload: any) => void) => unknown;
    /**
     * what calls the callbacks of `on`
     */
    trigger?: ((event: string, payload?: any, ...rest: any[]) => void) | undefined;
    onError: (callback: () => void) => unknown;
    onClose: (callback: () => void) => unknown;
    socket?: {
        closeWasClean?: boolean;
    } | undefined;
    push: (...what: any) => any;
    onMessage?: ((...what: any) => any) | undefined;
    rejoinTimer?: {
        timerCalc?: Backoff;
    } | undefined;
};
/**
 * the part used of the npm client's Socket
 */
export type PhoenixSocket<C = any> = {
    channel: (topic: string, params?: any) => C;
    onClose?: ((callback: (event: any) => void) => unknown) | undefined;
    onOpen?: ((callback: () => void) => unknown) | undefined;
    reconnectTimer?: {
        timerCalc?: Backoff;
    } | undefined;
};
export type RecoverySocketOptions = {
    /**
     * default: the path and the query of the URL, and the topic; required if the URL is a function
     */
    viewId?: string | undefined;
    /**
     * time between heartbeats
     */
    heartbeatMs?: number | undefined;
    /**
     * how long a connection, a join or a reply may take
     */
    timeoutMs?: number | undefined;
    reconnectAfterMs?: Backoff | undefined;
    /**
     * subprotocols of the WebSocket
     */
    protocols?: Protocols | undefined;
};
export type SocketOptions = RecoveryOptions & RecoverySocketOptions;
export type ChannelOptions = RecoveryOptions & {
    viewId?: string;
};

/** Why an event has no reply, or an error as its reply. `name` tells the cases apart. */
export class EventError extends Error {
    /** @param {PageEvent} pushed @param {LostReason | "refused"} reason @param {Payload} [response] */
    constructor({ event, payload }: PageEvent, reason: LostReason | "refused", response?: Payload);
    /** @type {EventErrorName} */ name: EventErrorName;
    /** The name of the event, as it was pushed. @type {string} */ event: string;
    /** @type {Payload} */ payload: Payload;
    /** @type {LostReason | "refused"} */ reason: LostReason | "refused";
    /** The response of the server, if it refused the event. @type {Payload | undefined} */ response: Payload | undefined;
}
export type EventErrorName = "EventRefused" | "EventUnconfirmed" | "EventLost" | "QueueFull";

/** What a page hears of a view: its own events, and those that the server pushes. */
export class View extends EventTarget {
    /**
     * Call a function with the detail of each event of this view's ("status", "connection", "outcome", "lost", "reply",
     * "missed", "refused", "kept"), or with the payload of each event of any other name that the server pushes. Return a function that ends that.
     * @template {keyof ViewEvents} T
     * @overload
     * @param {T} type
     * @param {(detail: ViewEvents[T]) => void} callback
     * @returns {() => void}
     */
    on<T extends keyof ViewEvents>(type: T, callback: (detail: ViewEvents[T]) => void): () => void;
    /**
     * @overload
     * @param {string} type
     * @param {(payload: any) => void} callback
     * @returns {() => void}
     */
    on(type: string, callback: (payload: any) => void): () => void;
    /** Call a function with the payload of each event of this name that the server pushes, also if a view has an event of
     * that name itself. Return a function that ends that.
     * @param {string} event @param {(payload: any) => void} callback @returns {() => void} */
    onPushed(event: string, callback: (payload: any) => void): () => void;
    /** Dispatch an event of the view's own. @param {string} type @param {unknown} detail */
    tell(type: string, detail: unknown): void;
    /** Pass on an event that the server has pushed. @param {string} event @param {unknown} payload */
    heard(event: string, payload: unknown): void;
    #private;
}

/**
 * The recovery of one view: its token, its events, the status of its connection, and the outcome of its last join.
 *
 * Dispatches "status" (detail: a Status), "connection" (a ConnectionDetail), "outcome" (an OutcomeDetail), "lost" (a
 * LostDetail), "reply" (a ReplyDetail, for an event that was pushed before the page was reloaded), "missed", where
 * pushes of the server are gone, and "kept" (the new value of `isKept`).
 * Other clients call `joinPayload`, `joined`, `dropped`, `keep`, `heard` and, to send events, `carry`.
 */
export class Recovery extends View {
    /**
     * @param {string | null} viewId part of the storage key: `lv_recovery_<viewId>`; null until `nameView`
     * @param {RecoveryOptions} [options]
     */
    constructor(viewId: string | null, options?: RecoveryOptions);
    /** @type {Status} */ status: Status;
    /** @type {Outcome | null} */ outcome: Outcome | null;
    /** Give the view its name, where that wasn't known to the constructor: before it joins. @param {string} viewId */
    nameView(viewId: string): void;
    /** Have the first join show the token in the page's HTML, if the view has no other. @param {string} topic */
    beginWith(topic: string): void;
    /** Resolves when the page may join: its token is known, and it is shown or in the background, not being prepared. */
    get ready(): Promise<void>;
    get token(): string | null;
    /** The events without a reply, oldest first. Those from before a reload are here once it is known that the same
     * person is at the page: after the join, unless the page names its owner. @returns {PageEvent[]} */
    get pending(): PageEvent[];
    /** Whether a reload would keep what is pending, and the state: the tab's storage may be full or forbidden. The event
     * "kept" tells when that changes. */
    get isKept(): boolean;
    /** What there is to say about the connection, for "reconnecting…": the event "connection" tells when that is due.
     * @returns {ConnectionDetail} */
    get connection(): ConnectionDetail;
    /** The size of the largest event that awaits its reply; 0 if none does. */
    get sentBytes(): number;
    /** Send an event, now or after the next join, in order. Return a promise for the response, which
     * rejects with an EventError if there is none.
     * @param {string} event @param {Payload} [payload] @param {PushOptions} [options] @returns {Promise<Payload>} */
    push(event: string, payload?: Payload, options?: PushOptions): Promise<Payload>;
    /** Send an event now or not at all, for what the next one replaces: a cursor, "is typing". It is neither numbered
     * nor kept nor sent again, and has no response. Return whether it was sent: not while the view hasn't joined, waits
     * for its state, or has more to send than the line takes.
     * @param {string} event @param {Payload} [payload] @returns {boolean} */
    pushVolatile(event: string, payload?: Payload): boolean;
    /** Remove the token and discard all events: the next join starts with a fresh state. */
    forget(): void;
    /** Discard the events without a reply, and all that are pushed later. */
    giveUp(): void;
    /** Stop, and leave the events without a reply to the next `Recovery` of this view, in this page or after a reload.
     * Their promises are rejected with the reason "closed". */
    close(): void;
    /** Close, as the page has made another `Recovery` for this view. */
    giveWay(): void;
    /** Use a transport for events from the next join on. @param {Transport} transport */
    carry(transport: Transport): void;
    /**
     * Return a channel of the npm `phoenix` client that sends the token with every join, and that `push` of this object
     * sends events through. Events pushed with the channel's own `push` are neither queued nor resent.
     * @template {PhoenixChannel} C @param {PhoenixSocket<C>} socket
     * @param {string} topic @param {Params} [params] @returns {C}
     */
    channel<C extends PhoenixChannel>(socket: PhoenixSocket<C>, topic: string, params?: Params): C;
    /** Record that a connection or a join is being tried. */
    connecting(): void;
    /** Return the payload of a join that starts now. @param {Params} [params] @returns {Payload} */
    joinPayload(params?: Params): Payload;
    /** Handle a join's ok reply. Return it without `_recovery`. @param {Payload | null} [reply] @returns {Payload} */
    joined(reply?: Payload | null): Payload;
    /** Record that the connection or the channel is lost. @param {number} [closeCode] of the WebSocket, if known
     * @param {number | null} [nextDelayMs] how long until the next try, if known; null if there is none
     * @param {boolean} [isBlamed] whether it may have been closed over the size of an event of this view */
    dropped(closeCode?: number, nextDelayMs?: number | null, isBlamed?: boolean): void;
    /** Store a new token, from a join or from the event `recovery:token`. Without one, the old token stays. A token of
     * a join from before `forget` is ignored. After a login on the same connection, the server names the new owner.
     * @param {{ token?: string | null, owner?: string }} pushed */
    keep({ token, owner }: {
        token?: string | null;
        owner?: string;
    }): void;
    /** Take a push of the server. Return what to tell the page of it, or null for nothing: it was told already, or is of a
     * state that the page waits to leave, or of one whose token it never got. A transport that has each push pass through here says so (`takesPushes`).
     * @param {any} payload */
    receive(payload: any): any;
    #private;
}

/** @import { Params, Payload, PhoenixSocket, StorageKind } from "./types.js" */
/** The recovery of all LiveViews of a page, by element id. */
export class LiveViewRecovery {
    /** @param {{ storage?: StorageKind, owner?: string }} [options] */
    constructor(options?: {
        storage?: StorageKind;
        owner?: string;
    });
    /** Return the recovery of one view. @param {string} id of its element */
    view(id: string): Recovery;
    /**
     * Return the params for LiveSocket's `params: (el) => …`, as a new object, since LiveView modifies it.
     * LiveSocket also calls it without an element, for the socket's URL: a token there would end up in access logs.
     * @param {Element | undefined} el @param {Params} [params] @returns {Payload}
     */
    params(el: Element | undefined, params?: Params): Payload;
    /**
     * Watch a LiveSocket for new tokens. Call it before `liveSocket.connect()`. LiveView doesn't expose the replies to
     * its joins, so this hooks into each new channel, before LiveView: an exception in a page's hook loses no token.
     * @template {{ getSocket(): PhoenixSocket }} L @param {L} liveSocket @returns {L}
     */
    watch<L extends {
        getSocket(): PhoenixSocket;
    }>(liveSocket: L): L;
    #private;
}

/** @import { ChannelTopic, Payload, RecoveryOptions } from "./types.js" */
/** A view with a topic of its own on a shared `RecoverySocket`, made by its `channel`. */
export class RecoveryChannel extends Recovery {
    /** @param {RecoveryOptions & { viewId: string }} options @param {(view: Recovery) => ChannelTopic} makeTopic */
    constructor(options: RecoveryOptions & {
        viewId: string;
    }, makeTopic: (view: Recovery) => ChannelTopic);
    /** Join, and do so again after every disconnect. Return a promise for the response of the first join, also if it is
     * called again. @returns {Promise<Payload>} */
    join(): Promise<Payload>;
    /** Leave the topic permanently, and discard the events without a reply. The token stays; `forget` removes it. */
    leave(): void;
    #private;
}

/** @import { ChannelOptions, Payload, SocketOptions, SocketParams, SocketUrl } from "./types.js" */
/**
 * A WebSocket that reconnects automatically, with one topic that is joined by `join`, or several by `channel`.
 *
 * Dispatches the events of Recovery, and "refused", as its channels do: with the error response of a join; with
 * `{ reason: "closed", code, tries }` if the server closes the connection with a code that means so (4xxx, 1008); with
 * `{ reason: "handshake", code, tries }` if the connection can't be opened again and again; and with
 * `{ reason, error, tries }` if a function of the page's fails: "url", "protocols" or "params". All is tried again,
 * less and less often.
 */
export class RecoverySocket extends Recovery {
    /** @param {SocketUrl} url as for a WebSocket, or a path on this page's host; or a function that returns or promises one,
     * called for each connection @param {SocketOptions} [options] */
    constructor(url: SocketUrl, options?: SocketOptions);
    /**
     * Connect and join, and do so again after every disconnect. Return a promise for the response of the first join;
     * "outcome" has that of each.
     * @param {string} topic @param {SocketParams} [params] called for each join, if it is a function
     * @returns {Promise<Payload>}
     */
    join(topic: string, params?: SocketParams): Promise<Payload>;
    /**
     * Return a view for another topic on this connection, which opens when the first one joins and closes when the last
     * one has left. Its options are those of the socket unless it has its own.
     * @overload
     * @param {string} topic
     * @param {SocketParams} [params]
     * @param {ChannelOptions} [options]
     * @returns {RecoveryChannel}
     */
    channel(topic: string, params?: SocketParams | undefined, options?: ChannelOptions | undefined): RecoveryChannel;
    /**
     * @overload
     * @param {object} socket of an npm client: only for a `Recovery`
     * @param {string} topic
     * @param {any} [params]
     * @returns {never}
     */
    channel(socket: object, topic: string, params?: any): never;
    /** Connect again after `disconnect`. */
    connect(): void;
    /** Close the connection until `connect`. Events pushed meanwhile are queued. */
    disconnect(): void;
    /** Close the connection as a network failure would, and reconnect. */
    drop(): void;
    /** Leave all topics permanently. The tokens stay; `forget` removes them. */
    leave(): void;
    #private;
}

/** The version of the package, which is also that of the Python package. */
export const version: "0.1.0";

/**
 * Return a backoff with full jitter: a random time between zero and a bound that doubles with each try. It spreads
 * out the clients that reconnect after a server restart.
 * @param {number} baseMs @param {number} capMs @returns {Backoff}
 */
export function fullJitter(baseMs: number, capMs: number): Backoff;
/** Waiting times between tries. */
/** @import { Backoff } from "./types.js" */
/** How long a connection or a join has to hold until the next one that is lost counts as the first. */
export const GOOD_AFTER_MS: 5000;
/** The backoff after a lost connection; also an option of the npm clients. */
export const reconnectAfterMs: Backoff;
/** The backoff after a refused join or a crashed channel; also an option of the npm clients. */
export const rejoinAfterMs: Backoff;
