/**
 * Clients of the npm `phoenix` package. The first line of stdin says which, each further one what to do; each is
 * answered by one line.
 */
import { createInterface } from "node:readline";
import { Socket } from "phoenix";
import { WebSocket } from "ws";
import { Recovery, reconnectAfterMs, rejoinAfterMs } from "../../recovery_app/static/recovery_app/recovery.js";
import { Players } from "./players.mjs";

/** Every other client notices a silent connection soon; the rest wait long enough for the slow-join trap. */
const HEARTBEATS_MS = [2_000, 16_000];

/** How long a reply may take; a join may take the npm client's own 10 s. */
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

let players;
const commands = {
  start: ({ url, scripts, seed }) => {
    players = new Players(scripts, seed, (number) => make(`${url}/ws`, number));
    return 0;
  },
  go: (horizon) => players.go(horizon),
  problems: () => players.problems(),
  finish: () => players.finish(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await commands[name](argument))}\n`);
}
process.exit();
