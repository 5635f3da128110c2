"""What the storage on Redis costs beside redis-py itself, in one run, on a server of its own.

    python benchmarks/redis.py [--quick] [row ...]

Each row is a ratio of two things measured in turns: the median of one turn's ratio, beside the
medians of both. Both sides move the same bytes. "CPU" is the time that this process works (the
server's is its own). Joins on a real server are in ``joins.py``.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

# Instead of the directory of this file, whose name is redis-py's as well.
sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.core.cache.backends.redis import RedisCache
from redis import asyncio as aioredis

from benchmarks.results import Row
from benchmarks.servers import directory
from benchmarks.subject import Options, parser_of, report
from benchmarks.timing import Pair, compare
from recovery_app import RecoveryManager
from recovery_app.storages import RedisStorage
from tests.support.processes import HOST
from tests.support.redis import client, make_redis

ALONE = 200
AT_ONCE = 100
STATE = {"count": 7, "items": ["x" * 40] * 3, "note": "y" * 40}
KEY = "recovery:0123456789abcdef"
TTL = 300

Work = Callable[[], Awaitable[Any]]


async def alone(work: Work) -> float:
    """Return the CPU seconds of one call among many, one after the other."""
    start = time.process_time()
    for _ in range(ALONE):
        await work()
    return (time.process_time() - start) / ALONE


async def at_once(works: list[Work], clock: Callable[[], float] = time.process_time) -> float:
    """Return the seconds of one call among those of a gather."""
    start = clock()
    await asyncio.gather(*(work() for work in works))
    return (clock() - start) / len(works)


async def ratio(
    measure: Callable[[Any], Awaitable[float]], ours: Any, theirs: Any, rounds: int
) -> Pair:
    """Return what is found in turns, after two for nothing."""
    return compare([(await measure(ours), await measure(theirs)) for _ in range(rounds + 2)][2:])


class Bench:
    """What the rows share: a manager on Redis, and redis-py on the same server."""

    def __init__(self, port: int, rounds: int) -> None:
        self.port = port
        self.rounds = rounds
        self.storage = RedisStorage(url=f"redis://{HOST}:{port}/0")
        self.manager = RecoveryManager(
            secret=b"the secret of the benchmark of redis", storage=self.storage
        )
        self.tokens = [self.manager.create_token(f"socket {n}") for n in range(AT_ONCE)]
        self.keys: list[str] = []
        self.one = aioredis.Redis(host=HOST, port=port)
        self.pool = aioredis.Redis(
            connection_pool=aioredis.BlockingConnectionPool(
                host=HOST, port=port, max_connections=AT_ONCE
            )
        )
        self.data = b""

    async def prepare(self) -> None:
        """Store what is read later, the same bytes on both sides."""
        for token in self.tokens:
            await self.manager.asave(token, STATE)
        found = await self.storage.alist_entries(limit=AT_ONCE)
        self.keys = [entry.key for entry in found.entries]
        self.data = await self.storage.aload(self.keys[0]) or b""
        await self.one.set(KEY, self.data, ex=TTL)

    async def close(self) -> None:
        """Let go of all connections."""
        self.manager.close()
        await self.one.aclose()
        await self.pool.aclose()
        await self.pool.connection_pool.disconnect()

    async def take_over(self, place: int) -> None:
        """Take over, and show the new token the next time, as a client does."""
        takeover = await self.manager.atake_over(self.tokens[place])
        self.tokens[place] = takeover.token

    async def lone_save(self) -> Pair:
        """A fenced save beside SET EX of the same bytes."""
        token = self.tokens[0]
        return await ratio(
            alone,
            lambda: self.manager.asave(token, STATE),
            lambda: self.one.set(KEY, self.data, ex=TTL),
            self.rounds,
        )

    async def lone_takeover(self) -> Pair:
        """A takeover beside a GET and a SET."""

        async def get_and_set() -> None:
            data = await self.one.get(KEY)
            await self.one.set(KEY, data, ex=TTL)

        return await ratio(alone, lambda: self.take_over(0), get_and_set, self.rounds)

    async def many(self, ours: Callable[[int], Work], theirs: Work) -> Pair:
        """A hundred of ours at once beside a hundred of redis-py's."""
        mine = [ours(place) for place in range(AT_ONCE)]
        return await ratio(at_once, mine, [theirs] * AT_ONCE, self.rounds)

    async def many_loads(self) -> Pair:
        """Recoveries beside GET."""
        return await self.many(
            lambda place: lambda: self.manager.arecover(self.tokens[place]),
            lambda: self.pool.get(KEY),
        )

    async def many_saves(self) -> Pair:
        """Fenced saves beside SET."""
        return await self.many(
            lambda place: lambda: self.manager.asave(self.tokens[place], STATE),
            lambda: self.pool.set(KEY, self.data, ex=TTL),
        )

    async def many_takeovers(self) -> Pair:
        """Takeovers beside GET."""
        return await self.many(
            lambda place: lambda: self.take_over(place), lambda: self.pool.get(KEY)
        )

    async def many_cache_loads(self) -> Pair:
        """Recoveries beside ``aget`` of Django's own Redis cache."""
        cache = RedisCache(f"redis://{HOST}:{self.port}/1", {})
        await cache.aset("key", STATE, TTL)
        mine: list[Work] = [
            lambda token=token: self.manager.arecover(token)  # type: ignore[misc]
            for token in self.tokens
        ]
        theirs: list[Work] = [lambda: cache.aget("key")] * AT_ONCE
        return await ratio(at_once, mine, theirs, max(3, self.rounds // 3))

    async def raw_loads(self) -> Pair:
        """The storage alone, without tokens and states: loads beside GET."""
        return await self.many(
            lambda place: lambda: self.storage.aload(self.keys[place]), lambda: self.pool.get(KEY)
        )

    async def raw_saves(self) -> Pair:
        """The storage alone: fenced saves beside SET."""
        data = [await self.storage.aload(key) or b"" for key in self.keys]
        return await self.many(
            lambda place: lambda: self.storage.asave_fenced(self.keys[place], data[place], TTL),
            lambda: self.pool.set(KEY, self.data, ex=TTL),
        )

    async def raw_lone_save(self) -> Pair:
        """The storage alone: one fenced save beside SET EX."""
        return await ratio(
            alone,
            lambda: self.storage.asave_fenced(self.keys[0], self.data, TTL),
            lambda: self.one.set(KEY, self.data, ex=TTL),
            self.rounds,
        )

    async def memory(self) -> Pair:
        """Bytes in Redis of a snapshot of 300 bytes beside those of a plain string."""
        with client(self.port) as connection:
            connection.flushall()
            token = self.manager.create_token("socket")
            # Its state is made longer by as much as is missing.
            for note in ("", "s" * (300 - await self._stored_bytes(token, ""))):
                await self._stored_bytes(token, note)
            (name,) = connection.keys()
            (entry,) = (await self.storage.alist_entries()).entries
            connection.set("recovery:0123456789abcdef", entry.data, ex=TTL)
            ours, theirs = (
                float(connection.memory_usage(key, samples=0) or 0)
                for key in (name, "recovery:0123456789abcdef")
            )
        return Pair(ours, theirs, ours / theirs)

    async def _stored_bytes(self, token: str, note: str) -> int:
        await self.manager.asave(token, {"note": note})
        (entry,) = (await self.storage.alist_entries()).entries
        return len(entry.data)


ROWS: dict[str, tuple[str, str, float]] = {
    "lone_save": ("asave, alone / SET EX, alone (CPU)", "µs", 1.2),
    "lone_takeover": ("atake_over, alone / GET + SET, alone (CPU)", "µs", 1.0),
    "many_loads": ("100 arecover / 100 GET (CPU)", "µs", 0.18),
    "many_saves": ("100 asave / 100 SET (CPU)", "µs", 0.22),
    "many_takeovers": ("100 atake_over / 100 GET (CPU)", "µs", 0.30),
    "many_cache_loads": ("100 arecover / 100 aget of Django's Redis cache (CPU)", "µs", 0.05),
    "raw_lone_save": ("storage only: fenced save, alone / SET EX, alone (CPU)", "µs", 1.2),
    "raw_loads": ("storage only: 100 loads / 100 GET (CPU)", "µs", 0.15),
    "raw_saves": ("storage only: 100 fenced saves / 100 SET (CPU)", "µs", 0.20),
    "memory": ("bytes of a 300 B snapshot / of a plain string that expires", "B", 1.25),
}


async def measure(port: int, names: list[str], rounds: int) -> AsyncIterator[Row]:
    """Yield the rows of these names."""
    bench = Bench(port, rounds)
    for name in names:
        title, unit, aim = ROWS[name]
        await bench.prepare()
        pair: Pair = await getattr(bench, name)()
        scale = 1e6 if unit == "µs" else 1
        yield Row(
            what=title,
            measured=f"{pair.ours * scale:.1f} / {pair.theirs * scale:.1f} {unit}",
            ratio=pair.ratio,
            aim=aim,
        )
    await bench.close()


def run(options: Options, names: list[str] | None = None) -> Iterator[Row]:
    """Yield the rows that were asked for, or all."""
    django.setup()
    with directory() as home, make_redis(home) as server:
        loop = asyncio.new_event_loop()
        rows = measure(server.port, names or list(ROWS), options.pick(31, 7))
        with contextlib.closing(loop), contextlib.suppress(StopAsyncIteration):
            while True:
                yield loop.run_until_complete(anext(rows))


def main() -> int:
    """Run the rows that were asked for, or all."""
    parser = parser_of(__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row")
    asked = parser.parse_args()
    return report(run(Options(quick=asked.quick), asked.rows), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
