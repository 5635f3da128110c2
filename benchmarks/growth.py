"""How costs grow: with snapshots, with the size of a state, with topics, with clients in a storm.

    python -m benchmarks.growth [--quick]

The first three are CPU time of this process, in memory; the storms are those of ``rejoins.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.application import configure
from benchmarks.memory import filled, state_of
from benchmarks.rejoins import Storms
from benchmarks.results import Plot
from benchmarks.sockets import Socket
from benchmarks.subject import Options, main

ROUNDS = 5
Curves = dict[str, list[tuple[float, float]]]
Work = Callable[[str], Coroutine[Any, Any, Any]]


async def cost_of(work: Work, tokens: list[str]) -> float:
    """Return the CPU microseconds of a call, the median over rounds of all tokens."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for token in tokens:
            await work(token)
        found.append((time.process_time() - start) / len(tokens) * 1e6)
    return median(found)


async def call_costs(manager: Any, tokens: list[str], state: Any) -> dict[str, float]:
    """Return the microseconds of each call."""
    current = dict.fromkeys(tokens, "")

    async def save(token: str) -> None:
        await manager.asave(current[token] or token, state)

    async def recover(token: str) -> None:
        await manager.arecover(current[token] or token)

    async def take_over(token: str) -> None:
        current[token] = (await manager.atake_over(current[token] or token)).token

    works = {"asave": save, "arecover": recover, "atake_over": take_over}
    return {name: await cost_of(work, tokens) for name, work in works.items()}


def gather(costs: Iterator[tuple[float, dict[str, float]]]) -> Curves:
    """Return a curve for each name."""
    curves: Curves = {}
    for x, figures in costs:
        for name, figure in figures.items():
            curves.setdefault(name, []).append((x, figure))
    return curves


def by_snapshots(options: Options) -> Plot:
    """Return the cost of calls where there are more and more snapshots."""

    def costs() -> Iterator[tuple[float, dict[str, float]]]:
        for number in options.pick((100, 1000, 10_000, 100_000, 500_000), (100, 1000, 10_000)):
            manager, tokens, _ = filled(number)
            yield number, asyncio.run(call_costs(manager, tokens[:500], state_of(300)))
            manager.close()

    return Plot(
        name="snapshots",
        title="Cost of a call against the number of snapshots in `MemoryStorage`",
        x_label="snapshots",
        y_label="µs of CPU",
        curves=gather(costs()),
    )


def by_size() -> Plot:
    """Return the cost of calls with larger and larger states."""

    def costs() -> Iterator[tuple[float, dict[str, float]]]:
        for size in (300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000):
            manager, tokens, _ = filled(20)
            state = {"items": [state_of(300)] * (size // 300)}
            yield size, asyncio.run(call_costs(manager, tokens, state))

    return Plot(
        name="size",
        title="Cost of a call against the size of the state",
        x_label="bytes of state",
        y_label="µs of CPU",
        curves=gather(costs()),
    )


async def topic_costs(number: int) -> dict[str, float]:
    """Return the microseconds of a join and of an event where so many topics are joined."""
    socket = Socket()
    await socket.open()
    topics = [f"lv:{place}" for place in range(number)]
    start = time.process_time()
    for topic in topics:
        await socket.push(topic, "phx_join")
    join = (time.process_time() - start) / number * 1e6
    some = (topics * 200)[:: max(1, number)][:200]
    event = await cost_of(lambda topic: socket.push(topic, "count"), some)
    await socket.close()
    return {"join": join, "event": event}


def by_topics() -> Plot:
    """Return the cost of joins and events with more and more topics on one WebSocket."""
    asyncio.run(topic_costs(10))
    costs = ((number, asyncio.run(topic_costs(number))) for number in (10, 30, 100, 300, 1000))
    return Plot(
        name="topics",
        title="Cost against the topics that are joined on one WebSocket",
        x_label="topics",
        y_label="µs of CPU",
        curves=gather(costs),
    )


def by_clients(options: Options) -> Plot:
    """Return joins a second of larger and larger storms."""

    def rates() -> Iterator[tuple[float, dict[str, float]]]:
        for clients in options.pick((100, 500, 1000, 2000, 3500, 5000), (300, 1000)):
            with ExitStack() as stack:
                storms = Storms(stack, clients)
                found = storms.measure(options.pick(3, 1), opening=False)
            yield clients, {name: median(rates) for name, rates in found.items()}

    return Plot(
        name="storm",
        title="Rejoins a second against the clients that come at once",
        x_label="clients",
        y_label="joins a second",
        curves=gather(rates()),
    )


def run(options: Options) -> Iterator[Plot]:
    """Yield the plots."""
    configure()
    yield by_snapshots(options)
    yield by_size()
    yield by_topics()
    yield by_clients(options)


if __name__ == "__main__":
    main(__doc__, run)
