"""Storages that are broken in one way each, for the tests of the contract."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from recovery_app.exceptions import StorageError
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.storages import Entry, EntryPage, MemoryStorage, Storage
from recovery_app.testing import ManualClock
from recovery_app.values import GroupPage, LoggedMessage, Page, Query
from tests.core.support import OwnStorage


class ForgetsTheTTL(OwnStorage):
    def load(self, key: str) -> bytes | None:
        return self._stored.get(key, (None, 0))[0]


class CountsTheTTLFromTheFirstSave(OwnStorage):
    def save(self, key: str, data: bytes, ttl: float) -> None:
        before = self._stored.get(key) if self.load(key) is not None else None
        self._stored[key] = data, before[1] if before else self.clock() + ttl


class AnswersWithAnotherType(OwnStorage):
    def load(self, key: str) -> Any:
        data = super().load(key)
        return None if data is None else bytearray(data)


class CutsAtAZero(OwnStorage):
    def save(self, key: str, data: bytes, ttl: float) -> None:
        super().save(key, data.partition(b"\0")[0], ttl)


class CutsWhatIsLarge(OwnStorage):
    def save(self, key: str, data: bytes, ttl: float) -> None:
        super().save(key, data[:65536], ttl)


class KnowsOneKey(OwnStorage):
    def save(self, key: str, data: bytes, ttl: float) -> None:
        super().save("key", data, ttl)

    def load(self, key: str) -> bytes | None:
        return super().load("key")

    def delete(self, key: str) -> bool:
        return super().delete("key")


class DeletesWithoutAWord(OwnStorage):
    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


class NeverDeletes(OwnStorage):
    def delete(self, key: str) -> bool:
        return self.load(key) is not None


class SavesWithoutAFence(OwnStorage):
    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        self.save(key, data, ttl)
        return Verdict.DONE


class TouchesForAnybody(OwnStorage):
    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        data = self.load(key)
        if data is None:
            return Verdict.NOT_FOUND
        self.save(key, data, ttl)
        return Verdict.DONE


class TouchesNothing(OwnStorage):
    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        before = self._stored.get(key)
        verdict = super().touch_fenced(key, claim, ttl)
        if before is not None:
            self._stored[key] = before
        return verdict


class TakesOverWithoutRaisingTheFence(OwnStorage):
    def take_over(self, key: str, claim: Claim, ttl: float, **facts: Any) -> Decision:
        before = self._stored.get(key)
        decision = super().take_over(key, claim, ttl, **facts)
        if before is not None:
            self._stored[key] = before
        return decision


class TakesOverAnyVersion(OwnStorage):
    def take_over(self, key: str, claim: Claim, ttl: float, **facts: Any) -> Decision:
        return super().take_over(key, claim, ttl, now_us=facts["now_us"], newest_version=None)


class RenewsWithoutBinding(OwnStorage):
    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        return super().renew(key, claim, ttl, now_us=now_us, binding=claim.binding)


class RevokesByDeleting(OwnStorage):
    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        self.delete(key)
        return Verdict.DONE


class RestartsTheTTLOfTheRefused(OwnStorage):
    def _step(self, key: str, ttl: float, decide: Callable[[bytes | None], Decision]) -> Decision:
        data = self.load(key)
        decision = super()._step(key, ttl, decide)
        if decision.verdict is not Verdict.DONE and data is not None:
            self.save(key, data, ttl)
        return decision


class ForgetsToAwait(OwnStorage):
    async def asave(self, key: str, data: bytes, ttl: float) -> None:
        pass


class AsyncDecidesOtherwise(OwnStorage):
    async def atouch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        return Verdict.DONE


class KeepsEachLoopApart(OwnStorage):
    async def aload(self, key: str) -> bytes | None:
        raise RuntimeError("attached to a different loop")


class ClosesForGood(OwnStorage):
    is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True

    def load(self, key: str) -> bytes | None:
        if self.is_closed:
            raise StorageError("It is closed.")
        return super().load(key)


class ClaimsToBeAtomic(OwnStorage):
    supports_atomic_fence = True

    def load(self, key: str) -> bytes | None:
        data = super().load(key)
        time.sleep(0.001)
        return data


class ClaimsToList(OwnStorage):
    supports_listing = True


class Listing(MemoryStorage):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)


class ListsOnePageOnly(Listing):
    def list_entries(self, **query: Any) -> EntryPage:
        return EntryPage(entries=super().list_entries(**query).entries)


class ListsTheFirstPageAgain(Listing):
    def list_entries(self, *, cursor: str | None = None, **query: Any) -> EntryPage:
        page = super().list_entries(**query)
        return page if cursor is None else EntryPage(entries=page.entries)


class ListsMarkers(Listing):
    def list_entries(self, **query: Any) -> EntryPage:
        page = super().list_entries(**query)
        seen = {entry.key for entry in page.entries}
        for key in "abcd":
            data = self.load(key)
            if data is not None and key not in seen:
                page.entries.append(Entry(key=key, data=data, expires_in=1))
        return page


class IgnoresThePrefix(Listing):
    def list_entries(self, *, prefix: str = "", **query: Any) -> EntryPage:
        return super().list_entries(**query)


class CountsTwice(Listing):
    def count(self) -> int:
        return 2 * super().count()


class IgnoresTheView(Listing):
    def browse(self, query: Query) -> Page:
        return super().browse(
            Query(prefix=query.prefix, cursor=query.cursor, limit=query.limit, order=query.order)
        )


class SortsNothing(Listing):
    def browse(self, query: Query) -> Page:
        return super().browse(
            Query(prefix=query.prefix, view=query.view, expired=query.expired, limit=100)
        )


class CleansUpWhatIsLive(Listing):
    def cleanup_expired(self) -> int:
        removed = super().cleanup_expired()
        for entry in self.list_entries().entries:
            self.delete(entry.key)
        return removed


class CleansUpNothing(Listing):
    def cleanup_expired(self) -> int:
        return 0


class ListsOneGroupAgain(Listing):
    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        page = super().list_groups(prefix=prefix, cursor=cursor, limit=limit + 1)
        items = page.items
        return GroupPage(
            items=items[:limit], next_cursor=items[-2].name if len(items) > limit > 1 else None
        )


class FindsGroupsInAnyCase(Listing):
    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        page = super().list_groups(prefix="", cursor=cursor, limit=100)
        low = prefix.lower()
        return GroupPage(items=[each for each in page.items if each.name.lower().startswith(low)])


class CountsGroupsAsCursors(Listing):
    def list_groups(self, *, prefix: str, cursor: str | None, limit: int) -> GroupPage:
        names = [each.name for each in super().list_groups(prefix="", cursor=None, limit=99).items]
        start = int(cursor or 0)
        found = [each for each in map(self.describe_group, names[start : start + limit]) if each]
        more = len(names) > start + limit
        return GroupPage(items=found, next_cursor=str(start + limit) if more else None)


class ShowsTheOldestFirst(Listing):
    def last_messages(self, group: str, limit: int) -> list[LoggedMessage]:
        return super().last_messages(group, limit)[::-1]


class BeginsALogForWhoeverLooks(Listing):
    def count_behind(self, group: str, position: str) -> int | None:
        self.newest_position(group)
        return super().count_behind(group, position)


class EmptiesWhatIsDeleted(Listing):
    def delete_group(self, group: str) -> bool:
        is_there = super().delete_group(group)
        self.newest_position(group)
        return is_there


class KeepsTheFirstReport(Listing):
    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        if not self.list_reports():
            super().put_report(uid, data, ttl)


class KeepsReportsForEver(Listing):
    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        super().put_report(uid, data, 10**9)


class TakesReportsForSnapshots(Listing):
    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        super().put_report(uid, data, ttl)
        self.save(uid, data, ttl)


BROKEN: dict[type[Storage], str] = {
    ForgetsTheTTL: "values_expire_after_their_ttl",
    CountsTheTTLFromTheFirstSave: "save_restarts_the_ttl",
    AnswersWithAnotherType: "load_returns_what_save_stored",
    CutsAtAZero: "load_returns_what_save_stored",
    CutsWhatIsLarge: "large_values_fit",
    KnowsOneKey: "load_returns_what_save_stored",
    DeletesWithoutAWord: "delete_removes_one_value",
    NeverDeletes: "delete_removes_one_value",
    SavesWithoutAFence: "save_fenced_decides_by_the_rules",
    TouchesForAnybody: "touch_fenced_decides_by_the_rules",
    TouchesNothing: "a_touch_restarts_the_ttl",
    TakesOverWithoutRaisingTheFence: "take_over_decides_by_the_rules",
    TakesOverAnyVersion: "take_over_decides_by_the_rules",
    RenewsWithoutBinding: "renew_decides_by_the_rules",
    RevokesByDeleting: "revoke_decides_by_the_rules",
    RestartsTheTTLOfTheRefused: "refused_steps_change_nothing",
    ForgetsToAwait: "load_returns_what_save_stored",
    AsyncDecidesOtherwise: "touch_fenced_decides_by_the_rules",
    KeepsEachLoopApart: "several_event_loops_can_use_a_storage",
    ClosesForGood: "a_closed_storage_can_be_used_again",
    ClaimsToBeAtomic: "takeovers_in_threads_get_a_fence_each",
    ClaimsToList: "pages_show_each_snapshot_once",
    ListsOnePageOnly: "pages_show_each_snapshot_once",
    ListsTheFirstPageAgain: "pages_show_each_snapshot_once",
    ListsMarkers: "a_listing_leaves_out_markers",
    IgnoresThePrefix: "a_prefix_selects_by_socket_id",
    CountsTwice: "pages_show_each_snapshot_once",
    IgnoresTheView: "browsing_shows_what_a_query_asks_for",
    SortsNothing: "browsing_sorts_by_each_field",
    CleansUpWhatIsLive: "a_clean_up_removes_only_what_has_expired",
    CleansUpNothing: "a_clean_up_removes_only_what_has_expired",
    KeepsTheFirstReport: "the_last_report_of_each_process_is_kept",
    KeepsReportsForEver: "a_report_expires_unless_it_comes_again",
    TakesReportsForSnapshots: "a_report_is_no_snapshot",
    ListsOneGroupAgain: "pages_show_each_group_once",
    FindsGroupsInAnyCase: "a_prefix_selects_groups_by_name",
    CountsGroupsAsCursors: "a_cursor_stays_valid_when_its_group_is_deleted",
    ShowsTheOldestFirst: "a_group_shows_what_its_log_has",
    BeginsALogForWhoeverLooks: "what_is_behind_a_place_is_counted",
    EmptiesWhatIsDeleted: "a_deleted_group_is_gone_for_all",
}
"""What is broken, and the start of the name of a test that has to fail for it."""
