"""Own the contract that every storage keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import ClassVar, TypeVar

from recovery_app.clock import Clock
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
from recovery_app.storages.browsing import describe_prefix
from recovery_app.storages.thread_pool import ThreadPool
from recovery_app.values import Page, Query, Sample, SnapshotInfo

DEFAULT_THREADS = 16
MAX_LOOKED_AT = 5000
"""After so many snapshots a search gives out what it has, for the next page to go on."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored value as a listing shows it; ``expires_in`` in seconds, below 0 when past."""

    key: str
    data: bytes = field(repr=False)
    expires_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Some entries, and where the next page starts (``None`` after the last)."""

    entries: list[Entry]
    next_cursor: str | None = None


class Storage:
    """Keep bytes under keys for some seconds.

    A storage of your own needs `save`, `load` and `delete`. All else has a default: the
    fenced steps look and then write (`supports_atomic_fence` says that this isn't one
    step), the asynchronous twins run on a small pool of threads, and a listing is refused.
    A failure of what is behind the storage is raised as `StorageUnavailable` or another
    `StorageError`, never told as "not there".
    """

    supports_atomic_fence: ClassVar[bool] = False
    """The fenced steps can't be interleaved with another."""
    supports_listing: bool = False
    """`list_entries` and `count` work."""
    supports_native_async: ClassVar[bool] = False
    """The asynchronous twins take no thread."""
    expires_by_itself: ClassVar[bool] = False
    """What has expired goes without `cleanup_expired`."""
    keeps_expired: ClassVar[bool] = False
    """`browse` can give what has expired and waits for a clean-up."""
    sortable_by: ClassVar[frozenset[str]] = frozenset()
    """The fields of `SnapshotInfo` by which `browse` can sort."""
    is_shared: ClassVar[bool] = True
    """What one process stores, the others find."""

    clock: Clock = staticmethod(time.time)
    threads: int = DEFAULT_THREADS
    """How many blocking calls the asynchronous twins make at once."""

    # What every storage must have.

    def save(self, key: str, data: bytes, ttl: float) -> None:
        """Store ``data`` for ``ttl`` seconds, whatever was there."""
        raise NotImplementedError(f"{type(self).__name__} needs a save(key, data, ttl).")

    def load(self, key: str) -> bytes | None:
        """Give what is stored and hasn't expired, or ``None``."""
        raise NotImplementedError(f"{type(self).__name__} needs a load(key).")

    def delete(self, key: str) -> bool:
        """Remove what is stored; say whether there was something."""
        raise NotImplementedError(f"{type(self).__name__} needs a delete(key).")

    # The fenced steps: each is one atomic step where `supports_atomic_fence` says so.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        """Store a snapshot's bytes unless a newer token, or another binding, holds the key."""
        return self._step(key, ttl, lambda stored: decide_save(stored, data)).verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        """Restart the time to live, unless the claim is fenced."""
        return self._step(key, ttl, lambda stored: decide_touch(stored, claim)).verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        """Raise the fence for a new connection and give the bytes, with that fence in them."""
        decide = partial(decide_takeover, claim=claim, now_us=now_us, newest_version=newest_version)
        return self._step(key, ttl, decide)

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        """Raise the fence for the same connection and bind the snapshot to ``binding``."""
        decide = partial(decide_renewal, claim=claim, now_us=now_us, binding=binding)
        return self._step(key, ttl, decide)

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        """Put a marker without state in the snapshot's place, for ``ttl`` seconds."""
        decide = partial(decide_revocation, claim=claim, now_us=now_us)
        return self._step(key, ttl, decide).verdict

    def exclusive(self) -> AbstractContextManager[object]:
        """Give what is held while a fenced step looks and writes; by default nothing."""
        return nullcontext()

    # Looking after what is stored.

    def cleanup_expired(self) -> int:
        """Remove what has expired; say how many."""
        return 0

    def cleanup_batches(self, size: int) -> Iterator[int]:
        """Remove what has expired, about ``size`` in one step; give the number of each step.

        Between two steps nothing is held that others wait for. By default it is one step.
        """
        yield self.cleanup_expired()

    def count_expired(self) -> int:
        """Say how much has expired and is still there."""
        raise StorageError(f"{type(self).__name__} can't count what has expired.")

    def estimate_count(self) -> int | None:
        """Say about how many live entries there are; ``None`` where that isn't cheap to know."""
        return None

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Give a page of live snapshots whose socket ids start with ``prefix``."""
        raise StorageError(f"{type(self).__name__} can't list what it holds.")

    def count(self) -> int:
        """Say how many live entries there are."""
        raise StorageError(f"{type(self).__name__} can't count what it holds.")

    # For people who look into it.

    def browse(self, query: Query) -> Page:
        """Give a page of what somebody wants to see, after a bounded amount of work.

        A search gives whole pages of `list_entries`, so it may give more than the limit.
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
        """Give some live snapshots and how many there are, after a bounded amount of work."""
        page = self.list_entries(limit=limit)
        items = [describe(entry) for entry in page.entries]
        return Sample(items=items, total=len(items) if page.next_cursor is None else self.count())

    def look_up(self, key: str) -> Entry | None:
        """Give what is stored, expired too where it is still there, and a marker as well.

        ``expires_in`` is not a number where the storage can't tell.
        """
        data = self.load(key)
        return None if data is None else Entry(key=key, data=data, expires_in=math.nan)

    def close(self) -> None:
        """Let go of threads and connections; a later call takes new ones."""
        self._pool.close()

    # The asynchronous twins.

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call without blocking the event loop: on one of the threads."""
        return await self._pool.run(partial(self.on_thread, call))

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make a call on a thread of ours, with what care the storage's connections need."""
        return call()

    def leave_thread(self) -> None:
        """Let go of what the calling thread, one of ours, holds: it ends now."""

    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        """Do as `save`, without blocking the event loop."""
        await self.run(partial(self.save, key, data, ttl))

    async def aload(self, key: str) -> bytes | None:
        """Do as `load`, without blocking the event loop."""
        return await self.run(partial(self.load, key))

    async def adelete(self, key: str) -> bool:
        """Do as `delete`, without blocking the event loop."""
        return await self.run(partial(self.delete, key))

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        """Do as `save_fenced`, without blocking the event loop."""
        return await self.run(partial(self.save_fenced, key, data, ttl))

    async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        """Do as `touch_fenced`, without blocking the event loop."""
        return await self.run(partial(self.touch_fenced, key, claim, ttl))

    async def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        """Do as `take_over`, without blocking the event loop."""
        return await self.run(
            partial(self.take_over, key, claim, ttl, now_us=now_us, newest_version=newest_version)
        )

    async def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Decision:
        """Do as `renew`, without blocking the event loop."""
        return await self.run(partial(self.renew, key, claim, ttl, now_us=now_us, binding=binding))

    async def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        """Do as `revoke`, without blocking the event loop."""
        return await self.run(partial(self.revoke, key, claim, ttl, now_us=now_us))

    async def acleanup_expired(self) -> int:
        """Do as `cleanup_expired`, without blocking the event loop."""
        return await self.run(self.cleanup_expired)

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        """Do as `list_entries`, without blocking the event loop."""
        return await self.run(partial(self.list_entries, prefix=prefix, cursor=cursor, limit=limit))

    async def acount(self) -> int:
        """Do as `count`, without blocking the event loop."""
        return await self.run(self.count)

    async def abrowse(self, query: Query) -> Page:
        """Do as `browse`, without blocking the event loop."""
        return await self.run(partial(self.browse, query))

    async def asample(self, limit: int = 1000) -> Sample:
        """Do as `sample`, without blocking the event loop."""
        return await self.run(partial(self.sample, limit))

    async def alook_up(self, key: str) -> Entry | None:
        """Do as `look_up`, without blocking the event loop."""
        return await self.run(partial(self.look_up, key))

    async def acount_expired(self) -> int:
        """Do as `count_expired`, without blocking the event loop."""
        return await self.run(self.count_expired)

    async def aestimate_count(self) -> int | None:
        """Do as `estimate_count`, without blocking the event loop."""
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


def describe(entry: Entry) -> SnapshotInfo:
    """Tell what a listing shows of a stored value, readable or not."""
    return describe_prefix(entry.key, entry.data, len(entry.data), entry.expires_in)
