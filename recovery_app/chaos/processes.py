"""Own server processes: started on a free port, awaited, killed, stalled, started again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20

Self = TypeVar("Self", bound="Process")


def free_port() -> int:
    """Give a port on which nothing listens.

    It lies below the ports that the kernel gives to clients: while a server is down to be
    started again, no client that tries to reconnect can come to hold its port.
    """
    while True:
        port = random.randint(20_000, 29_999)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def answers(port: int) -> bool:
    """Say whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Wait for what another process does; raise with the problem if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.02)


class Process:
    """A server on a port of its own. Its output goes to one file over all restarts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        port: int,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        is_ready: Callable[[], bool] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        **popen_options: Any,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.port = port
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.is_ready = is_ready or (lambda: answers(port))
        self.stop_signal = stop_signal
        self.popen_options = popen_options
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self: Self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Give the id of the running process."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} isn't running")
        return self._popen.pid

    def start(self) -> None:
        """Start it and wait until it is ready; raise with its output if it ends before."""
        if self._popen is not None:
            raise RuntimeError(f"{self.name} is running already")
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - who runs the kit gives the command
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for who started it, which then stops each server in good order.
                start_new_session=True,
                **self.popen_options,
            )
        is_ready = partial(self._is_ready_or_raise, self._popen)
        try:
            wait_until(is_ready, START_SECONDS, f"{self.name} isn't ready; see {self.log}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in good order, or kill it if that takes too long."""
        if self._popen is None:
            return
        self._popen.send_signal(self.stop_signal)
        self.signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and its children with SIGKILL, as a crash would."""
        if self._popen is None:
            return
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._popen = None
        # A child may die a moment later, and its port would pass for the next start's.
        wait_until(lambda: not answers(self.port), STOP_SECONDS, f"{self.name} still answers")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children: SIGSTOP and SIGCONT are of use."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port."""
        self.stop()
        self.start()

    def output(self) -> str:
        """Give all that it has written so far."""
        return self.log.read_text(errors="replace")

    def _is_ready_or_raise(self, popen: subprocess.Popen[bytes]) -> bool:
        if popen.poll() is not None:
            raise RuntimeError(f"{self.name} ended at its start:\n{self.output()}")
        return self.is_ready()
