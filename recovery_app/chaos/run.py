"""Runs: a script without faults, the same script with faults, and their comparison."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from recovery_app.chaos.client import Client
from recovery_app.chaos.compare import Comparer, Comparison
from recovery_app.chaos.messages import MessageVerdict
from recovery_app.chaos.plan import Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.publishers import Publishers, Publishing
from recovery_app.chaos.scripted_client import ScriptedClient
from recovery_app.chaos.scripts import Line, for_client
from recovery_app.chaos.storm import FaultAction, Storm, format_counts

MIN_EVENTS = 50
"""With fewer events, clients can't be kept close to a fault."""
STALL_SECONDS = 120.0
POLL_SECONDS = 0.2
HANDLING_SECONDS = 60.0
"""How long to wait for a page to handle another of its messages."""
STAY_SECONDS = 1.0

Print = Callable[[str], None]


class NoProgress(Exception):
    """No event was settled for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The nodes, the clients and the script of a run.

    ``headers`` are sent with each opening request. ``also`` are faults for the `Storm`.
    """

    nodes: Sequence[Process]
    path: str
    topic: str
    script: Sequence[Line]
    clients: int
    events: int
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, FaultAction] = field(default_factory=dict)
    comparer: Comparer = field(default_factory=Comparer)
    publishing: Publishing | None = None

    def make_clients(self, proxy: Proxy, seed: int) -> list[ScriptedClient]:
        """Return the clients, each with its script."""
        return [
            ScriptedClient(
                proxy.ws_url + self.path,
                Client(topic=self.topic, params=self._params_of(number)),
                for_client(self.script, number, self.events),
                rng=random.Random(f"{seed} {number}"),
                # As for a page that was served through the proxy.
                headers={"Origin": proxy.url, **self.headers},
            )
            for number in range(self.clients)
        ]

    def _params_of(self, client: int) -> dict[str, Any]:
        if self.publishing is None:
            return dict(self.params)
        return self.publishing.params_of(client, self.params)


class Run:
    """One run of the script by all clients, with the storm and the publishers if there are any."""

    def __init__(
        self,
        setup: Setup,
        proxy: Proxy,
        seed: int,
        *,
        storm: Storm | None = None,
        publishers: Publishers | None = None,
    ) -> None:
        self.clients = setup.make_clients(proxy, seed)
        self._setup = setup
        self._storm = storm
        self._publishers = publishers
        self._events = setup.clients * setup.events

    @property
    def settled(self) -> int:
        """Return how many events have a reply or are lost."""
        return sum(client.settled for client in self.clients)

    @property
    def progress(self) -> float:
        """Return the share of all events and messages that is done."""
        if self._publishers is None:
            return self.settled / self._events
        done = self.settled + self._publishers.acknowledged
        return done / (self._events + self._publishers.total)

    @property
    def verdict(self) -> MessageVerdict | None:
        """Return what became of the messages."""
        if self._publishers is None:
            return None
        return self._publishers.judge(client.result.state for client in self.clients)

    async def run(self) -> None:
        """Run until all events have replies and all pages have their messages."""
        publishers = self._publishers
        work = [client.run(self._horizon, self._is_over) for client in self.clients]
        if self._storm:
            work.append(self._storm.run(lambda: self.progress))
        if publishers:
            work.append(self._publish(publishers))
        await _run_all(work, lambda: self.progress)
        await self._finish()

    def _horizon(self) -> float:
        return self._storm.horizon if self._storm else 1.0

    def _is_over(self) -> bool:
        return self._publishers is None or self._publishers.is_done

    async def _publish(self, publishers: Publishers) -> None:
        """Publish when all pages are in their groups."""
        while not all(client.has_joined for client in self.clients):  # noqa: ASYNC110 - once
            await asyncio.sleep(POLL_SECONDS)
        await publishers.run(self._horizon)

    async def _finish(self) -> None:
        """Read the states at the end, as soon as each page has handled what is there for it."""
        handled, handled_at = -1, time.monotonic()
        while True:
            await _run_all([client.finish() for client in self.clients], lambda: 0)
            verdict = self.verdict
            if verdict is None or not verdict.lost:
                return
            if verdict.handled > handled:
                handled, handled_at = verdict.handled, time.monotonic()
            elif time.monotonic() - handled_at > HANDLING_SECONDS:
                return
            await asyncio.gather(*(client.stay(STAY_SECONDS) for client in self.clients))


async def run(setup: Setup, plan: Plan, print_: Print) -> tuple[Comparison, MessageVerdict | None]:
    """Run the script without faults and with faults, and compare.

    Messages are published in the second run only. Return what became of them too.
    """
    async with Proxy([node.port for node in setup.nodes]) as proxy, AsyncExitStack() as stack:
        before = Run(setup, proxy, plan.seed)
        await _complete(before, "without faults", print_)
        storm = Storm(plan, proxy, setup.nodes, also=setup.also)
        publishers = None
        if setup.publishing:
            starting = Publishers.start(setup.publishing, plan.seed)
            publishers = await stack.enter_async_context(starting)
        after = Run(setup, proxy, plan.seed, storm=storm, publishers=publishers)
        await _complete(after, "with faults", print_)
    print_("faults: " + format_counts(storm.done))
    results = ([client.result for client in each.clients] for each in (before, after))
    return setup.comparer.compare(*results), after.verdict


async def _complete(run: Run, kind: str, print_: Print) -> None:
    started_at = time.monotonic()
    try:
        await run.run()
    except NoProgress as error:
        print_(str(error))
    print_(f"{kind}: {run.settled} events in {time.monotonic() - started_at:.1f} s")


async def _run_all(work: Sequence[Awaitable[None]], progress: Callable[[], float]) -> None:
    """Run everything concurrently; raise `NoProgress` if the progress stalls."""
    tasks = [asyncio.ensure_future(each) for each in work]
    reached, reached_at = progress(), time.monotonic()
    try:
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=POLL_SECONDS)
            for task in tasks:
                if task.done():
                    task.result()
            if progress() > reached:
                reached, reached_at = progress(), time.monotonic()
            elif time.monotonic() - reached_at > STALL_SECONDS:
                raise NoProgress(f"no events were answered for {STALL_SECONDS:g} s")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
