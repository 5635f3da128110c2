"""Print what the storage on Redis costs beside redis-py itself, in one run, on a server of its own.

    python benchmarks/redis.py [--quick] [row ...]

Each row is a ratio of two things measured in turns, so that a machine that is busy for a
while is so for both: the median over `ROUNDS` of one turn's ratio, beside the medians of both.
Both sides move the same bytes. "CPU" is the
time that this process works (the server's is its own); joins are those of ``joins.py``, on a
real server and timed by the clock on the wall.
"""

# ruff: noqa: E402, PLC0415

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

# Instead of the directory of this file, whose name is redis-py's as well.
sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings
from redis import asyncio as aioredis

from recovery_app import RecoveryManager
from recovery_app._core.tokens import key_of
from recovery_app.signals import observers
from recovery_app.storages import RedisStorage
from tests.core.support import snapshot_bytes
from tests.support.processes import HOST
from tests.support.redis import client, make_redis

ROUNDS = 31
ALONE = 200
AT_ONCE = 100
STATE = {"count": 7, "items": ["x" * 40] * 3, "note": "y" * 40}
KEY = "golivekit:recovery:{0123456789abcdef}"
TTL = 300
MOST_CONNECTIONS = 100

Work = Callable[[], Awaitable[Any]]


class Found(NamedTuple):
    """The medians of both sides in seconds, and of the ratio of the two."""

    ours: float
    theirs: float
    ratio: float


async def alone(work: Work) -> float:
    """Give the CPU seconds of one call among many, one after the other."""
    start = time.process_time()
    for _ in range(ALONE):
        await work()
    return (time.process_time() - start) / ALONE


async def at_once(works: list[Work], clock: Callable[[], float] = time.process_time) -> float:
    """Give the seconds of one call among those of a gather."""
    start = clock()
    await asyncio.gather(*(work() for work in works))
    return (clock() - start) / len(works)


