"""Print how long so many pages are away when their server is restarted, with recovery and without.

    python benchmarks/restart.py [--quick] [clients]

The server and its two consumers are those of ``benchmarks/joins.py``: one with recovery from a
Redis of its own, and a plain one of Channels that replies and keeps nothing. All pages have
joined; then uvicorn gets a SIGTERM, and is started again on the same port as soon as it has
ended. The pages come back as those of ``recovery.js`` do, with full jitter: a random part of
100 ms, doubled with each try up to 5 s. In turns, with the same random numbers for both; the
medians of `ROUNDS`. By the pages' clock, from SIGTERM: until the process has ended, until the
first WebSocket opens again ("away"), and until the last page is back; then the time between those
two, how long the joins took, and how long it was from the try that went well until the page had
joined ("back"). Last, the CPU time of the new server until all are back, which
other work on the machine hardly changes. The aim is that pages wait no longer than without
recovery (`AIMS`), within `NOISE`, and that every state is back.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.joins import LIVE, OPENING_AT_ONCE, PLAIN, Crowd, Page, cpu_seconds, quiet
from tests.support.asgi import AsgiServer
from tests.support.processes import HOST
from tests.support.redis import make_redis

ROUNDS = 5
# Else uvicorn cancels, on a busy machine, those that are still taking their leave.
PATIENT = ("--timeout-graceful-shutdown", "15")
FIGURES = (
    *("stopping", "away", "until_last", "since_first"),
    *("join_p50", "join_p99", "back_p50", "back_p99", "cpu"),
)
AIMS = ("until_last", "join_p50", "join_p99")
NOISE = 1.1
PATIENCE_SECONDS = 10
BASE_SECONDS, CAP_SECONDS = 0.1, 5


class Guest(Page):
    """A page that knows when its connection is lost."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note, and give up."""
        super().connection_lost(exc)
        if not self._answer.cancelled():
            # Who waited too long for it asks no more.
            self._answer.exception()
        self.lost.set()


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
class Guests(Crowd):
    """Pages that come back by themselves."""

    restarts: list[Restart] = field(default_factory=list)

    async def see_restart(self, server: AsgiServer, turn: int) -> Restart:
        """Have all join, restart the server, and wait until all are back."""
        self.tokens = [None] * len(self.tokens)
        guests = await self._gather(server.port)
        await quiet(server.pid)
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

    async def _gather(self, port: int) -> list[Guest]:
        turn = asyncio.Semaphore(OPENING_AT_ONCE)

        async def come(place: int) -> Guest:
            async with turn:
                guest = await self._connect(port)
                await self._join(guest, place)
            return guest

        return await asyncio.gather(*(come(place) for place in range(len(self.tokens))))

    async def _connect(self, port: int) -> Guest:
        loop = asyncio.get_running_loop()
        _, guest = await loop.create_connection(lambda: Guest(self.path), HOST, port)
        await guest.answer()
        return guest

    async def _join(self, guest: Guest, place: int) -> bool:
        guest.send(self._join_frame(self.tokens[place]))
        return self._keep(place, await guest.answer())

    async def _come_back(
        self, port: int, place: int, guest: Guest, chance: random.Random
    ) -> Return:
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


def row_of(name: str, crowd: Guests) -> dict[str, float]:
    """Print the medians of a crowd, and give them."""
    medians = {
        figure: statistics.median(getattr(restart, figure) for restart in crowd.restarts)
        for figure in FIGURES
    }
    back = sum(restart.whole for restart in crowd.restarts)
    cells = " | ".join(f"{seconds:.3f} s" for seconds in medians.values())
    print(f"| {name} | {cells} | {back:,} of {len(crowd.tokens) * len(crowd.restarts):,} |")
    return medians


async def measure(server: AsgiServer, clients: int, rounds: int) -> bool:
    """Print the figures of both crowds; say whether the aims are met."""
    live, plain = crowds = [Guests(path, [None] * clients) for path in (LIVE, PLAIN)]
    for turn in range(rounds):
        for crowd in crowds if turn % 2 else reversed(crowds):
            crowd.restarts.append(await crowd.see_restart(server, turn))
            # Those that are back are sent away, and the next find a server without history.
            await asyncio.to_thread(server.restart)
    print(f"| | {' | '.join(FIGURES)} | back |\n|---|{'---|' * (len(FIGURES) + 1)}")
    ours, theirs = row_of("recovery", live), row_of("plain", plain)
    ratios = {figure: ours[figure] / theirs[figure] for figure in FIGURES}
    print("| ratio | " + " | ".join(f"{ratio:.2f}" for ratio in ratios.values()) + " | |")
    all_back = all(restart.whole == clients for restart in live.restarts)
    return all_back and all(ratios[figure] <= NOISE for figure in AIMS)


def main() -> int:
    """Run as many clients as were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("clients", nargs="?", type=int, default=2000)
    asked = parser.parse_args()
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as directory, make_redis(Path(directory)) as redis:
        env = {
            "JOINS_REDIS_URL": f"redis://{HOST}:{redis.port}/0",
            "JOINS_LAYER": "",
            "UVICORN_FACTORY": "1",
            "UVICORN_LOG_LEVEL": "warning",
        }
        application = "benchmarks.joins:make_application"
        server = AsgiServer(
            data=Path(directory), application=application, arguments=PATIENT, env=env
        )
        with server:
            met = asyncio.run(measure(server, asked.clients, 2 if asked.quick else ROUNDS))
    print("The aims are met." if met else "The aims are NOT met.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
