"""The contract of storages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageError
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_renewal,
    decide_revocation,
    decide_save,
    decide_takeover,
    decide_touch,
)
from recovery_app.storages.browsing import Entry, EntryPage, describe
from recovery_app.storages.group_listing import GroupListing
from recovery_app.storages.journal import JournalCalls
from recovery_app.storages.messages import MessageLogs
from recovery_app.storages.reports import ReportCalls
from recovery_app.storages.thread_pool import ThreadPool
from recovery_app.values import Page, Query, Sample, SnapshotInfo

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

__all__ = ["MAX_LOOKED_AT", "Entry", "EntryPage", "Result", "Storage", "describe"]

DEFAULT_THREADS = 16
MAX_LOOKED_AT = 5000
"""How many snapshots a search reads for one page; the next page continues from there."""
Result = TypeVar("Result")


class Storage(MessageLogs, GroupListing, JournalCalls, ReportCalls):
    """A storage of bytes under keys, each for a number of seconds.

    A custom storage implements `save`, `load` and `delete`. Everything else has a default:
    the fenced steps load, decide and save (and `supports_atomic_fence` says that they aren't
    atomic), the async variants run on a small pool of threads, and listing isn't supported.

    Raise `StorageUnavailable`, or another `StorageError`, when the service behind the storage
    fails. Never report a failure as "nothing stored".
    """

    supports_atomic_fence: bool = False
    """Whether each fenced step is atomic."""
    supports_listing: bool = False
    """Whether `list_entries` and `count` work."""
    supports_native_async: bool = False
    """Whether the async variants need no thread."""
    expires_by_itself: bool = False
    """Whether expired values are removed without `cleanup_expired`."""
    keeps_expired: bool = False
    """Whether `browse` can list expired values that wait for a clean-up."""
    sortable_by: ClassVar[frozenset[str]] = frozenset()
    """The fields of `SnapshotInfo` by which `browse` can sort."""
    is_shared: bool = True
    """Whether other processes can read what this one stores."""
    storage_options: ClassVar[frozenset[str]] = frozenset()
    """The options that are storages themselves: in settings, dictionaries like ``STORAGE``."""

    clock: Clock = staticmethod(time.time)
    threads: int = DEFAULT_THREADS
    """The number of blocking calls that the async variants make at once."""

    # Plain bytes: what every storage implements.

    def save(self, key: str, data: bytes, ttl: float) -> None:
        """Store ``data`` for ``ttl`` seconds, replacing whatever is stored."""
        raise NotImplementedError(f"{type(self).__name__} needs a save(key, data, ttl).")

    def load(self, key: str) -> bytes | None:
        """Return the stored bytes, or ``None`` if there are none or they have expired."""
        raise NotImplementedError(f"{type(self).__name__} needs a load(key).")

    def delete(self, key: str) -> bool:
        """Remove what is stored and return whether there was anything that hadn't expired."""
        raise NotImplementedError(f"{type(self).__name__} needs a delete(key).")

    # The fenced steps, each decided by a function of `recovery_app.fencing`.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        """Store a snapshot unless a newer token, or another binding, holds the key.

        ``data`` are the bytes of a snapshot; its fence is the timestamp of the caller's token.
        """
        decide = partial(decide_save, data=data, now_us=to_us(self.clock()))
        return self._step(key, ttl, decide).verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        """Restart the TTL, unless the claim is refused."""
        decide = partial(decide_touch, claim=claim, now_us=to_us(self.clock()))
        return self._step(key, ttl, decide).verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        """Raise the fence for a new connection and return the bytes with the new fence.

        ``now_us`` is in microseconds since 1970. A state whose version is above
        ``newest_version`` is left as it is.
        """
        decide = partial(decide_takeover, claim=claim, now_us=now_us, newest_version=newest_version)
        return self._step(key, ttl, decide)

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        """Raise the fence for the same connection and bind the snapshot to ``binding``.

        ``binding`` is a digest of 16 bytes, as in `Claim`.
        """
        decide = partial(decide_renewal, claim=claim, now_us=now_us, binding=binding)
        return self._step(key, ttl, decide)

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        """Replace the snapshot by a marker without state for ``ttl`` seconds."""
        decide = partial(decide_revocation, claim=claim, now_us=now_us)
        return self._step(key, ttl, decide).verdict

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a context manager that a fenced step enters to load and save, such as a lock."""
        return nullcontext()

    # Clean-up and listing.

    def cleanup_expired(self) -> int:
        """Remove expired values and return their number."""
        return 0

    def cleanup_batches(self, size: int) -> Iterator[int]:
        """Remove expired values in steps of about ``size``, yielding the number of each.

        No lock is held between two steps. The default is a single step.
        """
        yield self.cleanup_expired()

    def count_expired(self) -> int:
        """Return the number of expired values that are still there."""
        raise StorageError(f"{type(self).__name__} can't count expired snapshots.")

    def estimate_count(self) -> int | None:
        """Return roughly the number of live entries, or ``None`` if that would be expensive."""
        return None

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Return a page of live snapshots whose socket ids start with ``prefix``.

        Markers of revoked snapshots are left out.
        """
        raise StorageError(f"{type(self).__name__} can't list its snapshots.")

    def count(self) -> int:
        """Return the number of live snapshots."""
        raise StorageError(f"{type(self).__name__} can't count its snapshots.")

    # For the admin.

    def browse(self, query: Query) -> Page:
        """Return a page of the snapshots that match a query, after a bounded amount of work.

        The default filters whole pages of `list_entries`, so a search may return more than
        the limit.
        """
        items: list[SnapshotInfo] = []
        looked_at, cursor = 0, query.cursor
        while True:
            page = self.list_entries(cursor=cursor, limit=query.limit)
            infos = [describe(entry) for entry in page.entries]
            items += filter(query.admits, infos)
            looked_at += len(infos)
            cursor = page.next_cursor
            if cursor is None or len(items) >= query.limit or looked_at >= MAX_LOOKED_AT:
                return Page(items=items, next_cursor=cursor, looked_at=looked_at)

    def sample(self, limit: int = 1000) -> Sample:
        """Return some live snapshots and their number, after a bounded amount of work."""
        page = self.list_entries(limit=limit)
        items = [describe(entry) for entry in page.entries]
        return Sample(items=items, total=len(items) if page.next_cursor is None else self.count())

    def look_up(self, key: str) -> Entry | None:
        """Return what is stored under a key, including markers and expired values.

        ``expires_in`` is NaN if the storage doesn't know it.
        """
        data = self.load(key)
        return None if data is None else Entry(key=key, data=data, expires_in=math.nan)

    def close(self) -> None:
        """Release threads and connections; a later call creates new ones."""
        self._pool.close()

    def check(self) -> list[CheckMessage]:
        """Return messages for Django's system checks about this storage and its settings."""
        return []

    def check_server(self) -> list[CheckMessage]:
        """Return messages about the server itself, for ``manage.py check --deploy``.

        An unreachable server isn't reported.
        """
        return []

    @classmethod
    def check_options(cls, options: Mapping[Any, Any]) -> list[CheckMessage]:
        """Return messages about ``OPTIONS`` with which the storage can't be built."""
        return []

    # The async variants.

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call on one of the threads and return its result."""
        return await self._pool.run(partial(self.on_thread, call))

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make a call on a thread of the pool; override it to manage connections."""
        return call()

    async def aexplain_losses(self) -> str:
        """Return why snapshots may have been lost, according to the server; empty if unknown.

        It is called when a page's snapshot isn't found. The log and the journal show the text.
        """
        return (
            ""
            if self.is_shared
            else f"{type(self).__name__} keeps only the snapshots of this process"
        )

    def leave_thread(self) -> None:
        """Release the resources of the calling thread of the pool, just before it ends."""

    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        """Store as `save` does, without blocking the event loop."""
        await self.run(partial(self.save, key, data, ttl))

    async def aload(self, key: str) -> bytes | None:
        """Return what `load` returns, without blocking the event loop."""
        return await self.run(partial(self.load, key))

    async def adelete(self, key: str) -> bool:
        """Return what `delete` returns, without blocking the event loop."""
        return await self.run(partial(self.delete, key))

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        """Return what `save_fenced` returns, without blocking the event loop."""
        return await self.run(partial(self.save_fenced, key, data, ttl))

    async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        """Return what `touch_fenced` returns, without blocking the event loop."""
        return await self.run(partial(self.touch_fenced, key, claim, ttl))

    async def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        """Return what `take_over` returns, without blocking the event loop."""
        return await self.run(
            partial(self.take_over, key, claim, ttl, now_us=now_us, newest_version=newest_version)
        )

    async def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Decision:
        """Return what `renew` returns, without blocking the event loop."""
        return await self.run(partial(self.renew, key, claim, ttl, now_us=now_us, binding=binding))

    async def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        """Return what `revoke` returns, without blocking the event loop."""
        return await self.run(partial(self.revoke, key, claim, ttl, now_us=now_us))

    async def acleanup_expired(self) -> int:
        """Return what `cleanup_expired` returns, without blocking the event loop."""
        return await self.run(self.cleanup_expired)

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Return what `list_entries` returns, without blocking the event loop."""
        return await self.run(partial(self.list_entries, prefix=prefix, cursor=cursor, limit=limit))

    async def acount(self) -> int:
        """Return what `count` returns, without blocking the event loop."""
        return await self.run(self.count)

    async def abrowse(self, query: Query) -> Page:
        """Return what `browse` returns, without blocking the event loop."""
        return await self.run(partial(self.browse, query))

    async def asample(self, limit: int = 1000) -> Sample:
        """Return what `sample` returns, without blocking the event loop."""
        return await self.run(partial(self.sample, limit))

    async def alook_up(self, key: str) -> Entry | None:
        """Return what `look_up` returns, without blocking the event loop."""
        return await self.run(partial(self.look_up, key))

    async def acount_expired(self) -> int:
        """Return what `count_expired` returns, without blocking the event loop."""
        return await self.run(self.count_expired)

    async def aestimate_count(self) -> int | None:
        """Return what `estimate_count` returns, without blocking the event loop."""
        return await self.run(self.estimate_count)

    @cached_property
    def _pool(self) -> ThreadPool:
        return ThreadPool(self.threads, at_end=self.leave_thread)

    def _step(self, key: str, ttl: float, decide: Callable[[bytes | None], Decision]) -> Decision:
        with self.exclusive():
            decision = decide(self.load(key))
            if decision.verdict is Verdict.DONE and decision.data is not None:
                self.save(key, decision.data, ttl)
            return decision
