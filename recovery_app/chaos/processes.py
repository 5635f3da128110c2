"""Server processes that can be started on a free port, killed, stopped and restarted."""

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
from typing import IO, Any, TypeVar

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20

Self = TypeVar("Self", bound="Process")


def free_port() -> int:
    """Return an unused port.

    It is below the range of ephemeral ports: while a server is restarted, no reconnecting client
    can occupy its port.
    """
    while True:
        port = random.randint(20_000, 29_999)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def answers(port: int) -> bool:
    """Return whether a server accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def wait_until(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Poll until the condition is true; raise `RuntimeError` with the problem after a timeout."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.02)


class Process:
    """A server on its own port. All its runs write to the same log file."""

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
        """Return the id of the running process."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} isn't running")
        return self._popen.pid

    def start(self) -> None:
        """Start the server and wait until it is ready; raise `RuntimeError` if it exits."""
        if self._popen is not None:
            raise RuntimeError(f"{self.name} is already running")
        with self.log.open("ab") as output:
            self._popen = self._launch(output)
        is_ready = partial(self._is_ready_or_raise, self._popen)
        try:
            wait_until(is_ready, START_SECONDS, f"{self.name} isn't ready; see {self.log}")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the server gracefully, or kill it after a timeout."""
        if self._popen is None:
            return
        self._popen.send_signal(self.stop_signal)
        self.signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its children with SIGKILL, like a crash."""
        if self._popen is None:
            return
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._popen = None
        # A child that dies later would make the next start seem ready at once.
        wait_until(lambda: not answers(self.port), STOP_SECONDS, f"{self.name} is still up")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP, to the server and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def restart(self) -> None:
        """Stop the server if it is running, and start it on the same port."""
        self.stop()
        self.start()

    def output(self) -> str:
        """Return the output so far."""
        return self.log.read_text(errors="replace")

    def _launch(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the user of the kit provides the command
            self.command,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C must reach only the parent process, which then stops the servers.
            start_new_session=True,
            **self.popen_options,
        )

    def _is_ready_or_raise(self, popen: subprocess.Popen[bytes]) -> bool:
        if popen.poll() is not None:
            raise RuntimeError(f"{self.name} exited while starting:\n{self.output()}")
        return self.is_ready()
