"""No event is lost or applied twice, whatever fails.

Runs are short by default; ``make chaos`` runs those of the scale `LONG`.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser

from recovery_app.chaos.compare import ClientResult, Comparer
from recovery_app.chaos.plan import Fault, Kind, Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import for_client
from recovery_app.chaos.storm import STALL_SECONDS, Storm, format_counts
from tests.chaos.drivers import PageClients, ScriptedClients, Scripts, npm_clients, page_clients
from tests.chaos.support import STORES, Store, nodes, script
from tests.support import databases, needs, redis
from tests.support.node import require_node

STEP_SECONDS = 0.05
PATIENCE_SECONDS = 240
COMPARER = Comparer(applied="applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a run; ``own_faults`` is the number of each fault of the storage and the page.

    A stalled node stalls for longer than a join of the npm client may take.
    """

    clients: int
    events: int
    faults: dict[str, int]
    own_faults: int
    join_timeout_ms: int
    stall_seconds: float


SHORT = Scale(
    clients=5,
    events=60,
    faults={
        Kind.CUT: 12,
        Kind.HALF_OPEN: 1,
        Kind.DELAY: 6,
        Kind.LOST_JOIN: 4,
        Kind.LOST_REPLY: 6,
        Kind.DUPLICATE: 4,
        Kind.KILL: 3,
        Kind.TERM: 1,
        Kind.STALL: 1,
    },
    own_faults=1,
    join_timeout_ms=5_000,
    stall_seconds=7,
)
LONG = Scale(
    clients=20,
    events=2_000,
    faults={
        Kind.CUT: 200,
        Kind.HALF_OPEN: 10,
        Kind.DELAY: 50,
        Kind.LOST_JOIN: 20,
        Kind.LOST_REPLY: 50,
        Kind.DUPLICATE: 40,
        Kind.KILL: 50,
        Kind.TERM: 10,
        Kind.STALL: 4,
    },
    own_faults=10,
    # What it has by default, and so has the kit.
    join_timeout_ms=10_000,
    stall_seconds=STALL_SECONDS,
)
IS_LONG = os.environ.get("CHAOS") == "long"
SCALE = LONG if IS_LONG else SHORT
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
KINDS = ["npm", "chromium"] if IS_LONG else ["npm and chromium"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return each storage in turn, with its server."""
    if request.param == "postgresql":
        needs.require("PostgreSQL", databases.SERVERS["postgresql"].is_here)
    else:
        needs.require("redis-server", redis.find_redis_server())
    # PostgreSQL runs as another user, who can't enter pytest's directory.
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-chaos-"))
        yield stack.enter_context(STORES[request.param](Path(directory)))


@asynccontextmanager
async def start_clients(
    kinds: str, chromium: Browser, proxy: Proxy, scripts: Scripts
) -> AsyncIterator[list[ScriptedClients]]:
    """Start clients of each kind, with all scripts."""
    async with AsyncExitStack() as stack:
        started: list[ScriptedClients] = []
        if "npm" in kinds:
            npm = npm_clients(proxy, scripts, SEED, SCALE.join_timeout_ms)
            started.append(await stack.enter_async_context(npm))
        if "chromium" in kinds:
            context = await stack.enter_async_context(await chromium.new_context())
            page = await context.new_page()
            started.append(
                await stack.enter_async_context(page_clients(page, proxy, scripts, SEED))
            )
        yield started


class Crowd:
    """All clients of a run, and their progress."""

    def __init__(self, started: Sequence[ScriptedClients]) -> None:
        self.events = len(started) * SCALE.clients * SCALE.events
        self._started = started
        self._settled = 0

    async def run(self, storm: Storm | None) -> list[ClientResult]:
        """Run the scripts, through the storm if there is one, and return the results."""
        started_at = time.monotonic()
        work = [self._run_scripts(storm)]
        if storm:
            work.append(storm.run(lambda: self._settled / self.events))
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finishing = asyncio.gather(*(each.finish() for each in self._started))
        found = await asyncio.wait_for(finishing, PATIENCE_SECONDS)
        print(f"{self.events} events in {time.monotonic() - started_at:.0f} s")
        return [result for each in found for result in each]

    async def _run_scripts(self, storm: Storm | None) -> None:
        settled_at = time.monotonic()
        while self._settled < self.events:
            await asyncio.sleep(STEP_SECONDS)
            horizon = storm.horizon if storm else 1.0
            settled = sum([await each.go(horizon) for each in self._started])
            if settled > self._settled:
                self._settled, settled_at = settled, time.monotonic()
            if time.monotonic() - settled_at > PATIENCE_SECONDS:
                problems = [problem for each in self._started for problem in await each.problems()]
                pytest.fail(f"seed {SEED}: stuck at {settled} of {self.events}\n{problems[:20]}")


def make_storm(
    store: Store, proxy: Proxy, running: Sequence[Process], started: Sequence[ScriptedClients]
) -> Storm:
    """Return the storm of this run, which also reloads pages."""
    pages = [each for each in started if isinstance(each, PageClients)]

    async def reload(_: Fault) -> None:
        for page in pages:
            await page.load()

    also = {**store.also, "reload": reload} if pages else store.also
    counts = {**SCALE.faults, **dict.fromkeys(also, SCALE.own_faults)}
    plan = Plan.make(SEED, counts)
    return Storm(plan, proxy, running, stall_seconds=SCALE.stall_seconds, also=also)


@pytest.mark.parametrize("kinds", KINDS)
async def test_no_event_is_lost_or_applied_twice(
    kinds: str, store: Store, chromium: Browser, tmp_path: Path
) -> None:
    require_node("phoenix", "ws")
    print(f"seed {SEED}")
    lines = script(SCALE.events)
    scripts = [for_client(lines, number, SCALE.events) for number in range(SCALE.clients)]
    with nodes(store, tmp_path) as running:
        async with Proxy([node.port for node in running]) as proxy:
            async with start_clients(kinds, chromium, proxy, scripts) as started:
                expected = await Crowd(started).run(None)
            async with start_clients(kinds, chromium, proxy, scripts) as started:
                storm = make_storm(store, proxy, running, started)
                actual = await Crowd(started).run(storm)
    comparison = COMPARER.compare(expected, actual)
    print(f"{format_counts(storm.done)}; {format_counts(proxy.counts)}; {comparison}")
    assert comparison.is_equal, [f"seed {SEED}", str(comparison), *comparison.differences[:20]]
    assert comparison.forgotten == 0
    assert storm.done == dict(storm.plan.counts)
