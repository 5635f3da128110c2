"""Whatever is cut, killed or stalled: no event is lost, and none is applied twice.

The numbers are small here; ``make chaos`` runs the same with those of `LONG`.
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

from recovery_app.chaos.judge import Judge, Result
from recovery_app.chaos.plan import Fault, Kind, Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import for_client
from recovery_app.chaos.storm import Storm, told
from tests.chaos.drivers import PagePlayers, Players, Scripts, npm_players, page_players
from tests.chaos.stage import STORES, Store, nodes, script
from tests.support import databases, needs, redis
from tests.support.node import require_node

STEP_SECONDS = 0.05
PATIENCE_SECONDS = 120
JUDGE = Judge(applied="applied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How big a run is; ``own_faults`` are those of the storage."""

    clients: int
    events: int
    faults: dict[str, int]
    own_faults: int


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
)
IS_LONG = os.environ.get("CHAOS") == "long"
SCALE = LONG if IS_LONG else SHORT
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
CLIENTS = ["npm", "chromium"] if IS_LONG else ["npm and chromium"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give each storage in turn, with its server."""
    if request.param == "postgresql":
        needs.require("PostgreSQL", databases.SERVERS["postgresql"].is_here)
    else:
        needs.require("redis-server", redis.find_redis_server())
    # Not below pytest's own directory, which the user of PostgreSQL may not enter.
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-chaos-"))
        yield stack.enter_context(STORES[request.param](Path(directory)))


@asynccontextmanager
async def players(
    clients: str, chromium: Browser, proxy: Proxy, scripts: Scripts
) -> AsyncIterator[list[Players]]:
    """Start clients of each kind, each kind with all scripts."""
    async with AsyncExitStack() as stack:
        started: list[Players] = []
        if "npm" in clients:
            started.append(await stack.enter_async_context(npm_players(proxy, scripts, SEED)))
        if "chromium" in clients:
            context = await stack.enter_async_context(await chromium.new_context())
            page = await context.new_page()
            started.append(
                await stack.enter_async_context(page_players(page, proxy, scripts, SEED))
            )
        yield started


class Crowd:
    """All clients of a run, and how far they have come."""

    def __init__(self, started: Sequence[Players]) -> None:
        self.events = len(started) * SCALE.clients * SCALE.events
        self._started = started
        self._settled = 0

    async def play(self, storm: Storm | None) -> list[Result]:
        """Run the scripts, through the storm if there is one, and give what came of each."""
        began = time.monotonic()
        work = [self._go_on(storm)]
        if storm:
            work.append(storm.blow(lambda: self._settled / self.events))
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finishing = asyncio.gather(*(each.finish() for each in self._started))
        found = await asyncio.wait_for(finishing, PATIENCE_SECONDS)
        print(f"{self.events} events in {time.monotonic() - began:.0f} s")
        return [result for each in found for result in each]

    async def _go_on(self, storm: Storm | None) -> None:
        heard_at = time.monotonic()
        while self._settled < self.events:
            await asyncio.sleep(STEP_SECONDS)
            horizon = storm.horizon if storm else 1.0
            settled = sum([await each.go(horizon) for each in self._started])
            if settled > self._settled:
                self._settled, heard_at = settled, time.monotonic()
            if time.monotonic() - heard_at > PATIENCE_SECONDS:
                problems = [problem for each in self._started for problem in await each.problems()]
                pytest.fail(f"seed {SEED}: stuck at {settled} of {self.events}\n{problems[:20]}")


def make_storm(
    store: Store, proxy: Proxy, running: Sequence[Process], started: Sequence[Players]
) -> Storm:
    """Draw the plan of this run: pages are reloaded, too."""
    pages = [each for each in started if isinstance(each, PagePlayers)]

    async def reload(_: Fault) -> None:
        for page in pages:
            await page.load()

    also = {**store.also, "reload": reload} if pages else store.also
    counts = {**SCALE.faults, **dict.fromkeys(also, SCALE.own_faults)}
    return Storm(Plan.make(SEED, counts), proxy, running, also=also)


@pytest.mark.parametrize("clients", CLIENTS)
async def test_no_event_is_lost_or_applied_twice(
    clients: str, store: Store, chromium: Browser, tmp_path: Path
) -> None:
    require_node("phoenix", "ws")
    print(f"seed {SEED}")
    lines = script(SCALE.events)
    scripts = [for_client(lines, number, SCALE.events) for number in range(SCALE.clients)]
    with nodes(store, tmp_path) as running:
        async with Proxy([node.port for node in running]) as proxy:
            async with players(clients, chromium, proxy, scripts) as started:
                expected = await Crowd(started).play(None)
            async with players(clients, chromium, proxy, scripts) as started:
                storm = make_storm(store, proxy, running, started)
                found = await Crowd(started).play(storm)
    verdict = JUDGE.compare(expected, found)
    print(f"{told(storm.done)}; {told(proxy.counts)}; {verdict}")
    assert verdict.is_good, [f"seed {SEED}", str(verdict), *verdict.differences[:20]]
    assert verdict.forgotten == 0
    assert storm.done == dict(storm.plan.counts)
