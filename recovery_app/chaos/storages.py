"""Faults of the storage: a Redis that is stopped, and one that fails over."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Sequence

from recovery_app.chaos.plan import Fault
from recovery_app.chaos.processes import Process
from recovery_app.chaos.storm import DOWN_SECONDS, FaultAction


def stopping(server: Process) -> FaultAction:
    """Return a fault that stops or kills the server and starts it again within a second.

    The server must not lose what it has acknowledged: run Redis with ``--appendonly yes
    --appendfsync always``.
    """
    lock = asyncio.Lock()

    async def stop(fault: Fault) -> None:
        async with lock:
            await asyncio.to_thread(server.kill if fault.variant else server.stop)
            await asyncio.sleep(fault.amount * DOWN_SECONDS)
            await asyncio.to_thread(server.start)

    return stop


def failing_over(command: Sequence[str]) -> FaultAction:
    """Return a fault that runs a command, which must exit with 0 once the failover has begun."""
    lock = asyncio.Lock()

    async def fail_over(_: Fault) -> None:
        async with lock:
            await _run(command)

    return fail_over


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        process.send_signal(signal.SIGKILL)
        raise
    if process.returncode:
        text = output.decode(errors="replace")
        raise RuntimeError(f"{shlex.join(command)} exited with {process.returncode}:\n{text}")
