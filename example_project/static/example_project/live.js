/** The npm LiveView client with recovery. */
import { LiveViewRecovery } from "../recovery_app/recovery.js";

const { Phoenix, LiveView } = globalThis;
const recovery = new LiveViewRecovery();
const liveSocket = recovery.watch(
  new LiveView.LiveSocket("/live", Phoenix.Socket, { params: (el) => recovery.params(el) }),
);
recovery.view("guests-view").addEventListener("outcome", ({ detail }) => {
  const entry = document.createElement("li");
  entry.textContent = detail.outcome;
  document.querySelector("#outcomes").append(entry);
});
liveSocket.connect();
Object.assign(globalThis, { liveSocket });
