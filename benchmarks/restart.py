"""How long so many pages are away when their server is restarted, with recovery and without.

    python benchmarks/restart.py [--quick] [clients]

The server and its two consumers are those of ``joins.py``: one with recovery from a
Redis of its own, and a plain one of Channels that replies and keeps nothing. All pages have
joined; then uvicorn gets a SIGTERM, and is started again on the same port as soon as it has
ended. The pages come back as those of ``recovery.js`` do, with full jitter: a random part of
100 ms, doubled with each try up to 5 s. In turns, with the same random numbers for both; the
medians of all rounds. By the pages' clock, from SIGTERM: until the process has ended, until the
first WebSocket opens again ("away"), and until the last page is back; then the time between those
two, how long the joins took, and how long it was from the try that went well until the page had
joined ("back"). Last, the CPU time of the new server until all are back, which
other work on the machine hardly changes. The aim is that pages wait no longer than without
recovery (`AIMS`), within `NOISE`, and that every state is back.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path
from typing import Any

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.application import LIVE, PLAIN
from benchmarks.dialects import Phoenix
from benchmarks.load import raise_limit
from benchmarks.results import Row, Table
from benchmarks.servers import PATIENT, directory, redis_url, uvicorn, wait_quiet
from benchmarks.subject import Options, parser_of, report
from benchmarks.timing import cpu_seconds
from benchmarks.wire import Page, connect
from tests.support.asgi import AsgiServer

OPENING_AT_ONCE = 200
FIGURES = (
    *("stopping", "away", "until_last", "since_first"),
    *("join_p50", "join_p99", "back_p50", "back_p99", "cpu"),
)
AIMS = ("until_last", "join_p50", "join_p99")
NOISE = 1.1
PATIENCE_SECONDS = 10
BASE_SECONDS, CAP_SECONDS = 0.1, 5


@dataclass(frozen=True)
class Return:
    """One page that is back: when it began to open, had opened, and had joined."""

    began: float
    opened: float
    joined: float
    is_whole: bool


@dataclass(frozen=True)
class Restart:
    """What one restart was for a crowd: seconds, and how many pages have what they had."""

    stopping: float
    away: float
    until_last: float
    since_first: float
    join_p50: float
    join_p99: float
    back_p50: float
    back_p99: float
    cpu: float
    whole: int


@dataclass
class Guests:
    """Pages that come back by themselves."""

    path: str
    tokens: list[Any]
    restarts: list[Restart] = field(default_factory=list)

    async def see_restart(self, server: AsgiServer, turn: int) -> Restart:
        """Have all join, restart the server, and wait until all are back."""
        self.tokens = [None] * len(self.tokens)
        guests = await self._gather(server.port)
        await asyncio.to_thread(wait_quiet, server.pid)
        chances = [random.Random(f"{turn} {place}") for place in range(len(guests))]
        told = time.perf_counter()
        stopped, *returns = await asyncio.gather(
            asyncio.to_thread(restart, server),
            *map(self._come_back, repeat(server.port), count(), guests, chances),
        )
        joins = sorted(each.joined - each.opened for each in returns)
        backs = sorted(each.joined - each.began for each in returns)
        first, last = (min(each.opened for each in returns), max(each.joined for each in returns))
        return Restart(
            stopping=stopped - told,
            away=first - told,
            until_last=last - told,
            since_first=last - first,
            join_p50=statistics.median(joins),
            join_p99=joins[int(len(joins) * 0.99)],
            back_p50=statistics.median(backs),
            back_p99=backs[int(len(backs) * 0.99)],
            cpu=cpu_seconds(server.pid),
            whole=sum(each.is_whole for each in returns),
        )

    async def _gather(self, port: int) -> list[Page]:
        turn = asyncio.Semaphore(OPENING_AT_ONCE)

        async def come(place: int) -> Page:
            async with turn:
                guest = await self._connect(port)
                await self._join(guest, place)
            return guest

        return await asyncio.gather(*(come(place) for place in range(len(self.tokens))))

    async def _connect(self, port: int) -> Page:
        return await connect(port, lambda: Page(self.path))

    async def _join(self, guest: Page, place: int) -> bool:
        guest.send(Phoenix().join(self.tokens[place]))
        self.tokens[place], is_whole = Phoenix().keep(await guest.answer(), self.tokens[place])
        return is_whole

    async def _come_back(self, port: int, place: int, guest: Page, chance: random.Random) -> Return:
        await guest.lost.wait()
        for tries in count():
            await asyncio.sleep(chance.random() * min(CAP_SECONDS, BASE_SECONDS * 2**tries))
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                began = time.perf_counter()
                guest = await asyncio.wait_for(self._connect(port), PATIENCE_SECONDS)
                opened = time.perf_counter()
                is_whole = await asyncio.wait_for(self._join(guest, place), PATIENCE_SECONDS)
                return Return(began, opened, time.perf_counter(), is_whole)
        raise AssertionError("there is always one more try")


def restart(server: AsgiServer) -> float:
    """Restart it, and give the time at which it had ended."""
    server.stop()
    stopped = time.perf_counter()
    server.start()
    return stopped


async def measure(server: AsgiServer, clients: int, rounds: int) -> dict[str, Guests]:
    """Restart the server for both crowds in turns."""
    paths = {"recovery": LIVE, "plain": PLAIN}
    crowds = {name: Guests(path, [None] * clients) for name, path in paths.items()}
    for turn in range(rounds):
        for name in crowds if turn % 2 else reversed(crowds):
            crowds[name].restarts.append(await crowds[name].see_restart(server, turn))
            # Those that are back are sent away, and the next find a server without history.
            await asyncio.to_thread(server.restart)
    return crowds


def medians_of(crowd: Guests) -> dict[str, float]:
    """Return the median of each figure."""
    return {
        figure: statistics.median(getattr(restart, figure) for restart in crowd.restarts)
        for figure in FIGURES
    }


def results_of(crowds: dict[str, Guests], clients: int) -> Iterator[Row | Table]:
    """Yield the rows, then all figures of both crowds."""
    ours, theirs = (medians_of(crowd) for crowd in crowds.values())
    for figure in AIMS:
        yield Row(
            what=f"a restart under {clients:,} pages, {figure}: recovery from Redis / plain",
            measured=f"{ours[figure]:.3f} / {theirs[figure]:.3f} s",
            ratio=ours[figure] / theirs[figure],
            aim=NOISE,
        )
    back = sum(restart.whole for restart in crowds["recovery"].restarts)
    everybody = clients * len(crowds["recovery"].restarts)
    yield Row(
        what="a restart: states that came back, of all",
        measured=f"{back:,} of {everybody:,}",
        ratio=back / everybody,
        aim=1,
        at_least=True,
    )
    lines = [
        [name, *(f"{seconds:.3f} s" for seconds in medians.values())]
        for name, medians in (("recovery", ours), ("plain", theirs))
    ]
    yield Table(title="A restart, by consumer", columns=["consumer", *FIGURES], lines=lines)


def run(options: Options, clients: int | None = None) -> Iterator[Row | Table]:
    """Yield what is found for so many clients."""
    raise_limit()
    number = clients or options.pick(2000, 500)
    with directory() as home, redis_url() as url:
        server = uvicorn(home, redis=url, arguments=PATIENT)
        with server:
            crowds = asyncio.run(measure(server, number, options.pick(5, 1)))
    yield from results_of(crowds, number)


def main() -> int:
    """Run as many clients as were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("clients", nargs="?", type=int)
    asked = parser.parse_args()
    return report(run(Options(quick=asked.quick), asked.clients), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
