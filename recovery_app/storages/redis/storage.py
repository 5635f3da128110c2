"""The public class of the storage on Redis."""

from __future__ import annotations

import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

from django.core.checks import CheckMessage

from recovery_app._concurrency import register_after_fork
from recovery_app.clock import Clock
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages.base import Entry, EntryPage, Storage
from recovery_app.storages.redis import journal, listing
from recovery_app.storages.redis.async_client import AsyncClient
from recovery_app.storages.redis.commands import RequestFactory
from recovery_app.storages.redis.eviction import check_eviction, evicting_policies
from recovery_app.storages.redis.groups import RedisGroups
from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.loop_clients import LoopClients
from recovery_app.storages.redis.losses import explain_losses
from recovery_app.storages.redis.messages import StreamRequests
from recovery_app.storages.redis.options import (
    check_options,
    limits_of,
    pool_of_alias,
    topology_of_options,
    topology_of_pool,
)
from recovery_app.storages.redis.reports import RedisReports, ReportKeys
from recovery_app.storages.redis.requests import WriteOptions
from recovery_app.storages.redis.routing import Start
from recovery_app.storages.redis.scanning import Cursor
from recovery_app.storages.redis.sync_client import SyncClient
from recovery_app.storages.redis.topology import Address, Topology
from recovery_app.storages.system_checks import check_blocking_timeout
from recovery_app.values import (
    Incident,
    IncidentPage,
    IncidentQuery,
    JournalLimits,
    Page,
    Query,
    Sample,
)

Result = TypeVar("Result")
Coming = Coroutine[Any, Any, Result]
DEFAULT_PREFIX = "golivekit:recovery:"
DEFAULT_TIMEOUT = 3.0
DEFAULT_WAIT = 1.0
DEFAULT_CONNECTIONS = 32
DEFAULT_LANES = 4


