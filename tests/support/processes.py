"""The suite's server processes: those of the chaos kit, run at the top of the tree."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recovery_app.chaos import processes
from recovery_app.chaos.processes import HOST, START_SECONDS, answers, wait_until

__all__ = [
    "HOST",
    "RUNNING",
    "START_SECONDS",
    "TOP",
    "Process",
    "answers",
    "as_user",
    "free_port",
    "wait_until",
]

TOP = Path(__file__).resolve().parents[2]

# Below the ephemeral ports, and for each worker of pytest-xdist a share of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), WORKER + 1)
SHARE = 10_000 // WORKERS
PORTS = range(20_000 + WORKER * SHARE, 20_000 + (WORKER + 1) * SHARE)
RECENT_PORTS: deque[int] = deque(maxlen=SHARE // 2)
"""What was returned lately: its server may not have started yet, or may be about to restart."""

RUNNING: list[processes.Process] = []
"""What is running now, the oldest first; a failed test shows the logs of these."""


def free_port() -> int:
    """Return a port that is unused, by other workers as well, and wasn't returned lately."""
    # Hypothesis seeds the common generator, in each worker alike.
    choice = random.SystemRandom().choice
    while True:
        port = choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            if port not in RECENT_PORTS:
                RECENT_PORTS.append(port)
                return port


def as_user(user: str | None) -> dict[str, Any]:
    """Return the arguments with which `subprocess` starts a program as another user."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


class Process(processes.Process):
    """A server of the suite's: it runs at the top of the tree, as any user."""

    def __init__(self, *arguments: Any, user: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **{"cwd": TOP, **as_user(user), **options})

    def start(self) -> None:
        """Start it, and remember it."""
        super().start()
        RUNNING.append(self)

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Have it do nothing, and answer nobody, for as long as the block lasts."""
        self.signal(signal.SIGSTOP)
        # Its threads stop one after the other, and until then may answer.
        os.waitpid(self.pid, os.WUNTRACED)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and forget it."""
        super().kill()
        if self in RUNNING:
            RUNNING.remove(self)
