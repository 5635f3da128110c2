/**
 * A server for the tests: the Phoenix channels protocol (V2) with recovery and exactly-once events, and faults on
 * request. A state is the list of the items added to it.
 */
import { EventEmitter, once } from "node:events";
import { WebSocketServer } from "ws";

/** How long any wait of a test may take. */
export const TIMEOUT_MS = 20_000;

export class TestServer {
  /** All frames received, as {joinRef, ref, topic, event, payload}. */
  frames = [];
  /** The URLs of all connections. */
  urls = [];
  /** Outcomes of the next joins, regardless of their tokens. */
  outcomes = [];
  /** How many of the next joins to refuse. */
  refusals = 0;
  /** While true, nothing is answered, as by a stopped process. */
  isStopped = false;
  /** While true, replies to events are held back until `release`. */
  isSlow = false;
  /** While false, nothing is saved, as in an outage of the storage or between two saves. */
  isSaving = true;
  /** How many of the next events to ignore. */
  overlooked = 0;
  /** How many replies to keep for resent events. */
  ring = 64;
  /** The name of the person who joins; undefined for a server that names nobody. */
  owner = "ann";
  /** Other names of the same person. @type {string[] | undefined} */
  aliases = undefined;
  /** Length of a message that is too large, over which the connection is closed. */
  maxChars = Infinity;
  /** After how many more events, applied without a reply, to close the connection over another message's size. */
  closesBehind = 0;
  /** Whether it knows whose numbers are whose. */
  knowsLines = true;
  /** How many numbered pushes are kept for a page that lacks them. */
  kept = 128;
  /** Whether joins recover anything. */
  recovers = true;

  #received = new EventEmitter();
  /** For each token, all snapshots of its socket, the newest last. */
  #sockets = new Map();
  #connections = new Set();
  #held = [];
  #issued = 0;

  static async start(test) {
    const server = new TestServer(new WebSocketServer({ port: 0, host: "127.0.0.1" }));
    await once(server.sockets, "listening");
    test.after(() => server.stop());
    return server;
  }

