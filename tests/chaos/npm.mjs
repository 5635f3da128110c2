/** Clients of the npm `phoenix` package. Each line of stdin is a command; each response is a line of stdout. */
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Recovery, reconnectAfterMs, rejoinAfterMs } from "../../recovery_app/static/recovery_app/recovery.js";
import { ScriptedClients } from "./clients.mjs";

/** Half of the clients notice a silent connection soon; the others wait longer than a join may take. */
const HEARTBEATS_MS = [2_000, 16_000];

/** The timeout of a reply; that of a join is the npm client's default, 10 s. */
const TIMEOUT_MS = 3_000;

function make(url, number) {
  const socket = new Socket(url, {
    transport: WebSocket,
    heartbeatIntervalMs: HEARTBEATS_MS[number % HEARTBEATS_MS.length],
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
  start: ({ url, scripts, seed }) => {
    clients = new ScriptedClients(scripts, seed, (number) => make(`${url}/ws`, number));
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
