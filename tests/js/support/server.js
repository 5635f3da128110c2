/**
 * A server for the tests: the Phoenix channels protocol (V2) and the recovery of the contract's section 8, with
 * faults on request. A state is the list of what was added to it.
 */
import { EventEmitter, once } from "node:events";
import { WebSocketServer } from "ws";

/** How long any wait of a test may take. */
export const PATIENCE_MS = 20_000;

export class TestServer {
  /** Every frame received, as {joinRef, ref, topic, event, payload}. */
  frames = [];
  /** The URL of every connection. */
  urls = [];
  /** Outcomes for the next joins, instead of what the token says. */
  outcomes = [];
  /** How many of the next joins to refuse. */
  refusals = 0;
  /** While true, nothing is answered, as by a process that is stopped. */
  isStopped = false;

  #received = new EventEmitter();
  #states = new Map();
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
      connection.on("message", (data) => this.#take(connection, channels, String(data)));
    });
  }

  get origin() {
    return `ws://127.0.0.1:${this.sockets.address().port}`;
  }

  get joins() {
    return this.of("phx_join").map(({ payload }) => payload);
  }

  get lastToken() {
    return `token-${this.#issued}`;
  }

  of(event) {
    return this.frames.filter((frame) => frame.event === event);
  }

  /** Wait for the next frame of an event. */
  async next(event) {
    return (await once(this.#received, event, { signal: AbortSignal.timeout(PATIENCE_MS) }))[0];
  }

  /** Cut every connection, without a closing handshake. */
  cut() {
    for (const connection of this.sockets.clients) connection.terminate();
  }

  /** Send one frame, as it is, to every client. */
  send(frame) {
    for (const connection of this.sockets.clients) connection.send(frame);
  }

  stop() {
    this.cut();
    this.sockets.close();
  }

  #take(connection, channels, data) {
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
        return reply(this.#join(channels, topic, joinRef, payload));
      case "phx_leave":
        reply({});
        return send("phx_close", {}, joinRef);
    }
    const channel = channels.get(topic);
    if (joinRef !== channel?.joinRef) return;
    switch (event) {
      case "add":
        channel.state.push(payload.item);
        return reply({ state: [...channel.state] });
      case "add_without_reply":
        return channel.state.push(payload.item);
      case "refuse":
        return reply({ reason: "no" }, "error");
      case "crash":
        return send("phx_error", {}, joinRef);
      case "close":
        return send("phx_close", {}, joinRef);
      case "fork":
        send("recovery:token", { token: this.#issue([...channel.state]), ttl: 300 }, null);
        return reply({});
      default:
        send("heard", { event, payload }, null);
        return reply({});
    }
  }

  #join(channels, topic, joinRef, payload) {
    const shown = payload._recovery ?? payload.params?._recovery;
    const known = this.#states.get(shown);
    const outcome = this.outcomes.shift() ?? (shown === undefined ? "new" : known ? "recovered" : "not_found");
    const state = outcome === "recovered" ? known : [];
    const token = ["version", "unavailable"].includes(outcome) ? null : this.#issue(state);
    channels.set(topic, { joinRef, state });
    return {
      state: [...state],
      _recovery: { token, outcome, ttl: 300, seq: 0 },
      rendered: { s: [`<p>${state.join(" ")}</p>`] },
      liveview_version: "1.2.12",
    };
  }

  #issue(state) {
    this.#states.set(`token-${++this.#issued}`, state);
    return this.lastToken;
  }
}
