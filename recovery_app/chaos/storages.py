"""Own the faults of the storage behind the nodes: a Redis that stops, and one that fails over."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Sequence

from recovery_app.chaos.plan import Fault
from recovery_app.chaos.processes import Process
from recovery_app.chaos.storm import DOWN_SECONDS, Act


def stopping(server: Process) -> Act:
    """Give the fault that the server ends, and is started again within a second.

    It dies of SIGKILL or ends in good order. What it said was saved has to be there again: of
    Redis ask ``--appendonly yes --appendfsync always``.
    """
    lock = asyncio.Lock()

    async def stop(fault: Fault) -> None:
        async with lock:
            await asyncio.to_thread(server.kill if fault.coin else server.stop)
            await asyncio.sleep(fault.amount * DOWN_SECONDS)
            await asyncio.to_thread(server.start)

    return stop


def failing_over(command: Sequence[str]) -> Act:
    """Give the fault that a command makes: it ends once the failover is over, with status 0."""
    lock = asyncio.Lock()

    async def fail_over(_: Fault) -> None:
        async with lock:
            await _run(command)

    return fail_over


async def _run(command: Sequence[str]) -> None:
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await running.communicate()
    except BaseException:
        running.send_signal(signal.SIGKILL)
        raise
    if running.returncode:
        told = output.decode(errors="replace")
        raise RuntimeError(f"{shlex.join(command)} ended with {running.returncode}:\n{told}")
