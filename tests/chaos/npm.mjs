/** Clients of the npm `phoenix` package, or with a socket of recovery.js. Each line of stdin is a command; each response is a line of stdout. */
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Recovery, RecoverySocket, reconnectAfterMs, rejoinAfterMs } from "../../recovery_app/static/recovery_app/recovery.js";
import { ScriptedClients } from "./clients.mjs";

/** The timeout of a reply. */
const TIMEOUT_MS = 3_000;

globalThis.WebSocket ??= WebSocket;

function makeNpm(url, number, joinTimeoutMs, params) {
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
  const channel = recovery.channel(socket, "ledger", params);
  socket.connect();
  channel.join();
  return {
    recovery,
    push: (event, payload) => recovery.push(event, payload),
    drop: () => socket.conn?.terminate(),
  };
}

function makeSocket(url, number, joinTimeoutMs, params) {
  const viewId = `ledger ${number}`;
  const socket = new RecoverySocket(`${url}/websocket`, { viewId, storage: "none", timeoutMs: TIMEOUT_MS, heartbeatMs: 2_000 });
  socket.join("ledger", params).catch(() => {});
  return { recovery: socket, push: (event, payload) => socket.push(event, payload), drop: () => socket.drop() };
}

const WAYS = { npm: makeNpm, socket: makeSocket };

let clients;
const commands = {
  start: ({ url, way, scripts, params, seed, joinTimeoutMs }) => {
    clients = new ScriptedClients(scripts, seed, (number) => WAYS[way](`${url}/ws`, number, joinTimeoutMs, params[number]));
    return 0;
  },
  go: (horizon) => clients.go(horizon),
  joined: () => clients.joined(),
  problems: () => clients.problems(),
  finish: () => clients.finish(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await commands[name](argument))}\n`);
}
process.exit();
