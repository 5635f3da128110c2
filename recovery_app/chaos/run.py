"""Own a run: a script without faults, the same with them, and how the two compare."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recovery_app.chaos.client import Client
from recovery_app.chaos.judge import Judge, Result, Verdict
from recovery_app.chaos.plan import Plan
from recovery_app.chaos.players import Player
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import Line, for_client
from recovery_app.chaos.storm import Act, Storm, told

MIN_EVENTS = 50
"""With fewer no client could be kept near a fault."""
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.2

Say = Callable[[str], None]


class Stuck(Exception):
    """Nothing has come in for so long that nothing will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Who speaks to what. ``headers`` go with each opening request; ``also`` to the storm."""

    nodes: Sequence[Process]
    path: str
    topic: str
    script: Sequence[Line]
    clients: int
    events: int
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Act] = field(default_factory=dict)
    judge: Judge = field(default_factory=Judge)
    patience_seconds: float = PATIENCE_SECONDS

    def players(self, proxy: Proxy, seed: int) -> list[Player]:
        """Make the clients, each with its script."""
        return [
            Player(
                proxy.ws_url + self.path,
                Client(topic=self.topic, params=dict(self.params)),
                for_client(self.script, number, self.events),
                dice=random.Random(f"{seed} {number}"),
                # As a page that was served from there.
                headers={"Origin": proxy.url, **self.headers},
            )
            for number in range(self.clients)
        ]


async def run(setup: Setup, plan: Plan, say: Say) -> Verdict:
    """Run the script twice through one proxy, and compare."""
    async with Proxy([node.port for node in setup.nodes]) as proxy:
        expected = await _play(setup, proxy, plan.seed, None, say)
        storm = Storm(plan, proxy, setup.nodes, also=setup.also)
        found = await _play(setup, proxy, plan.seed, storm, say)
    say("faults: " + told(storm.done))
    return setup.judge.compare(expected, found)


async def _play(
    setup: Setup, proxy: Proxy, seed: int, storm: Storm | None, say: Say
) -> list[Result]:
    players = setup.players(proxy, seed)
    total, began = setup.clients * setup.events, time.monotonic()

    def progress() -> float:
        return sum(player.settled for player in players) / total

    work = [player.play(lambda: storm.horizon if storm else 1.0) for player in players]
    if storm:
        work.append(storm.blow(progress))
    try:
        await _go_on(work, progress, setup.patience_seconds)
        await _go_on([player.settle() for player in players], lambda: 0, setup.patience_seconds)
    except Stuck as stuck:
        say(str(stuck))
    kind = "with faults" if storm else "without faults"
    say(f"{kind}: {progress() * total:.0f} events in {time.monotonic() - began:.1f} s")
    return [player.result for player in players]


async def _go_on(
    work: Sequence[Awaitable[None]], progress: Callable[[], float], patience_seconds: float
) -> None:
    """Do all of it at once; raise `Stuck` when the progress stands still for too long."""
    tasks = [asyncio.ensure_future(each) for each in work]
    reached, since = progress(), time.monotonic()
    try:
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=POLL_SECONDS)
            for task in tasks:
                if task.done():
                    task.result()
            if progress() > reached:
                reached, since = progress(), time.monotonic()
            elif time.monotonic() - since > patience_seconds:
                raise Stuck(f"nothing has come in for {patience_seconds:g} s")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
