"""Servers on free ports, each started for one benchmark and stopped after it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.timing import cpu_seconds
from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, TOP, Process, free_port
from tests.support.redis import make_redis

QUIET_SECONDS = 0.1
# Else uvicorn cancels, on a busy machine, those that are still being closed.
PATIENT = ("--timeout-graceful-shutdown", "15")


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory for logs and data, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="recovery-bench-") as name:
        yield Path(name)


@contextmanager
def redis_url() -> Iterator[str]:
    """Run a private Redis, and give its address."""
    with directory() as home, make_redis(home) as server:
        yield f"redis://{HOST}:{server.port}/0"


def uvicorn(
    home: Path,
    factory: str = "make_application",
    *,
    redis: str = "",
    layer: bool = False,
    arguments: Sequence[str] = (),
) -> AsgiServer:
    """Return one uvicorn process with a factory of `benchmarks.application`, not started."""
    return AsgiServer(
        data=home,
        application=f"benchmarks.application:{factory}",
        arguments=arguments,
        env={
            "BENCH_REDIS_URL": redis,
            "BENCH_LAYER": "1" if layer else "",
            "UVICORN_FACTORY": "1",
            "UVICORN_LOG_LEVEL": "warning",
        },
    )


def has_socketio() -> bool:
    """Return whether Node.js and the npm package are here."""
    return bool(shutil.which("node")) and (TOP / "node_modules" / "socket.io").is_dir()


def socketio(home: Path) -> Process:
    """Return Socket.IO's server, not started."""
    port = free_port()
    script = Path(__file__).with_name("socketio.mjs")
    command: list[str | Path] = ["node", script, str(port)]
    return Process("Socket.IO", command, port=port, log=home / "socketio.log")


def wait_quiet(pid: int) -> None:
    """Wait until a process has nothing to do: until the last visitors are out."""
    before, now = -1.0, cpu_seconds(pid)
    while before < now:
        time.sleep(QUIET_SECONDS)
        before, now = now, cpu_seconds(pid)
