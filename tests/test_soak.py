"""A load that lasts: memory, descriptors and threads of the servers stay where they are.

Some seconds by default, ``SOAK_SECONDS`` for another time; ``pytest -s`` shows the figures.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, Process
from tests.support.redis import make_redis
from tests.support.timelapse import Page, all_of

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
ROUND_SECONDS = 0.25
PATHS = ("/counting", "/gathering", "/sync")
PAGES = 24
BACK = 12
"""How many pages come back in each round; the first of them is thrown away for a new one."""
TENTHS = 10
WARM = 3
"""In how many tenths of the time processes may still take what they then keep."""
LONG_SECONDS = 300
MORE_BYTES = 3_000_000 if SECONDS >= LONG_SECONDS else 15_000_000
"""What the allocator may take in all that time; in a short run, processes are still warming up."""
MORE_THREADS = 4
"""Pools start threads one by one, and end none."""
MORE_DESCRIPTORS = 4
"""A connection that was cut has them until its server knows."""


class Sample(NamedTuple):
    """What one process has."""

    rss_bytes: float
    descriptors: float
    threads: float


def sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    rss, threads = (re.search(rf"{name}:\s+(\d+)", status) for name in ("VmRSS", "Threads"))
    assert rss
    assert threads
    return Sample(int(rss[1]) * 1024, len(os.listdir(f"/proc/{pid}/fd")), int(threads[1]))


def median(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(statistics.median, zip(*samples, strict=True)))


@pytest.fixture
def nodes(
    asgi_server: Callable[..., AsgiServer], redis_directory: Path
) -> Iterator[list[AsgiServer]]:
    with make_redis(redis_directory) as redis:
        yield [start(asgi_server, redis) for _ in range(2)]


def start(asgi_server: Callable[..., AsgiServer], redis: Process) -> AsgiServer:
    env = {
        "REDIS_URL": f"redis://{HOST}:{redis.port}/0",
        "DJANGO_SETTINGS_MODULE": "tests.support.layerless",
    }
    return asgi_server(application="tests.support.small_caches:application", env=env)


async def live(pages: list[Page], nodes: Sequence[AsgiServer], number: int) -> None:
    """Have each page send an event, and some come back, to the node that they weren't on."""
    await all_of(pages, "add")
    first = number * BACK % PAGES
    leaving = pages[first]
    await leaving.cut()
    pages[first] = Page(leaving.path)
    url = nodes[number % len(nodes)].ws_url
    assert await all_of(pages[first : first + BACK], "come_back", url) == [True] * BACK
    assert all(page.outcome == "recovered" for page in pages[first + 1 : first + BACK])


async def test_memory_descriptors_and_threads_stay_under_a_load_that_lasts(
    nodes: list[AsgiServer],
) -> None:
    pages = [Page(PATHS[number % len(PATHS)]) for number in range(PAGES)]
    assert all(await all_of(pages, "come_back", nodes[0].ws_url))
    samples: list[list[Sample]] = [[] for _ in nodes]
    number, end = 0, time.monotonic() + SECONDS
    # However slow the machine is, there are rounds enough to tell a leak from a beginning.
    while time.monotonic() < end or number < SECONDS:
        due = time.monotonic() + ROUND_SECONDS
        await live(pages, nodes, number)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for node, found in zip(nodes, samples, strict=True):
            found.append(sample(node.pid))
        number += 1
    await all_of(pages, "cut")
    print(f"\n{number} rounds, {number * PAGES} events, {number * BACK} joins in {SECONDS:.0f} s")
    for node, found in zip(nodes, samples, strict=True):
        check_flat(found, f"{node.name} {node.pid}")


def check_flat(samples: list[Sample], name: str) -> None:
    """Hold the end of a run to what it was once the process was warm."""
    tenth = len(samples) // TENTHS
    parts = [median(samples[start : start + tenth]) for start in range(0, tenth * TENTHS, tenth)]
    for part in parts:
        print(name, *part)
    before, after = parts[WARM], parts[-1]
    assert after.rss_bytes - before.rss_bytes < MORE_BYTES
    assert after.descriptors - before.descriptors <= MORE_DESCRIPTORS
    assert after.threads - before.threads <= MORE_THREADS
