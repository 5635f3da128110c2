/** What a page writes, for types.test.js: each line has to type-check as it stands. */
import { EventError, fullJitter, LiveViewRecovery, Recovery, RecoverySocket } from "../../recovery_app/static/recovery_app/recovery.js";

/** @param {{ channel(topic: string, params: object): { join(): any, on(): void, onError(): void, onClose(): void, leave(): void } }} npm */
export function withPhoenix(npm) {
  const recovery = new Recovery("form", { storage: "localStorage" });
  const channel = recovery.channel(npm, "lv:form", () => ({ id: 1 }));
  channel.join();
  channel.leave();
}

/** @param {{ getSocket(): { channel(topic: string, params: object): object }, connect(): void }} liveSocket */
export function withLiveView(liveSocket) {
  const views = new LiveViewRecovery({ storage: "none" });
  const options = { params: (/** @type {Element} */ el) => views.params(el, { _csrf_token: "c" }) };
  views.watch(liveSocket).connect();
  return options;
}

export async function withNothing() {
  const socket = new RecoverySocket("/ws/form/", { viewId: "form", reconnectAfterMs: fullJitter(100, 1000) });
  const stop = socket.on("changed", (payload) => payload.items);
  const { items } = await socket.join("form:1");
  await socket.push("add", { items }).catch((error) => error instanceof EventError && error.name);
  socket.disconnect();
  stop();
  // @ts-expect-error there is no such storage
  return new RecoverySocket("/ws/form/", { storage: "cookie" });
}