  constructor(sockets) {
    this.sockets = sockets;
    sockets.on("connection", (connection, request) => {
      this.urls.push(request.url);
      const channels = new Map();
      this.#connections.add(channels);
      connection.on("message", (data) => this.#take(connection, channels, String(data)));
      connection.on("close", () => this.#connections.delete(channels));
    });
  }

  get origin() {
    return `ws://127.0.0.1:${this.sockets.address().port}`;
  }

  /** The payloads of all joins, without the lines, and the numbers of pushes. */
  get joins() {
    return this.of("phx_join").map(({ payload: { _line, _recv, ...payload } }) => payload);
  }

  /** The line of the last join: whose numbers its page's next events have. */
  get line() {
    return this.of("phx_join").at(-1).payload._line;
  }

  get lastToken() {
    return `token-${this.#issued}`;
  }

  of(event) {
    return this.frames.filter((frame) => frame.event === event);
  }

  /** Wait for the next frame of an event. */
  async next(event) {
    return (await once(this.#received, event, { signal: AbortSignal.timeout(TIMEOUT_MS) }))[0];
  }

  /** Cut every connection, without a closing handshake. */
  cut() {
    for (const connection of this.sockets.clients) connection.terminate();
  }

  /** Send a frame unchanged to every client. */
  send(frame) {
    for (const connection of this.sockets.clients) connection.send(frame);
  }

  /** Send the replies that were held back. */
  release() {
    this.isSlow = false;
    for (const send of this.#held.splice(0)) send();
  }

  /** Save all states, as at the end of an interval. */
  save() {
    for (const channels of this.#connections) for (const channel of channels.values()) this.#save(channel);
  }

  /** Lose what was saved after an event, as a storage restored from an old copy. */
  rollBack(seq) {
    for (const snapshots of this.#sockets.values()) while (snapshots.at(-1).seq > seq) snapshots.pop();
  }

  /** Forget all joins without notifying the clients. */
  forgetJoins() {
    for (const channels of this.#connections) channels.clear();
  }

  stop() {
    this.cut();
    this.sockets.close();
  }

  #take(connection, channels, data) {
    if (connection.readyState !== connection.OPEN) return;
    if (data.length > this.maxChars) return connection.close(1009);
    if (this.closesBehind > 0 && JSON.parse(data)[3] === "add" && --this.closesBehind === 0) {
      setImmediate(() => connection.close(1009));
      this.isSlow = true;
    }
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    const frame = { joinRef, ref, topic, event, payload };
    this.frames.push(frame);
    if (!this.isStopped) this.#answer(connection, channels, frame);
    this.#received.emit(event, frame);
  }

  #answer(connection, channels, { joinRef, ref, topic, event, payload }) {
    const send = (name, body, to = ref) => connection.send(JSON.stringify([joinRef, to, topic, name, body]));
    const reply = (response, status = "ok") => send("phx_reply", { status, response });
    switch (event) {
      case "heartbeat":
        return reply({});
      case "phx_join":
        if (this.refusals > 0) return void (this.refusals--, reply({ reason: "not yet" }, "error"));
        reply(this.#join(channels, topic, joinRef, payload));
        return this.#pushAgain(channels.get(topic), payload._recv, send);
      case "phx_leave":
        reply({});
        return send("phx_close", {}, joinRef);
    }
    const channel = channels.get(topic);
    if (!channel) return reply({ reason: "unmatched topic" }, "error");
    if (joinRef !== channel.joinRef || this.overlooked-- > 0) return;
    const answer = this.#apply(channel, event, payload, send, connection);
    if (!this.#connections.has(channels)) return;
    const respond = () => answer && reply(answer.response, answer.status);
    if (this.isSlow) this.#held.push(respond);
    else respond();
    if (answer?.response._recovery?.repeat) return;
    if (event === "crash") send("phx_error", {}, joinRef);
    if (event === "close") send("phx_close", {}, joinRef);
  }

  /** Apply an event, only once if it has a number, and return its reply. */
  #apply(channel, event, { _seq, _ack, _line, ...payload }, send, connection) {
    if (event === "kill") return void connection.terminate();
    if (event === "shut") return void connection.close(payload.code);
    if (_seq === undefined) {
      const answer = this.#handle(channel, event, payload, send);
      this.#save(channel);
      return answer;
    }
    const numbered = ({ status = "ok", response }, more) => {
      return { status, response: { ...response, _recovery: { seq: channel.saved, ...more } } };
    };
    const line = channel.lines.filter(([, first]) => first <= _seq).at(-1)?.[0];
    if (_seq <= channel.seq && line !== undefined && line !== _line) {
      return numbered({ status: "error", response: { reason: "seq_taken", seq: channel.seq } });
    }
    if (_seq <= channel.seq) return numbered(channel.replies.get(_seq) ?? {}, { repeat: true });
    if (_seq > channel.seq + 1) return numbered({ status: "error", response: { reason: "seq_gap", seq: channel.seq } });
    channel.seq = _seq;
    if (_line !== undefined && channel.lines.at(-1)?.[0] !== _line) channel.lines.push([_line, _seq]);
    const answer = this.#handle(channel, event, payload, send);
    channel.replies.set(_seq, answer ?? { response: { late: event } });
    for (const seq of channel.replies.keys()) if (seq <= _ack || seq <= _seq - this.ring) channel.replies.delete(seq);
    if (this.isSaving) this.#save(channel);
    return answer && numbered(answer);
  }

  /** Handle an event. Return its reply, or null if the first reply is to be lost. */
  #handle(channel, event, payload, send) {
    switch (event) {
      case "add":
        channel.state.push(payload.item);
        return { status: "ok", response: { state: [...channel.state] } };
      case "add_without_reply":
        channel.state.push(payload.item);
        return null;
      case "tick":
        return { status: "ok", response: { pushed: this.#pushNumbered(channel, payload, send) } };
      case "recovery:received":
        return { status: "ok", response: {} };
      case "refuse":
        return { status: "error", response: { reason: "no" } };
      case "crash":
      case "close":
        return null;
      case "fork":
        channel.snapshots = [];
        this.#save(channel);
        send("recovery:token", { token: this.#issue(channel.snapshots), ttl: 300 }, null);
        return { status: "ok", response: {} };
      default:
        send("heard", { event, payload }, null);
        return { status: "ok", response: {} };
    }
  }

  #join(channels, topic, joinRef, payload) {
    const shown = payload._recovery ?? payload.params?._recovery;
    const known = this.#sockets.get(shown);
    const outcome = this.outcomes.shift() ?? (shown === undefined ? "new" : known ? "recovered" : "not_found");
    const fresh = { state: [], seq: 0, replies: new Map(), lines: [], pushes: [] };
    const original = outcome === "copied" ? structuredClone(known.at(-1)) : undefined;
    const snapshots = outcome === "recovered" ? known : [{ ...fresh, state: original?.state ?? [] }];
    const { state, seq, replies, lines, pushes } = structuredClone(snapshots.at(-1));
    channels.set(topic, { joinRef, snapshots, state, seq, replies, lines, pushes, saved: seq });
    const token = ["version", "failed", "unavailable"].includes(outcome) ? null : this.#issue(snapshots);
    const told = payload._line === undefined ? {} : { lines: structuredClone(lines) };
    if (payload._recv !== undefined) told.missed = (payload._recv ?? 0) < pushes.length - this.kept;
    if (original) {
      const errors = [...original.replies].filter(([, answer]) => answer?.status === "error").map(([number]) => number);
      told.original = { seq: original.seq, lines: original.lines, errors };
    }
    return {
      state: [...state],
      ...(this.recovers
        ? { _recovery: { token, outcome, ttl: 300, seq, owner: this.owner, aliases: this.aliases, ...(this.knowsLines ? told : {}) } }
        : {}),
      rendered: { s: [`<p>${state.join(" ")}</p>`] },
      liveview_version: "1.2.12",
    };
  }

  /** Push with a number, unless this one is to be lost on the way. */
  #pushNumbered(channel, payload, send) {
    const number = channel.pushes.push(payload);
    if (!payload.isLost) send("tick", { ...payload, _push: number }, null);
    return number;
  }

  /** Push once more what the page lacks, as far as it is kept. */
  #pushAgain(channel, received, send) {
    if (received === undefined) return;
    const from = Math.max(received ?? 0, channel.pushes.length - this.kept);
    channel.pushes.slice(from).forEach((payload, place) => send("tick", { ...payload, _push: from + place + 1 }, null));
  }

  #save(channel) {
    const { snapshots, state, seq, replies, lines, pushes } = channel;
    snapshots.push(structuredClone({ state, seq, replies, lines, pushes }));
    channel.saved = seq;
  }

  #issue(snapshots) {
    this.#sockets.set(`token-${++this.#issued}`, snapshots);
    return this.lastToken;
  }
}
