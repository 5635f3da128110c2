/** Usage of the client, type-checked by types.test.js. */
import { EventError, fullJitter, LiveViewRecovery, Recovery, RecoverySocket, version } from "../../recovery_app/static/recovery_app/recovery.js";

/** @param {{ channel(topic: string, params: object): { join(): any, push(): any, on(): void, onError(): void, onClose(): void, leave(): void } }} npm */
export function withPhoenix(npm) {
  const recovery = new Recovery("form", { storage: "localStorage" });
  const channel = recovery.channel(npm, "lv:form", () => ({ id: 1 }));
  channel.join();
  recovery.push("add", { item: 1 }).then(({ items }) => items);
  const waiting = recovery.pending.map(({ event, payload }) => [event, payload]);
  channel.leave();
  recovery.giveUp();
  return waiting;
}

/** @param {{ send(text: string): void }} wire */
export function withAnother(wire) {
  const recovery = new Recovery("form", { maxKept: 10, maxKeptChars: 1_000, timeoutMs: 5_000, rejoinAfterMs: fullJitter(100, 1000) });
  recovery.carry({
    send(event, payload, onReply) {
      wire.send(JSON.stringify({ event, payload }));
      onReply({ status: "ok", response: {} });
      return true;
    },
    rejoin: () => wire.send(JSON.stringify(recovery.joinPayload())),
  });
  recovery.joined({ _recovery: { token: "t", outcome: "new", ttl: 300, seq: 0 } });
  recovery.dropped();
}

/** @param {{ getSocket(): { channel(topic: string, params: object): object }, connect(): void }} liveSocket */
export function withLiveView(liveSocket) {
  const views = new LiveViewRecovery({ storage: "none" });
  const options = { params: (/** @type {Element} */ el) => views.params(el, { _csrf_token: "c" }) };
  views.watch(liveSocket).connect();
  return options;
}

export async function withNothing() {
  const socket = new RecoverySocket("/ws/form/", { viewId: "form", maxKept: 10, reconnectAfterMs: fullJitter(100, 1000) });
  const stop = socket.on("changed", (payload) => payload.items);
  const { items } = await socket.join("form:1");
  await socket.push("add", { items }).catch((error) => error instanceof EventError && error.name);
  socket.disconnect();
  stop();
  // @ts-expect-error there is no such storage
  return new RecoverySocket("/ws/form/", { storage: "cookie" });
}

/** @param {() => Promise<string>} getTicket */
export async function withChannels(getTicket) {
  const socket = new RecoverySocket(async () => `/ws/form/?ticket=${await getTicket()}`, { protocols: ["one"], logger: console });
  const form = socket.channel("form", async () => ({ id: 1 }), { viewId: "form" });
  const stops = [
    form.on("connection", ({ status, code, attempt, nextDelayMs }) => [status, code?.toFixed(), attempt.toFixed(), nextDelayMs?.toFixed()]),
    form.on("outcome", ({ outcome, elapsedMs }) => [outcome, elapsedMs.toFixed()]),
    form.on("refused", ({ reason, code }) => [reason, code?.toFixed()]),
    form.on("changed", ({ items }) => items.length),
    form.onPushed("outcome", (payload) => payload.anything),
  ];
  // @ts-expect-error a detail has no such field
  form.on("outcome", ({ items }) => items);
  // @ts-expect-error there is no such status
  if (form.connection.status === "open") return version;
  await form.join();
  for (const stop of stops) stop();
  form.close();
  // @ts-expect-error there is no such option
  return socket.channel("other", {}, { viewID: "other" });
}
