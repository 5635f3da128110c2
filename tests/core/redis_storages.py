"""The Redis storages that the contract suite runs over.

Redis expires by a clock of its own that no test can move. So a second of the test's clock is
`SCALE` of the server's: what a test waits for by itself is nothing then, not even where the
machine stalls for seconds, and when its clock moves, the times to live are moved as much.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import pytest

from recovery_app.clock import Clock
from recovery_app.storages import Entry, EntryPage, RedisStorage, Storage
from recovery_app.values import Page, Sample, SnapshotInfo
from tests.support.processes import HOST
from tests.support.redis import SERVICE, Cluster, SentinelTrio, client

SCALE = 100_000
MOVE = """
for _, key in ipairs(redis.call('KEYS', '*}')) do
  local left = redis.call('PTTL', key) - ARGV[1]
  redis.call('PEXPIRE', key, left)
end
"""

SERVERS: dict[str, Any] = {}
"""What the fixtures of this kind have started, by the fixture's name."""


class OnTestClock:
    """A storage whose times to live go by the test's clock."""

    def __init__(self, storage: RedisStorage, clock: Clock, ports: Callable[[], list[int]]) -> None:
        self._storage = storage
        self._clock = clock
        self._moved_to_ms = _ms(clock)
        self._ports = ports

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not inspect.ismethod(found):
            return found
        is_async = inspect.iscoroutinefunction(found)
        return partial(self._acall if is_async else self._call, found)

    def _call(self, method: Any, *arguments: Any, **options: Any) -> Any:
        return _unscaled(method(*self._prepared(method, arguments), **options))

    async def _acall(self, method: Any, *arguments: Any, **options: Any) -> Any:
        prepared = await asyncio.to_thread(self._prepared, method, arguments)
        return _unscaled(await method(*prepared, **options))

    def _prepared(self, method: Any, arguments: tuple[Any, ...]) -> list[Any]:
        now_ms = _ms(self._clock)
        if now_ms != self._moved_to_ms:
            for port in self._ports():
                with client(port) as connection:
                    connection.eval(MOVE, 0, (now_ms - self._moved_to_ms) * SCALE)
            self._moved_to_ms = now_ms
        names = inspect.signature(method).parameters
        return [
            value * SCALE if name == "ttl" else value
            for name, value in zip(names, arguments, strict=False)
        ]


def _ms(clock: Clock) -> int:
    # Whole: what a float leaves over would be seconds of the server's.
    return round(clock() * 1000)


def _unscaled(found: Any) -> Any:
    if isinstance(found, Entry):
        return replace(found, expires_in=found.expires_in / SCALE)
    if isinstance(found, SnapshotInfo):
        return replace(found, expires_in_seconds=found.expires_in_seconds / SCALE)
    if isinstance(found, EntryPage):
        return replace(found, entries=[_unscaled(each) for each in found.entries])
    if isinstance(found, (Page, Sample)):
        return replace(found, items=[_unscaled(each) for each in found.items])
    return found


@dataclass(frozen=True, kw_only=True)
class RedisMaker:
    """Makes a `RedisStorage` on emptied servers, once a fixture has started them."""

    fixture: str
    options: Callable[[Any], dict[str, Any]]

    def __call__(self, clock: Clock) -> Storage:
        servers = SERVERS[self.fixture]
        for port in ports_of(servers):
            with client(port) as connection:
                connection.flushall()
        storage = RedisStorage(**self.options(servers))
        return cast("Storage", OnTestClock(storage, clock, lambda: ports_of(servers)))


def ports_of(servers: Any) -> list[int]:
    """Return the ports of the masters."""
    if isinstance(servers, Cluster):
        return [node.port for node in servers.nodes]
    return [servers.master_port if isinstance(servers, SentinelTrio) else servers.port]


def on_one(server: Any) -> dict[str, Any]:
    """Return the options of a storage on one server."""
    return {"url": f"redis://{HOST}:{server.port}/0"}


def on_alias(_server: Any) -> dict[str, Any]:
    """Return the options of a storage on the connection of a django-redis cache."""
    return {"cache": "recovery"}


def on_sentinels(trio: SentinelTrio) -> dict[str, Any]:
    """Return the options of a storage on a Sentinel's master."""
    return {"sentinels": trio.addresses, "service_name": SERVICE}


def on_cluster(cluster: Cluster) -> dict[str, Any]:
    """Return the options of a storage on a Cluster."""
    return {"cluster": True, "startup_nodes": cluster.startup_nodes}


def _param(name: str, fixture: str, options: Callable[[Any], dict[str, Any]]) -> Any:
    return pytest.param(RedisMaker(fixture=fixture, options=options), id=name)


REDIS = [
    _param("redis", "redis_server", on_one),
    _param("redis-alias", "redis_server", on_alias),
    _param("redis-sentinel", "redis_sentinels", on_sentinels),
    _param("redis-cluster", "redis_cluster", on_cluster),
]
"""A new way to reach Redis joins the contract suite by one line here."""
