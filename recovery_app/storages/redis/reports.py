"""The reports of processes on Redis: a string each, which expires, and a sorted set of them.

The names have a hash tag in common, so one node of a Cluster has them all, and one command reads
several.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from recovery_app.clock import Clock, to_us
from recovery_app.storages.redis.journal import following
from recovery_app.storages.redis.loop_clients import LoopClients
from recovery_app.storages.redis.requests import CommandSpec, Request
from recovery_app.storages.redis.sync_client import SyncClient
from recovery_app.storages.reports import MAX_REPORTS, ReportCalls

CHUNK = 20
"""How many reports are read at once."""

# Not as writes: no replica has to have a report before the next one.
SET = CommandSpec(name="SET", operation="report", writes=False)
ADD = CommandSpec(name="ZADD", operation="report", writes=False)
EXPIRE = CommandSpec(name="PEXPIRE", operation="report", writes=False)
REMOVE_BY_RANK = CommandSpec(name="ZREMRANGEBYRANK", operation="report", writes=False)
REMOVE_BY_AGE = CommandSpec(name="ZREMRANGEBYSCORE", operation="report", writes=False)
FIND = CommandSpec(name="ZRANGE", operation="listing", writes=False)
READ = CommandSpec(name="MGET", operation="listing", writes=False)


class ReportKeys:
    """The names of the keys, which no listing of snapshots takes for one of them."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.index = f"{prefix}reports:{{reports}}".encode()

    def report(self, uid: str) -> bytes:
        """Return the name of one report."""
        return f"{self._prefix}report:{uid}{{reports}}".encode()


class RedisReports(ReportCalls):
    """The calls for reports, on the clients of a `RedisStorage`. What writes has its own thread."""

    supports_reports = True

    clock: Clock
    _async: LoopClients
    _report_keys: ReportKeys
    if TYPE_CHECKING:

        @property
        def _sync(self) -> SyncClient: ...

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        for request in additions(self._report_keys, uid, data, ttl=ttl, now=self.clock()):
            self._sync.send(request)

    def list_reports(self) -> list[bytes]:
        finding, reply = find(self._report_keys), None
        while isinstance(request := following(finding, reply), Request):
            reply = self._sync.send(request)
        return request

    async def alist_reports(self) -> list[bytes]:
        finding, reply = find(self._report_keys), None
        while isinstance(request := following(finding, reply), Request):
            reply = await self._async.send(request)
        return request


def additions(
    keys: ReportKeys, uid: str, data: bytes, *, ttl: float, now: float
) -> Iterator[Request[Any]]:
    """Yield the requests that store a report, and forget those that have expired."""
    ttl_ms = max(1, round(ttl * 1000))
    yield Request(SET, keys.report(uid), (data, "PX", ttl_ms), len(data))
    yield Request(ADD, keys.index, (to_us(now + ttl), uid))
    yield Request(REMOVE_BY_AGE, keys.index, ("-inf", to_us(now)))
    yield Request(REMOVE_BY_RANK, keys.index, (0, -MAX_REPORTS - 1))
    yield Request(EXPIRE, keys.index, (ttl_ms,))


def find(keys: ReportKeys) -> Generator[Request[Any], Any, list[bytes]]:
    """Return all reports: yield each request, to be sent its reply."""
    uids: list[bytes] = yield Request(FIND, keys.index, (0, -1))
    names = [keys.report(uid.decode()) for uid in uids]
    found: list[bytes | None] = []
    for start in range(0, len(names), CHUNK):
        first, *others = names[start : start + CHUNK]
        found += yield Request(READ, first, tuple(others))
    return [data for data in found if data is not None]
