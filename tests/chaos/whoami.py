"""A server that tells each connection its process id: ``python -m tests.chaos.whoami PORT``."""

from __future__ import annotations

import os
import signal
import socketserver
import sys


class Answer(socketserver.BaseRequestHandler):
    """Tell it."""

    def handle(self) -> None:
        self.request.sendall(str(os.getpid()).encode())


def end(*_: object) -> None:
    """Tell the log why it ends."""
    print("SIGTERM", flush=True)
    raise SystemExit


class Server(socketserver.TCPServer):
    allow_reuse_address = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    with Server(("127.0.0.1", int(sys.argv[1])), Answer) as server:
        server.serve_forever()
