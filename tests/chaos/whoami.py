"""A server that sends each connection its process id: ``python -m tests.chaos.whoami PORT``."""

from __future__ import annotations

import os
import signal
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(str(os.getpid()).encode())


def exit_on_signal(*_: object) -> None:
    """Write the reason for the exit to the log."""
    print("SIGTERM", flush=True)
    raise SystemExit


class Server(socketserver.TCPServer):
    allow_reuse_address = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, exit_on_signal)
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
