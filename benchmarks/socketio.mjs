// Socket.IO's own server: connection state recovery on, nothing stored for an event.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  connectionStateRecovery: { maxDisconnectionDuration: 600_000 },
});

io.on("connection", (socket) => {
  socket.on("count", (payload, reply) => reply({ status: "ok", response: {} }));
  // What a page shows first. Only who has heard an event can be recovered: it has the offset.
  socket.emit("hello");
});

// The backlog is that of uvicorn.
http.listen(Number(process.argv[2]), "127.0.0.1", 2048);
