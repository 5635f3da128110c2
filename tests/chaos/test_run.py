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
from recovery_app.chaos.publishers import Publishers, Publishing
from recovery_app.chaos.scripts import for_client
from recovery_app.chaos.storm import STALL_SECONDS, Storm, format_counts
from tests.chaos.drivers import (
    PageClients,
    ScriptedClients,
    node_clients,
    page_clients,
)
from tests.chaos.support import SHORT_STORES, STORES, Store, nodes, script
from tests.support import databases, needs, redis
from tests.support.node import require_node

HANDLING_SECONDS = 60
STEP_SECONDS = 0.05
PATIENCE_SECONDS = 240
COMPARER = Comparer(applied="applied", ignored=frozenset({"handled", "told"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a run; ``own_faults`` is the number of each fault of the storage and the page.

    A stalled node stalls for longer than a join of the npm client may take.
    """

    clients: int
    events: int
    publishers: int
    messages: int
    groups: int
    faults: dict[str, int]
    own_faults: int
    join_timeout_ms: int
    stall_seconds: float


SHORT = Scale(
    clients=5,
    events=60,
    publishers=2,
    messages=50,
    groups=3,
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
LONG_EVENTS = 2_000
LONG_FAULTS = {
    Kind.CUT: 200,
    Kind.HALF_OPEN: 10,
    Kind.DELAY: 50,
    Kind.LOST_JOIN: 20,
    Kind.LOST_REPLY: 50,
    Kind.DUPLICATE: 40,
    Kind.KILL: 50,
    Kind.TERM: 10,
    Kind.STALL: 4,
}
EVENTS = int(os.environ.get("EVENTS") or LONG_EVENTS)
"""With fewer, there are as many fewer messages and faults."""
LONG = Scale(
    clients=20,
    events=EVENTS,
    publishers=4,
    messages=5_000 * EVENTS // LONG_EVENTS,
    groups=10,
    faults={kind: -(-count * EVENTS // LONG_EVENTS) for kind, count in LONG_FAULTS.items()},
    own_faults=-(-10 * EVENTS // LONG_EVENTS),
    # What it has by default, and so has the kit.
    join_timeout_ms=10_000,
    stall_seconds=STALL_SECONDS,
)
IS_LONG = os.environ.get("CHAOS") == "long"
SCALE = LONG if IS_LONG else SHORT
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
KINDS = ["npm", "socket", "chromium"] if IS_LONG else ["npm and chromium"]


@pytest.fixture(params=STORES if IS_LONG or os.environ.get("CHAOS_ALL") else SHORT_STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return each storage in turn, with its server."""
    if request.param == "postgresql":
        needs.require("PostgreSQL", databases.SERVERS["postgresql"].is_here)
    elif request.param != "sqlite":
        needs.require("redis-server", redis.find_redis_server())
    # PostgreSQL runs as another user, who can't enter pytest's directory.
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-chaos-"))
        yield stack.enter_context(STORES[request.param](Path(directory)))


@asynccontextmanager
async def start_clients(
    kinds: str, chromium: Browser, proxy: Proxy, published: Publishing
) -> AsyncIterator[list[ScriptedClients]]:
    """Start clients of each kind, with all scripts."""
    lines = script(SCALE.events)
    scripts = [for_client(lines, number, SCALE.events) for number in range(SCALE.clients)]
    async with AsyncExitStack() as stack:
        started: list[ScriptedClients] = []
        for place, kind in enumerate(kinds.split(" and ")):
            first = place * SCALE.clients
            pages = range(first, first + SCALE.clients)
            params = [{"groups": published.groups_of(page)} for page in pages]
            if kind == "chromium":
                context = await stack.enter_async_context(await chromium.new_context())
                page = await context.new_page()
                starting = page_clients(page, proxy, scripts, params, SEED)
            else:
                starting = node_clients(kind, proxy, scripts, params, SEED, SCALE.join_timeout_ms)
            started.append(await stack.enter_async_context(starting))
        yield started


class Crowd:
    """All clients of a run with its publishers, and their progress."""

    def __init__(
        self,
        started: Sequence[ScriptedClients],
        storm: Storm | None = None,
        publishers: Publishers | None = None,
    ) -> None:
        self._total = self._events = len(started) * SCALE.clients * SCALE.events
        self._total += publishers.total if publishers else 0
        self._started = started
        self._storm = storm
        self._publishers = publishers
        self._settled = 0

    @property
    def progress(self) -> float:
        """Return the share of all events and messages that is done."""
        return (self._settled + self._acknowledged) / self._total

    async def run(self) -> list[ClientResult]:
        """Run the scripts, through the storm if there is one, and return the results."""
        started_at = time.monotonic()
        await self._all_join()
        work = [self._run_scripts()]
        if self._publishers:
            work.append(self._publishers.run(self._horizon))
        if self._storm:
            work.append(self._storm.run(lambda: self.progress))
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        found = await self._finish()
        print(f"{self._events} events in {time.monotonic() - started_at:.0f} s")
        return found

    @property
    def _acknowledged(self) -> int:
        return self._publishers.acknowledged if self._publishers else 0

    def _horizon(self) -> float:
        return self._storm.horizon if self._storm else 1.0

    async def _all_join(self) -> None:
        """Wait until all pages are in their groups."""
        started_at = time.monotonic()
        while sum([await each.joined() for each in self._started]) < self._pages:
            assert time.monotonic() - started_at < PATIENCE_SECONDS
            await asyncio.sleep(STEP_SECONDS)

    @property
    def _pages(self) -> int:
        return len(self._started) * SCALE.clients

    async def _run_scripts(self) -> None:
        progress, progressed_at = 0.0, time.monotonic()
        while self.progress < 1:
            await asyncio.sleep(STEP_SECONDS)
            horizon = self._horizon()
            self._settled = sum([await each.go(horizon) for each in self._started])
            if self.progress > progress:
                progress, progressed_at = self.progress, time.monotonic()
            if time.monotonic() - progressed_at > PATIENCE_SECONDS:
                problems = [problem for each in self._started for problem in await each.problems()]
                pytest.fail(f"seed {SEED}: stuck at {progress:.1%}\n{problems[:20]}")

    async def _finish(self) -> list[ClientResult]:
        """Return the results, as soon as each page has handled what is there for it."""
        handled, handled_at = 0, time.monotonic()
        while True:
            finishing = asyncio.gather(*(each.finish() for each in self._started))
            done = await asyncio.wait_for(finishing, PATIENCE_SECONDS)
            found = [result for each in done for result in each]
            if self._publishers is None:
                return found
            verdict = self._publishers.judge(result.state for result in found)
            if verdict.handled > handled:
                handled, handled_at = verdict.handled, time.monotonic()
            if not verdict.lost or time.monotonic() - handled_at > HANDLING_SECONDS:
                return found


def publishing(store: Store) -> Publishing:
    """Return what is published to the pages of a run."""
    return Publishing(
        module="tests.chaos.app.asgi",
        message={"type": "note.posted", "id": "{id}"},
        handled="handled",
        publishers=SCALE.publishers,
        messages=SCALE.messages,
        groups=SCALE.groups,
        env=store.env,
    )


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
    published = publishing(store)
    with nodes(store, tmp_path) as running:
        async with Proxy([node.port for node in running]) as proxy:
            async with start_clients(kinds, chromium, proxy, published) as started:
                expected = await Crowd(started).run()
            async with (
                start_clients(kinds, chromium, proxy, published) as started,
                Publishers.start(published, SEED) as publishers,
            ):
                storm = make_storm(store, proxy, running, started)
                actual = await Crowd(started, storm, publishers).run()
                verdict = publishers.judge(result.state for result in actual)
    comparison = COMPARER.compare(expected, actual)
    print(f"{format_counts(storm.done)}; {format_counts(proxy.counts)}; {comparison}")
    print(f"{verdict}; {comparison.pushes} pushes, {comparison.missed} times told of missed ones")
    print(*verdict.differences, sep="\n")
    assert comparison.is_equal, [f"seed {SEED}", str(comparison), *comparison.differences[:20]]
    assert comparison.forgotten == 0
    assert verdict.is_good, [f"seed {SEED}", str(verdict), *verdict.differences[:20]]
    assert storm.done == dict(storm.plan.counts)
