/** Clients of the npm `phoenix` package. Each line of stdin is a command; each response is a line of stdout. */
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Recovery, reconnectAfterMs, rejoinAfterMs } from "../../recovery_app/static/recovery_app/recovery.js";
import { ScriptedClients } from "./clients.mjs";

/** The timeout of a reply. */
const TIMEOUT_MS = 3_000;

function make(url, number, joinTimeoutMs) {
  // Half of the clients notice a silent connection soon; the others wait longer than a join may take.
  const heartbeatsMs = [2_000, 1.6 * joinTimeoutMs];
  const socket = new Socket(url, {
    transport: WebSocket,
    timeout: joinTimeoutMs,
    heartbeatIntervalMs: heartbeatsMs[number % heartbeatsMs.length],
    reconnectAfterMs,
    rejoinAfterMs,
  });
  const recovery = new Recovery(`ledger ${number}`, { storage: "none", timeoutMs: TIMEOUT_MS });
  const channel = recovery.channel(socket, "ledger");
  socket.connect();
  channel.join();
  return {
    recovery,
    push: (event, payload) => recovery.push(event, payload),
    drop: () => socket.conn?.terminate(),
  };
}

let clients;
const commands = {
  start: ({ url, scripts, seed, joinTimeoutMs }) => {
    clients = new ScriptedClients(scripts, seed, (number) => make(`${url}/ws`, number, joinTimeoutMs));
    return 0;
  },
  go: (horizon) => clients.go(horizon),
  problems: () => clients.problems(),
  finish: () => clients.finish(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await commands[name](argument))}\n`);
}
process.exit();