async def ratio(
    measure: Callable[[Any], Awaitable[float]], ours: Any, theirs: Any, rounds: int
) -> Found:
    """Give what is found in turns, after two for nothing."""
    found = [(await measure(ours), await measure(theirs)) for _ in range(rounds + 2)][2:]
    return Found(
        ours=statistics.median(mine for mine, _ in found),
        theirs=statistics.median(other for _, other in found),
        ratio=statistics.median(mine / other for mine, other in found),
    )


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
        self.keys = [key_of(token) for token in self.tokens]
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

    async def lone_save(self) -> Found:
        """A fenced save beside SET EX of the same bytes."""
        token = self.tokens[0]
        return await ratio(
            alone,
            lambda: self.manager.asave(token, STATE),
            lambda: self.one.set(KEY, self.data, ex=TTL),
            self.rounds,
        )

    async def lone_takeover(self) -> Found:
        """A takeover beside a GET and a SET."""

        async def get_and_set() -> None:
            data = await self.one.get(KEY)
            await self.one.set(KEY, data, ex=TTL)

        return await ratio(alone, lambda: self.take_over(0), get_and_set, self.rounds)

    async def many(self, ours: Callable[[int], Work], theirs: Work) -> Found:
        """A hundred of ours at once beside a hundred of redis-py's."""
        mine = [ours(place) for place in range(AT_ONCE)]
        return await ratio(at_once, mine, [theirs] * AT_ONCE, self.rounds)

    async def many_loads(self) -> Found:
        """Recoveries beside GET."""
        return await self.many(
            lambda place: lambda: self.manager.arecover(self.tokens[place]),
            lambda: self.pool.get(KEY),
        )

    async def many_saves(self) -> Found:
        """Fenced saves beside SET."""
        return await self.many(
            lambda place: lambda: self.manager.asave(self.tokens[place], STATE),
            lambda: self.pool.set(KEY, self.data, ex=TTL),
        )

    async def many_takeovers(self) -> Found:
        """Takeovers beside GET."""
        return await self.many(
            lambda place: lambda: self.take_over(place), lambda: self.pool.get(KEY)
        )

    async def many_cache_loads(self) -> Found:
        """Recoveries beside ``aget`` of Django's own Redis cache."""
        from django.core.cache.backends.redis import RedisCache

        cache = RedisCache(f"redis://{HOST}:{self.port}/1", {})
        await cache.aset("key", STATE, TTL)
        mine: list[Work] = [
            lambda token=token: self.manager.arecover(token)  # type: ignore[misc]
            for token in self.tokens
        ]
        theirs: list[Work] = [lambda: cache.aget("key")] * AT_ONCE
        return await ratio(at_once, mine, theirs, max(3, self.rounds // 3))

    async def raw_loads(self) -> Found:
        """The storage alone, without tokens and states: loads beside GET."""
        return await self.many(
            lambda place: lambda: self.storage.aload(self.keys[place]), lambda: self.pool.get(KEY)
        )

    async def raw_saves(self) -> Found:
        """The storage alone: fenced saves beside SET."""
        data = [await self.storage.aload(key) or b"" for key in self.keys]
        return await self.many(
            lambda place: lambda: self.storage.asave_fenced(self.keys[place], data[place], TTL),
            lambda: self.pool.set(KEY, self.data, ex=TTL),
        )

    async def raw_lone_save(self) -> Found:
        """The storage alone: one fenced save beside SET EX."""
        return await ratio(
            alone,
            lambda: self.storage.asave_fenced(self.keys[0], self.data, TTL),
            lambda: self.one.set(KEY, self.data, ex=TTL),
            self.rounds,
        )

    async def watched(self) -> Found:
        """Recoveries with what `recovery_app` counts of them, beside those that nobody hears of."""
        mine: list[Work] = [
            lambda token=token: self.manager.arecover(token)  # type: ignore[misc]
            for token in self.tokens
        ]

        async def one_turn(is_heard: bool) -> float:
            heard = observers._observers
            for observer in () if is_heard else heard:
                observers.remove(observer)
            try:
                return await at_once(mine)
            finally:
                for observer in heard:
                    observers.add(observer)

        return await ratio(one_turn, True, False, 3 * self.rounds)

    async def joins(self) -> Found:
        """Seconds of a join with a takeover beside those of a plain consumer's, on a server."""
        result = await joins_of(1000)
        ours, theirs = result["join"]
        return Found(ours, theirs, ours / theirs)

    async def many_joins(self) -> Found:
        """How many of 5,000 joins at once fail, and the connections that they take."""
        result = await joins_of(5000)
        failed, connections = result["failures"], result["redis_connections"]
        return Found(failed, connections, failed + max(0, connections - MOST_CONNECTIONS))

    async def memory(self) -> Found:
        """Bytes in Redis of a snapshot of 300 bytes beside those of a plain string."""
        spare = 300 - len(snapshot_bytes(1))
        data = snapshot_bytes(1, b"s" * (spare + 2))
        with client(self.port) as connection:
            connection.flushall()
            await self.storage.asave_fenced("0123456789abcdef", data, TTL)
            connection.set("recovery:0123456789abcdef", data, ex=TTL)
            ours, theirs = (
                float(connection.memory_usage(name, samples=0) or 0)
                for name in (KEY, "recovery:0123456789abcdef")
            )
        return Found(ours, theirs, ours / theirs)


async def joins_of(clients: int) -> dict[str, Any]:
    """Give what ``joins.py`` finds, in a process of its own: its pages are to be light."""
    script = Path(__file__).with_name("joins.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), "--json", str(clients)), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    found: dict[str, Any] = json.loads(printed)
    return found


ROWS: dict[str, tuple[str, str, float]] = {
    "lone_save": ("asave, alone / SET EX, alone (CPU)", "us", 1.2),
    "lone_takeover": ("atake_over, alone / GET + SET, alone (CPU)", "us", 1.0),
    "many_loads": ("100 arecover / 100 GET (CPU)", "us", 0.15),
    "many_saves": ("100 asave / 100 SET (CPU)", "us", 0.20),
    "many_takeovers": ("100 atake_over / 100 GET (CPU)", "us", 0.25),
    "many_cache_loads": ("100 arecover / 100 aget of Django's Redis cache (CPU)", "us", 0.05),
    "raw_lone_save": ("storage only: fenced save, alone / SET EX, alone (CPU)", "us", 1.2),
    "raw_loads": ("storage only: 100 loads / 100 GET (CPU)", "us", 0.15),
    "raw_saves": ("storage only: 100 fenced saves / 100 SET (CPU)", "us", 0.20),
    "watched": ("100 arecover with metrics / without (CPU)", "us", 1.10),
    "joins": ("1,000 joins at once, seconds each / plain consumer's (1 / 1.2)", "us", 1 / 1.2),
    "many_joins": ("of 5,000 joins at once: failed / connections (0, at most 100)", "", 0.0),
    "memory": ("bytes of a 300 B snapshot / of a plain string that expires", "B", 1.25),
}


async def measure(port: int, rows: list[str], rounds: int) -> bool:
    """Print the rows; say whether all aims are met."""
    bench = Bench(port, rounds)
    met = True
    for name in rows:
        title, unit, aim = ROWS[name]
        await bench.prepare()
        found = await getattr(bench, name)()
        scale = 1e6 if unit == "us" else 1
        is_met = found.ratio <= aim
        met = met and is_met
        print(
            f"| {title} | {found.ours * scale:.1f} / {found.theirs * scale:.1f} {unit} "
            f"| {found.ratio:.3f} | ≤ {aim:.2f} | {'yes' if is_met else 'NO'} |",
            flush=True,
        )
    await bench.close()
    return met


def main() -> int:
    """Run the rows that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row")
    asked = parser.parse_args()
    settings.CHANNEL_LAYERS = {}
    django.setup()
    print("| what | measured | ratio | aim | met |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, make_redis(Path(directory)) as server:
        rows = asked.rows or list(ROWS)
        met = asyncio.run(measure(server.port, rows, 3 if asked.quick else ROUNDS))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
