"""Runs: a script without faults, the same script with faults, and their comparison."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recovery_app.chaos.client import Client
from recovery_app.chaos.compare import ClientResult, Comparer, Comparison
from recovery_app.chaos.plan import Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripted_client import ScriptedClient
from recovery_app.chaos.scripts import Line, for_client
from recovery_app.chaos.storm import FaultAction, Storm, format_counts

MIN_EVENTS = 50
"""With fewer events, clients can't be kept close to a fault."""
STALL_SECONDS = 120.0
POLL_SECONDS = 0.2

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

    def make_clients(self, proxy: Proxy, seed: int) -> list[ScriptedClient]:
        """Return the clients, each with its script."""
        return [
            ScriptedClient(
                proxy.ws_url + self.path,
                Client(topic=self.topic, params=dict(self.params)),
                for_client(self.script, number, self.events),
                rng=random.Random(f"{seed} {number}"),
                # As for a page that was served through the proxy.
                headers={"Origin": proxy.url, **self.headers},
            )
            for number in range(self.clients)
        ]


async def run(setup: Setup, plan: Plan, print_: Print) -> Comparison:
    """Run the script without faults and with faults, and compare."""
    async with Proxy([node.port for node in setup.nodes]) as proxy:
        expected = await _run_script(setup, proxy, plan.seed, None, print_)
        storm = Storm(plan, proxy, setup.nodes, also=setup.also)
        actual = await _run_script(setup, proxy, plan.seed, storm, print_)
    print_("faults: " + format_counts(storm.done))
    return setup.comparer.compare(expected, actual)


async def _run_script(
    setup: Setup, proxy: Proxy, seed: int, storm: Storm | None, print_: Print
) -> list[ClientResult]:
    clients = setup.make_clients(proxy, seed)
    total, started_at = setup.clients * setup.events, time.monotonic()

    def progress() -> float:
        return sum(client.settled for client in clients) / total

    work = [client.run(lambda: storm.horizon if storm else 1.0) for client in clients]
    if storm:
        work.append(storm.run(progress))
    try:
        await _run_all(work, progress)
        await _run_all([client.finish() for client in clients], lambda: 0)
    except NoProgress as error:
        print_(str(error))
    kind = "with faults" if storm else "without faults"
    print_(f"{kind}: {progress() * total:.0f} events in {time.monotonic() - started_at:.1f} s")
    return [client.result for client in clients]


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