class RedisStorage(RedisGroups, RedisReports, Storage):
    """Snapshots in Redis 6.2 or newer, as one string each, with an expiry.

    Specify the server by one of ``cache`` (an alias of django-redis, whose pool and options are
    used), ``url`` (``redis://``, ``rediss://``, ``unix://``), ``sentinels`` with
    ``service_name``, or ``cluster=True`` with a ``url`` or ``startup_nodes``. Sentinels and
    nodes are pairs of host and port. Other arguments are passed to redis-py's connections.

    ``timeout`` is the number of seconds that a call may take, including connecting.
    ``wait_replicas`` is the number of replicas that must have each write within ``wait_timeout``
    seconds; otherwise `StorageUnavailable` is raised, though the write may have been made.
    ``max_connections`` limits the connections of blocking calls to each server, and ``lanes``
    those of each event loop.
    """

    supports_atomic_fence = True
    supports_listing = True
    supports_native_async = True
    supports_journal = True
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
        self._limits = limits_of(url, timeout, max_connections, lanes)
        check_options(prefix, wait_replicas, wait_timeout, self._limits)
        self.clock = clock
        self.prefix = prefix
        self.cache = cache
        self._keys = Keys(prefix=prefix)
        self._journal_key = journal.name_of(prefix)
        self._report_keys = ReportKeys(prefix)
        self._requests = RequestFactory(self._keys, clock)
        self._streams = StreamRequests(prefix)
        self._write_options = WriteOptions(
            multi_key=not cluster, replicas=wait_replicas, wait_ms=math.ceil(wait_timeout * 1000)
        )
        self._configured = topology_of_options(
            cache=cache,
            url=url,
            sentinels=sentinels,
            service_name=service_name,
            cluster=cluster,
            startup_nodes=startup_nodes,
            sentinel_kwargs=sentinel_kwargs,
            arguments=arguments,
        )
        self._async = LoopClients(self._make_async_client)
        register_after_fork(self)

    @property
    def blocking_timeout(self) -> float | None:
        """The timeout of blocking calls in seconds; ``None`` if a cache's pool doesn't set one."""
        if self.cache is None:
            return self._limits.timeout
        seconds: float | None = self._alias_pool.connection_kwargs.get("socket_timeout")
        return seconds

    def check(self) -> list[CheckMessage]:
        """Return W009 if blocking calls may wait forever."""
        return check_blocking_timeout(self.cache, self.blocking_timeout)

    def check_server(self) -> list[CheckMessage]:
        """Return W014 if a server evicts keys when its memory is full."""
        return check_eviction(self._sync.run(evicting_policies, "check"))

    async def aexplain_losses(self) -> str:
        """Return whether servers were started recently, were emptied, or have evicted keys."""
        return await self._async.run(explain_losses, "listing")

    # The async variants of single requests return the client's coroutine as it is: one of
    # their own around it would cost a tenth of a load in a pipeline.

    def save(self, key: str, data: bytes, ttl: float) -> None:
        return self._sync.send(self._requests.save(key, data, ttl))

    def asave(self, key: str, data: bytes, ttl: float) -> Coming[None]:
        return self._async.send(self._requests.save(key, data, ttl))

    def load(self, key: str) -> bytes | None:
        return self._sync.send(self._requests.load(key))

    def aload(self, key: str) -> Coming[bytes | None]:
        return self._async.send(self._requests.load(key))

    def delete(self, key: str) -> bool:
        return self._sync.send(self._requests.delete(key))

    def adelete(self, key: str) -> Coming[bool]:
        return self._async.send(self._requests.delete(key))

    # The fenced steps.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        return self._sync.send(self._requests.save_fenced(key, data, ttl))

    def asave_fenced(self, key: str, data: bytes, ttl: float) -> Coming[Verdict]:
        return self._async.send(self._requests.save_fenced(key, data, ttl))

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        return self._sync.send(self._requests.touch_fenced(key, claim, ttl))

    def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Coming[Verdict]:
        return self._async.send(self._requests.touch_fenced(key, claim, ttl))

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        return self._sync.send(self._requests.take_over(key, claim, ttl, now_us, newest_version))

    def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Coming[Decision]:
        return self._async.send(self._requests.take_over(key, claim, ttl, now_us, newest_version))

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        return self._sync.send(self._requests.renew(key, claim, ttl, now_us, binding))

    def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Coming[Decision]:
        return self._async.send(self._requests.renew(key, claim, ttl, now_us, binding))

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        return self._sync.send(self._requests.revoke(key, claim, ttl, now_us))

    def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Coming[Verdict]:
        return self._async.send(self._requests.revoke(key, claim, ttl, now_us))

    # Looking after what is stored.

    async def acleanup_expired(self) -> int:
        return self.cleanup_expired()

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Return a page in the order of SCAN; it may be short and still not the last."""
        return self._sync.run(self._listing(prefix, cursor, limit), "listing")

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        return await self._async.run(self._listing(prefix, cursor, limit), "listing")

    def count(self) -> int:
        return self._sync.run(partial(listing.count_entries, keys=self._keys), "count")

    async def acount(self) -> int:
        return await self._async.run(partial(listing.count_entries, keys=self._keys), "count")

    # For people who look into it.

    def browse(self, query: Query) -> Page:
        """Return a page in the order of SCAN, without any state."""
        return self._sync.run(self._browsing(query), "listing")

    async def abrowse(self, query: Query) -> Page:
        return await self._async.run(self._browsing(query), "listing")

    def sample(self, limit: int = 1000) -> Sample:
        """Return some snapshots of each node, and an estimate of the total from them."""
        return self._sync.run(partial(listing.sample, keys=self._keys, limit=limit), "listing")

    async def asample(self, limit: int = 1000) -> Sample:
        start = partial(listing.sample, keys=self._keys, limit=limit)
        return await self._async.run(start, "listing")

    def look_up(self, key: str) -> Entry | None:
        data = self.load(key)
        return listing.to_entry(key, data, self._sync.send(self._requests.time_left(key)))

    async def alook_up(self, key: str) -> Entry | None:
        data = await self.aload(key)
        return listing.to_entry(key, data, await self._async.send(self._requests.time_left(key)))

    # The journal. What writes it has a thread of its own.

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        for request in journal.additions(self._journal_key, incidents, limits):
            self._sync.send(request)

    def prune_incidents(self, limits: JournalLimits) -> int:
        return sum(map(self._sync.send, journal.removals(self._journal_key, limits)))

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        finding = journal.find(self._journal_key, query)
        reply: Any = None
        while not isinstance(request := journal.following(finding, reply), IncidentPage):
            reply = self._sync.send(request)
        return request

    async def alist_incidents(self, query: IncidentQuery) -> IncidentPage:
        finding = journal.find(self._journal_key, query)
        reply: Any = None
        while not isinstance(request := journal.following(finding, reply), IncidentPage):
            reply = await self._async.send(request)
        return request

    def close(self) -> None:
        """Close all connections but a cache's; later calls open new ones."""
        if "_sync" in vars(self):
            self._sync.close()
        self._async.close()

    def after_fork(self) -> None:
        """Forget the parent's connections."""
        if "_sync" in vars(self):
            self._sync.after_fork()
        self._async.after_fork()

    def _listing(self, prefix: str, cursor: str | None, limit: int) -> Start[EntryPage]:
        start = Cursor.parse(cursor)
        return partial(
            listing.list_entries, keys=self._keys, prefix=prefix, start=start, limit=limit
        )

    def _browsing(self, query: Query) -> Start[Page]:
        start = Cursor.parse(query.cursor)
        return partial(listing.browse, keys=self._keys, query=query, start=start)

    def _make_async_client(self) -> AsyncClient:
        return AsyncClient(self._topology, self._write_options, self._limits)

    @cached_property
    def _topology(self) -> Topology:
        # A cache is looked up late: Django may not have all its settings yet.
        return self._configured or topology_of_pool(self._alias_pool)

    @cached_property
    def _sync(self) -> SyncClient:
        return SyncClient(self._topology, self._write_options, self._limits, pool=self._alias_pool)

    @cached_property
    def _alias_pool(self) -> Any:
        return None if self.cache is None else pool_of_alias(self.cache)
