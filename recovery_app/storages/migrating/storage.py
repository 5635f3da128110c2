"""The public class of the storage that moves snapshots from one storage to another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.checks import CheckMessage

from recovery_app.clock import Clock
from recovery_app.exceptions import StorageError
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.snapshots import is_marker
from recovery_app.storages.base import Entry, EntryPage, Result, Storage
from recovery_app.storages.migrating import listing
from recovery_app.storages.migrating.finding import Remaining
from recovery_app.storages.migrating.flows import arun, run
from recovery_app.storages.migrating.journal import MigratingJournal
from recovery_app.storages.migrating.messages import NewMessageLogs
from recovery_app.storages.migrating.moving import InRace
from recovery_app.storages.migrating.reports import MigratingReports
from recovery_app.storages.migrating.steps import Steps
from recovery_app.storages.migrating.tombstones import fence_of, read_held
from recovery_app.storages.system_checks import check_old_storage
from recovery_app.values import (
    Incident,
    IncidentPage,
    IncidentQuery,
    JournalLimits,
    Page,
    Query,
    Sample,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The result of a batch: how many snapshots were moved, and how many couldn't be."""

    moved: int = 0
    left: int = 0


class MigratingStorage(NewMessageLogs, MigratingReports, Storage):
    """Snapshots in ``new``, to which each moves from ``old`` when it is first used.

    Pages stay open while a site moves, and for a while some processes may know only ``old``.
    Whatever happens at the same time, nobody gets an older state, and saves of an older connection
    are refused in both storages. See ``docs/moving.md``.
    """

    storage_options = frozenset(("new", "old"))

    def __init__(self, new: Storage, old: Storage, *, clock: Clock = time.time) -> None:
        for name, storage in (("new", new), ("old", old)):
            if isinstance(storage, MigratingStorage):
                raise ValueError(f"{name} is a MigratingStorage; end that move first.")
        if new is old:
            raise ValueError("new and old are the same storage.")
        self.new = new
        self.old = old
        self.clock = clock
        self.supports_atomic_fence = new.supports_atomic_fence and old.supports_atomic_fence
        self.supports_native_async = new.supports_native_async and old.supports_native_async
        self.expires_by_itself = new.expires_by_itself and old.expires_by_itself
        self.keeps_expired = new.keeps_expired and old.keeps_expired
        self.supports_listing = new.supports_listing
        self.supports_journal = new.supports_journal
        self.supports_reports = new.supports_reports
        self.is_shared = new.is_shared
        self.supports_groups = new.supports_groups
        self.supports_group_listing = new.supports_group_listing
        self._journal = MigratingJournal(new, old)
        self._steps = Steps(new, old, clock)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        run(self._steps.save(key, data, ttl))

    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        await arun(self._steps.save(key, data, ttl))

    def load(self, key: str) -> bytes | None:
        return run(self._steps.load(key))

    async def aload(self, key: str) -> bytes | None:
        return await arun(self._steps.load(key))

    def delete(self, key: str) -> bool:
        return run(self._steps.delete(key))

    async def adelete(self, key: str) -> bool:
        return await arun(self._steps.delete(key))

    # The fenced steps.

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        if self._steps.is_settled(key):
            return self.new.save_fenced(key, data, ttl)
        return run(self._steps.save_fenced(key, data, ttl))

    def asave_fenced(self, key: str, data: bytes, ttl: float) -> Coroutine[Any, Any, Verdict]:
        if self._steps.is_settled(key):
            return self.new.asave_fenced(key, data, ttl)
        return arun(self._steps.save_fenced(key, data, ttl))

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        return run(self._steps.touch_fenced(key, claim, ttl))

    async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        return await arun(self._steps.touch_fenced(key, claim, ttl))

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        options: dict[str, Any] = {"now_us": now_us, "newest_version": newest_version}
        return run(self._steps.take_over(key, claim, ttl, **options))

    async def atake_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        options: dict[str, Any] = {"now_us": now_us, "newest_version": newest_version}
        return await arun(self._steps.take_over(key, claim, ttl, **options))

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        return run(self._steps.renew(key, claim, ttl, now_us=now_us, binding=binding))

    async def arenew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Decision:
        return await arun(self._steps.renew(key, claim, ttl, now_us=now_us, binding=binding))

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        return run(self._steps.revoke(key, claim, ttl, now_us=now_us))

    async def arevoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        return await arun(self._steps.revoke(key, claim, ttl, now_us=now_us))

    # The move.

    def remaining(self) -> Remaining:
        """Return what is only in the old storage; raise `StorageError` if it can't list."""
        return run(listing.remaining(self._steps))

    async def aremaining(self) -> Remaining:
        """Return what `remaining` returns, without blocking the event loop."""
        return await arun(listing.remaining(self._steps))

    def migrate_batches(self, size: int, *, ttl: float) -> Iterator[Migrated]:
        """Move everything that the old storage can list, yielding a result for about ``size`` each.

        ``ttl`` is the new lifetime of snapshots whose remaining time the old storage doesn't know.
        """
        cursor: str | None = None
        while True:
            page = self.old.list_entries(cursor=cursor, limit=size)
            results = [self._migrate(entry, ttl) for entry in page.entries]
            yield Migrated(moved=results.count(True), left=results.count(False))
            cursor = page.next_cursor
            if cursor is None:
                return

    def _migrate(self, entry: Entry, ttl: float) -> bool | None:
        """Return whether a snapshot is moved now, or ``None`` if there was none to move."""
        data = read_held(entry.data).data
        if data is None or is_marker(data):
            return None
        if fence_of(data) is None:
            return False
        seconds = ttl if math.isnan(entry.expires_in) else entry.expires_in
        if seconds <= 0:
            return None
        try:
            return run(self._steps.bring(entry.key, seconds, self._steps.now_us()))
        except InRace:
            return False

    # Looking after what is stored.

    def cleanup_expired(self) -> int:
        return run(listing.cleanup_expired(self._steps))

    async def acleanup_expired(self) -> int:
        return await arun(listing.cleanup_expired(self._steps))

    def cleanup_batches(self, size: int) -> Iterator[int]:
        yield from self.new.cleanup_batches(size)
        yield from self.old.cleanup_batches(size)

    def count_expired(self) -> int:
        return run(listing.count_expired(self._steps))

    async def acount_expired(self) -> int:
        return await arun(listing.count_expired(self._steps))

    def estimate_count(self) -> int | None:
        return run(listing.estimate_count(self._steps))

    async def aestimate_count(self) -> int | None:
        return await arun(listing.estimate_count(self._steps))

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        return run(listing.list_entries(self._steps, prefix, cursor, limit))

    async def alist_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        return await arun(listing.list_entries(self._steps, prefix, cursor, limit))

    def count(self) -> int:
        return run(listing.count(self._steps))

    async def acount(self) -> int:
        return await arun(listing.count(self._steps))

    def browse(self, query: Query) -> Page:
        """Return a page in the order of each storage, the new one's first."""
        return run(listing.browse(self._steps, query))

    async def abrowse(self, query: Query) -> Page:
        return await arun(listing.browse(self._steps, query))

    def sample(self, limit: int = 1000) -> Sample:
        return run(listing.sample(self._steps, limit))

    async def asample(self, limit: int = 1000) -> Sample:
        return await arun(listing.sample(self._steps, limit))

    def look_up(self, key: str) -> Entry | None:
        return run(self._steps.describe(key))

    async def alook_up(self, key: str) -> Entry | None:
        return await arun(self._steps.describe(key))

    # The journal.

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        self._journal.add(incidents, limits)

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        return self._journal.page(query)

    async def alist_incidents(self, query: IncidentQuery) -> IncidentPage:
        return await self._journal.apage(query)

    def prune_incidents(self, limits: JournalLimits) -> int:
        return self._journal.prune(limits)

    def on_thread(self, call: Callable[[], Result]) -> Result:
        return self.new.on_thread(partial(self.old.on_thread, call))

    def leave_thread(self) -> None:
        self.new.leave_thread()
        self.old.leave_thread()

    def close(self) -> None:
        super().close()
        self.new.close()
        self.old.close()

    def check(self) -> list[CheckMessage]:
        return [*self.new.check(), *self.old.check(), *check_old_storage(self.old)]

    async def aexplain_losses(self) -> str:
        """Return the explanations of both storages."""
        told = [await each.aexplain_losses() for each in (self.new, self.old)]
        return "; ".join(filter(None, told))

    def check_server(self) -> list[CheckMessage]:
        messages = []
        for storage in (self.new, self.old):
            try:
                messages += storage.check_server()
            except StorageError:
                # What the other one says is worth knowing all the same.
                continue
        return messages
