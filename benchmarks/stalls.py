"""What others wait for: the event loop while a large state is saved, and the start of a process.

    python -m benchmarks.stalls [--quick]

Beside the save and the recovery of a state of 1 MiB runs a task that wants its turn again and
again; the longest time that it waits is the stall, and the figure the median over rounds. The
import is the CPU time of a process that sets Django up with `recovery_app` and imports its
consumers, less that of one with Channels and the libraries that `recovery_app` needs alone,
each the least of some starts.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.application import configure
from benchmarks.results import Row
from benchmarks.servers import directory, redis_url
from benchmarks.subject import Options, main
from tests.support.processes import TOP

MIB = 1024 * 1024
STALL_AIM_MS, IMPORT_AIM_MS = 5, 30
START = """
import time
import django, msgpack, orjson, prometheus_client
import channels.auth, channels.db, channels.layers, channels.generic.websocket
import django.contrib.sessions.backends.base, django.core.cache, django.core.checks
from django.conf import settings
settings.configure(INSTALLED_APPS={apps}, SECRET_KEY="a secret of this benchmark, long enough")
start = time.process_time()
django.setup()
{then}
print(time.process_time() - start)
"""
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "channels"]


def large_state() -> dict[str, Any]:
    """Return a state of rows that is nearly 1 MiB of JSON."""
    row = {"name": "Item number 1", "price": 1.37, "done": False, "tags": ["red", "on sale"]}
    return {"items": [{"id": number, **row} for number in range(11_500)]}


async def longest_stall(work: Any) -> float:
    """Return the longest time between two turns of another task while the work is done."""
    gaps = [0.0]
    is_done = False

    async def tick() -> None:
        last = time.perf_counter()
        while not is_done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticking = asyncio.ensure_future(tick())
    await asyncio.sleep(0)
    await work
    is_done = True
    await ticking
    return max(gaps)


async def stalls(storage: Any, rounds: int) -> tuple[float, float]:
    """Return the longest stalls of a save and of a recovery, the medians of all rounds."""
    from recovery_app import RecoveryManager  # noqa: PLC0415

    manager = RecoveryManager(secret=b"the secret of this benchmark, 32 bytes", storage=storage)
    token, state = manager.create_token("socket"), large_state()
    saving, recovering = [], []
    for _ in range(rounds + 1):
        gc.collect()
        saving.append(await longest_stall(manager.asave(token, state)))
        recovering.append(await longest_stall(manager.arecover(token)))
    await manager.aclose()
    return median(saving[1:]), median(recovering[1:])


def row_of(storage: str, found: tuple[float, float]) -> Row:
    """Return the row of one storage."""
    save, recover = (seconds * 1000 for seconds in found)
    return Row(
        what=f"1 MiB saved and recovered, {storage}: longest stall of the event loop",
        measured=f"save {save:.1f}, recover {recover:.1f} ms",
        ratio=max(save, recover),
        aim=STALL_AIM_MS,
        unit=" ms",
    )


def start_seconds(cache: str, *, ours: bool) -> float:
    """Return the CPU seconds of one start, with compiled modules in ``cache``."""
    apps = [*APPS, "recovery_app"] if ours else APPS
    script = START.format(apps=apps, then="import recovery_app.consumers" if ours else "")
    command = [sys.executable, "-c", script]
    env = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, cwd=TOP, env=env, capture_output=True, text=True, check=True)
    return float(done.stdout)


def import_row(rounds: int) -> Row:
    """Return the row of the import."""
    with directory() as home:
        pairs = [
            (start_seconds(str(home), ours=True), start_seconds(str(home), ours=False))
            for _ in range(rounds + 1)
        ][1:]
    # The least: other work on the machine can only add to it.
    ours, theirs = (min(each) * 1000 for each in zip(*pairs, strict=True))
    return Row(
        what="import of `recovery_app` beyond Django, Channels and the libraries it needs (CPU)",
        measured=f"{ours:.0f} - {theirs:.0f} ms",
        ratio=ours - theirs,
        aim=IMPORT_AIM_MS,
        unit=" ms",
    )


def run(options: Options) -> Iterator[Row]:
    """Yield the rows."""
    configure()
    from recovery_app.storages import MemoryStorage, RedisStorage  # noqa: PLC0415

    rounds = options.pick(30, 10)
    yield row_of("memory", asyncio.run(stalls(MemoryStorage(), rounds)))
    with redis_url() as url:
        yield row_of("Redis", asyncio.run(stalls(RedisStorage(url=url), rounds)))
    yield import_row(options.pick(15, 5))


if __name__ == "__main__":
    main(__doc__, run)
