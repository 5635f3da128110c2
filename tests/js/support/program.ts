/** A program that uses the npm package, as a strict TypeScript project does: checked by package.test.js, not run. */
import { EventError, LiveViewRecovery as FromIndex, Recovery as Same, RecoveryChannel, RecoverySocket, version } from "django-recovery-app";
import type { ConnectionDetail, LostDetail, Outcome, OutcomeDetail, SocketOptions, Status } from "django-recovery-app";
import { LiveViewRecovery } from "django-recovery-app/liveview";
import { Recovery, reconnectAfterMs, rejoinAfterMs } from "django-recovery-app/phoenix";

declare class Channel {
  join(timeout?: number): { receive(status: string, callback: (response?: any) => any): any };
  on(event: string, callback: (response?: any) => void): number;
  onError(callback: (reason?: any) => void): number;
  onClose(callback: (payload: any, ref: any, joinRef: any) => void): number;
  push(event: string, payload: object, timeout?: number): object;
  leave(): void;
}

declare class Socket {
  constructor(url: string, options: { reconnectAfterMs(tries: number): number; rejoinAfterMs(tries: number): number });
  channel(topic: string, params?: object | (() => object)): Channel;
  onClose(callback: (event: CloseEvent) => void): string;
}

export function withPhoenix(): Channel {
  const socket = new Socket("/live", { reconnectAfterMs, rejoinAfterMs });
  const recovery: Same = new Recovery("cart", { storage: "localStorage" });
  recovery.addEventListener("outcome", (event) => {
    const { outcome, elapsedMs }: OutcomeDetail = (event as CustomEvent<OutcomeDetail>).detail;
    const name: Outcome | null = outcome;
    console.log(name, elapsedMs.toFixed());
  });
  const channel = recovery.channel(socket, "lv:cart", () => ({ id: 1 }));
  channel.join().receive("ok", () => channel.leave());
  return channel;
}

export function withLiveView(el: Element): Record<string, unknown> {
  const views: FromIndex = new LiveViewRecovery();
  return views.params(el, { _csrf_token: "c" });
}

export function withChannels(url: () => Promise<URL>): RecoveryChannel {
  const socket = new RecoverySocket(url, { logger: (level, message, data) => console.log(level, message, data, version) });
  const form: RecoveryChannel = socket.channel("form", async () => ({ id: 1 }), { viewId: "form" });
  form.on("connection", (detail: ConnectionDetail) => console.log(detail.status, detail.nextDelayMs?.toFixed()));
  form.on("lost", ({ reason, events }) => console.log(reason, events.map(({ event }) => event.length)));
  return form;
}

export async function withNothing(options: SocketOptions): Promise<Status> {
  const socket = new RecoverySocket("/ws/cart/", options);
  socket.addEventListener("lost", (event) => console.warn((event as CustomEvent<LostDetail>).detail.reason));
  const stop: () => void = socket.on("changed", (payload) => console.log(payload.items));
  await socket.join("lv:cart");
  try {
    await socket.push("add", { name: "tea" });
  } catch (error) {
    if (!(error instanceof EventError)) throw error;
  }
  stop();
  // @ts-expect-error there is no such storage
  return new RecoverySocket("/ws/cart/", { storage: "cookie" }).status;
}
