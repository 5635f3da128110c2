"""Own the storage on Redis as the outside sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages.base import Entry, EntryPage, Storage
from recovery_app.storages.redis import requests as wire
from recovery_app.storages.redis.async_client import Station, Stations
from recovery_app.storages.redis.errors import FAILURES, translated
from recovery_app.storages.redis.listing import (
    GONE,
    Keys,
    browsing,
    counting,
    listing,
    sampling,
)
from recovery_app.storages.redis.options import (
    Limits,
    check_alias,
    limits_in,
    pool_of_alias,
    topology_of,
    topology_of_pool,
)
from recovery_app.storages.redis.requests import Call, Manner
from recovery_app.storages.redis.script import (
    renew_step,
    revoke_step,
    save_step,
    take_over_step,
    touch_step,
)
from recovery_app.storages.redis.sync_client import Servers
from recovery_app.storages.redis.topology import Address, Topology
from recovery_app.values import Page, Query, Sample

Result = TypeVar("Result")
Coming = Coroutine[Any, Any, Result]
DEFAULT_PREFIX = "golivekit:recovery:"
DEFAULT_TIMEOUT = 3.0
DEFAULT_WAIT = 1.0
DEFAULT_CONNECTIONS = 32
DEFAULT_LANES = 4


class RedisStorage(Storage):
    """Keep snapshots in Redis 6.2 or newer: one string each, which expires by itself.

    Say where by one of ``cache`` (an alias of django-redis, whose pool and options are
    used), ``url`` (``redis://``, ``rediss://``, ``unix://``), ``sentinels`` with
    ``service_name``, or ``cluster=True`` with a ``url`` or ``startup_nodes``; pairs of host
    and port each. What isn't named here goes to redis-py's connections.

    ``timeout``: seconds that a call may take, connecting included. ``wait_replicas``: so
    many replicas must have each write within ``wait_timeout`` seconds, or it is
    `StorageUnavailable` (and may be there all the same). ``max_connections``: of blocking
    calls, to each server; ``lanes``: of each event loop, to each server.
    """

    supports_atomic_fence = True
    supports_listing = True
    supports_native_async = True
    expires_by_itself = True

    def __init__(
        self,
        *,
        cache: str | None = None,
        url: str | None = None,
        sentinels: Sequence[Address] | None = None,
        service_name: str | None = None,
        cluster: bool = False,
        startup_nodes: Sequence[Address] | None = None,
        sentinel_kwargs: Mapping[str, Any] | None = None,
        prefix: str = DEFAULT_PREFIX,
        wait_replicas: int = 0,
        wait_timeout: float = DEFAULT_WAIT,
        timeout: float = DEFAULT_TIMEOUT,
        max_connections: int = DEFAULT_CONNECTIONS,
        lanes: int = DEFAULT_LANES,
        clock: Clock = time.time,
        **arguments: Any,
    ) -> None:
        limits = {"timeout": timeout, "max_connections": max_connections, **limits_in(url)}
        self._limits = Limits(**limits, lanes=lanes)
        _check(prefix, wait_replicas, wait_timeout, self._limits)
        self.clock = clock
        self.prefix = prefix
        self.cache = cache
        self._keys = Keys(prefix=prefix)
        self._manner = Manner(
            joined=not cluster, replicas=wait_replicas, wait_ms=math.ceil(wait_timeout * 1000)
        )
        self._own: Topology | None = None
        if cache is None:
            self._own = topology_of(
                url=url,
                sentinels=sentinels,
                service_name=service_name,
                cluster=cluster,
                startup_nodes=startup_nodes,
                sentinel_kwargs=sentinel_kwargs,
                arguments=arguments,
            )
        else:
            others = (url, sentinels, service_name, startup_nodes, sentinel_kwargs)
            if cluster or arguments or any(other is not None for other in others):
                raise ValueError(f"The connection is the cache's: set it at {cache!r} in CACHES.")
            check_alias(cache)
        self._stations = Stations(lambda: Station(self._topology, self._manner, self._limits))
        register_after_fork(self)

    @property
    def blocking_timeout(self) -> float | None:
        """Give the seconds that blocking calls wait; ``None`` where a cache's pool doesn't say."""
        if self.cache is None:
            return self._limits.timeout
        seconds: float | None = self._alias_pool.connection_kwargs.get("socket_timeout")
        return seconds

    # Those with ``a`` in front give the coroutine of the call itself: one more of their own
    # for each would cost a tenth of what a load in a batch does.

    # Plain bytes.

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._call("save", wire.save(self._keys.full(key), data, to_ms(ttl)))

    def asave(self, key: str, data: bytes, ttl: float) -> Coming[None]:
        return self._acall("save", wire.save(self._keys.full(key), data, to_ms(ttl)))

    def load(self, key: str) -> bytes | None:
        data: bytes | None = self._call("load", wire.load(self._keys.full(key)))
        return data

    def aload(self, key: str) -> Coming[bytes | None]:
        return self._acall("load", wire.load(self._keys.full(key)))

    def delete(self, key: str) -> bool:
        was_there: bool = self._call("delete", wire.delete(self._keys.full(key)))
        return was_there

    def adelete(self, key: str) -> Coming[bool]:
        return self._acall("delete", wire.delete(self._keys.full(key)))

    # The fenced steps.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        verdict: Verdict = self._call("save", self._saving(key, data, ttl))
        return verdict

    def asave_fenced(self, key: str, data: bytes, ttl: float) -> Coming[Verdict]:
        return self._acall("save", self._saving(key, data, ttl))

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        verdict: Verdict = self._call("touch", self._touch(key, claim, ttl))
        return verdict

    def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Coming[Verdict]:
        return self._acall("touch", self._touch(key, claim, ttl))

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        call = self._takeover(key, claim, ttl, now_us, newest_version)
        decision: Decision = self._call("takeover", call)
        return decision

    def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Coming[Decision]:
        return self._acall("takeover", self._takeover(key, claim, ttl, now_us, newest_version))

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        decision: Decision = self._call("renewal", self._renewal(key, claim, ttl, now_us, binding))
        return decision

    def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Coming[Decision]:
        return self._acall("renewal", self._renewal(key, claim, ttl, now_us, binding))

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        verdict: Verdict = self._call("revocation", self._revocation(key, claim, ttl, now_us))
        return verdict

    def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Coming[Verdict]:
        return self._acall("revocation", self._revocation(key, claim, ttl, now_us))

    # Looking after what is stored.

    async def acleanup_expired(self) -> int:
        return self.cleanup_expired()

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Give a page in the order of SCAN; a page may be short of ``limit`` and not the last."""
        work = listing(self._keys, prefix=prefix, cursor=cursor, limit=limit)
        with _errors("listing"):
            return self._servers.talk(work)

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        work = listing(self._keys, prefix=prefix, cursor=cursor, limit=limit)
        with _errors("listing"):
            return await (await self._stations.here()).talk(work)

    def count(self) -> int:
        with _errors("count"):
            return self._servers.talk(counting(self._keys))

    async def acount(self) -> int:
        with _errors("count"):
            return await (await self._stations.here()).talk(counting(self._keys))

    # For people who look into it.

    def browse(self, query: Query) -> Page:
        """Give a page in the order of SCAN, of what the heads of the values say."""
        with _errors("listing"):
            return self._servers.talk(browsing(self._keys, query))

    async def abrowse(self, query: Query) -> Page:
        with _errors("listing"):
            return await (await self._stations.here()).talk(browsing(self._keys, query))

    def sample(self, limit: int = 1000) -> Sample:
        """Give some of each node, and an estimate from them and the number of all keys."""
        with _errors("listing"):
            return self._servers.talk(sampling(self._keys, limit))

    async def asample(self, limit: int = 1000) -> Sample:
        with _errors("listing"):
            return await (await self._stations.here()).talk(sampling(self._keys, limit))

    def look_up(self, key: str) -> Entry | None:
        data = self.load(key)
        return _entry(key, data, self._call("load", wire.time_left(self._keys.full(key))))

    async def alook_up(self, key: str) -> Entry | None:
        data = await self.aload(key)
        return _entry(key, data, await self._acall("load", wire.time_left(self._keys.full(key))))

    def close(self) -> None:
        """Let go of all connections but a cache's; a later call makes new ones."""
        if "_servers" in vars(self):
            self._servers.close()
        self._stations.close()

    def after_fork(self) -> None:
        """Forget the parent's connections."""
        if "_servers" in vars(self):
            self._servers.after_fork()
        self._stations.after_fork()

    def _saving(self, key: str, data: bytes, ttl: float) -> Call:
        return wire.fenced(self._keys.full(key), save_step(data, to_ms(ttl)))

    def _touch(self, key: str, claim: Claim, ttl: float) -> Call:
        return wire.fenced(self._keys.full(key), touch_step(claim, to_ms(ttl)))

    def _takeover(
        self, key: str, claim: Claim, ttl: float, now_us: int, newest_version: int | None
    ) -> Call:
        step = take_over_step(claim, to_ms(ttl), now_us=now_us, newest_version=newest_version)
        return wire.fenced(self._keys.full(key), step, wire.TAKEOVER)

    def _renewal(self, key: str, claim: Claim, ttl: float, now_us: int, binding: bytes) -> Call:
        step = renew_step(claim, to_ms(ttl), now_us=now_us, binding=binding)
        return wire.fenced(self._keys.full(key), step, wire.RENEWAL)

    def _revocation(self, key: str, claim: Claim, ttl: float, now_us: int) -> Call:
        return wire.fenced(self._keys.full(key), revoke_step(claim, to_ms(ttl), now_us=now_us))

    def _call(self, operation: str, call: Call) -> Any:
        with _errors(operation):
            return self._servers.call(call)

    def _acall(self, operation: str, call: Call) -> Coming[Any]:
        station = self._stations.known()
        return station.call(call, operation) if station else self._first_call(operation, call)

    async def _first_call(self, operation: str, call: Call) -> Any:
        return await (await self._stations.here()).call(call, operation)

    @cached_property
    def _topology(self) -> Topology:
        # A cache is looked up late: Django may not have all its settings yet.
        return self._own or topology_of_pool(self._alias_pool)

    @cached_property
    def _servers(self) -> Servers:
        return Servers(self._topology, self._manner, self._limits, pool=self._alias_pool)

    @cached_property
    def _alias_pool(self) -> Any:
        return None if self.cache is None else pool_of_alias(self.cache)


def to_ms(ttl: float) -> int:
    """Turn seconds into whole milliseconds, at least one."""
    return max(1, round(ttl * 1000))


def _entry(key: str, data: bytes | None, ttl_ms: int) -> Entry | None:
    if data is None or ttl_ms == GONE:
        return None
    return Entry(key=key, data=data, expires_in=ttl_ms / 1000)


def _check(prefix: str, wait_replicas: int, wait_timeout: float, limits: Limits) -> None:
    if not isinstance(prefix, str) or "{" in prefix or "}" in prefix:
        raise ValueError("prefix must be a string without braces, which are a Cluster's.")
    counts = wait_replicas, limits.max_connections, limits.lanes
    if not all(isinstance(each, int) for each in counts):
        raise ValueError("wait_replicas, max_connections and lanes are whole numbers.")
    if wait_replicas < 0 or min(limits.max_connections, limits.lanes) < 1:
        raise ValueError("wait_replicas is at least 0, max_connections and lanes at least 1.")
    timeout = limits.timeout
    if not (0 < wait_timeout < math.inf and 0 < timeout < math.inf):
        raise ValueError("timeout and wait_timeout are seconds, above 0 and not without end.")
    if wait_replicas and wait_timeout >= timeout:
        raise ValueError("wait_timeout has to be shorter than timeout.")


@contextmanager
def _errors(operation: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise translated(error, operation) from error
