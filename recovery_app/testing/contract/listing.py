"""Contract tests of lists, counts, browsing and clean-up."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from recovery_app.exceptions import StorageError
from recovery_app.storages import Entry, Storage
from recovery_app.testing.contract.base import (
    KEY,
    Clock,
    ContractBase,
    claim_of,
    snapshot_bytes,
)
from recovery_app.values import Query, SnapshotInfo

KEYS = [f"{number:016x}" for number in range(7)]
SOCKET_IDS = ["one", "one more", "One", "100% sure", "\\one", "é", "e\u0301"]
PREFIXES = {
    "": set(SOCKET_IDS),
    "one": {"one", "one more"},
    "one ": {"one more"},
    "One": {"One"},
    "100%": {"100% sure"},
    "100_": set(),
    "\\": {"\\one"},
    "é": {"é"},
    "two": set(),
}


class ListingTests(ContractBase):
    """A listing shows each live snapshot once, and a clean-up removes what has expired."""

    def test_pages_show_each_snapshot_once(self, variant: Storage) -> None:
        self._require_listing(variant)
        self._fill(variant)
        found = self._entries(variant, limit=3)
        assert sorted(entry.key for entry in found) == KEYS
        assert {entry.key: entry.data for entry in found} == {
            key: snapshot_bytes(1, socket_id=socket_id)
            for key, socket_id in zip(KEYS, SOCKET_IDS, strict=True)
        }
        for entry in found:
            assert abs(entry.expires_in - self.ttl_seconds) <= self.margin_seconds
        assert variant.count() == len(KEYS)

    def test_a_cursor_stays_valid_when_its_entry_is_deleted(self, variant: Storage) -> None:
        self._require_listing(variant)
        self._fill(variant)
        page = variant.list_entries(limit=3)
        shown = {entry.key for entry in page.entries}
        for key in shown:
            variant.delete(key)
        rest = self._entries(variant, cursor=page.next_cursor) if page.next_cursor else []
        assert {entry.key for entry in rest} == set(KEYS) - shown

    def test_a_prefix_selects_by_socket_id(self, variant: Storage) -> None:
        self._require_listing(variant)
        self._fill(variant)
        by_key = dict(zip(KEYS, SOCKET_IDS, strict=True))
        for prefix, socket_ids in PREFIXES.items():
            found = self._entries(variant, prefix=prefix)
            assert sorted(by_key[entry.key] for entry in found) == sorted(socket_ids), prefix

    def test_a_listing_leaves_out_markers_and_what_has_expired(
        self, variant: Storage, clock: Clock
    ) -> None:
        self._require_listing(variant)
        ttl = self.ttl_seconds
        variant.save_fenced("a", snapshot_bytes(1), ttl / 2)
        variant.save_fenced("b", snapshot_bytes(1), ttl)
        variant.save_fenced("c", snapshot_bytes(1), ttl)
        variant.save("d", b"no snapshot", ttl)
        variant.revoke("c", claim_of(1), ttl, now_us=2)
        clock.advance(seconds=ttl / 2)
        found = {entry.key: entry.data for entry in self._entries(variant)}
        assert found == {"b": snapshot_bytes(1), "d": b"no snapshot"}
        assert variant.count() == 2
        estimate = variant.estimate_count()
        assert estimate is None or estimate >= 2

    def test_browsing_shows_what_a_query_asks_for(self, variant: Storage) -> None:
        self._require_listing(variant)
        for number, key in enumerate(KEYS):
            data = snapshot_bytes(1, socket_id=f"socket {number}", view=f"view {number % 2}")
            variant.save_fenced(key, data, self.ttl_seconds)
        everything = self._browse(variant)
        assert sorted(info.socket_hash for info in everything) == KEYS
        assert {info.socket_id for info in everything} == {f"socket {n}" for n in range(len(KEYS))}
        assert {info.size_bytes for info in everything} == {2}
        even = self._browse(variant, view="view 0")
        assert sorted(info.socket_hash for info in even) == KEYS[::2]
        one = self._browse(variant, prefix="socket 3")
        assert [info.socket_hash for info in one] == [KEYS[3]]

    def test_browsing_sorts_by_each_field_that_is_declared(self, variant: Storage) -> None:
        for field in sorted(variant.sortable_by):
            for number, key in enumerate(KEYS):
                rank = (number * 3) % len(KEYS)
                data = snapshot_bytes(
                    1,
                    b"x" * (rank + 1),
                    socket_id=f"socket {rank}",
                    view=f"view {rank}",
                    version=rank,
                    saved_us=(rank + 1) * 1_000_000,
                )
                variant.save(key, data, self.ttl_seconds + rank)
            rising = [getattr(info, field) for info in self._browse(variant, order=field)]
            falling = [getattr(info, field) for info in self._browse(variant, order=f"-{field}")]
            assert len(rising) == len(KEYS)
            assert rising == sorted(rising), field
            assert falling == sorted(falling, reverse=True), field

    def test_a_sample_knows_the_number_of_snapshots(self, variant: Storage) -> None:
        self._require_listing(variant)
        self._fill(variant)
        sample = variant.sample(100)
        assert sorted(info.socket_hash for info in sample.items) == KEYS
        assert sample.total == len(KEYS)

    def test_a_storage_that_cannot_list_raises_an_error(self, variant: Storage) -> None:
        if variant.supports_listing:
            pytest.skip("supports_listing is true")
        with pytest.raises(StorageError):
            variant.list_entries()
        with pytest.raises(StorageError):
            variant.count()

    def test_a_clean_up_removes_only_what_has_expired(self, variant: Storage, clock: Clock) -> None:
        for key in KEYS:
            variant.save(key, b"old", self.ttl_seconds)
        variant.save(KEY, b"live", 2 * self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds)
        removed = variant.cleanup_expired()
        assert removed >= 0
        assert variant.load(KEY) == b"live"
        if variant.keeps_expired:
            assert removed == len(KEYS)
            assert variant.count_expired() == 0
            assert variant.look_up(KEYS[0]) is None
        assert variant.cleanup_expired() == 0

    def test_a_clean_up_in_batches_removes_everything(self, storage: Storage, clock: Clock) -> None:
        if not storage.keeps_expired:
            pytest.skip("keeps_expired is false")
        for key in KEYS:
            storage.save(key, b"old", self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds)
        assert storage.count_expired() == len(KEYS)
        assert sum(storage.cleanup_batches(3)) == len(KEYS)
        assert storage.count_expired() == 0

    def test_expired_snapshots_can_be_browsed(self, variant: Storage, clock: Clock) -> None:
        if not variant.keeps_expired:
            pytest.skip("keeps_expired is false")
        variant.save_fenced(KEYS[0], snapshot_bytes(1), self.ttl_seconds)
        variant.save_fenced(KEYS[1], snapshot_bytes(1), 2 * self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds)
        expired = self._browse(variant, expired=True)
        assert [info.socket_hash for info in expired] == [KEYS[0]]
        live = self._browse(variant)
        assert [info.socket_hash for info in live] == [KEYS[1]]

    def _require_listing(self, storage: Storage) -> None:
        if not storage.supports_listing:
            pytest.skip("supports_listing is false")

    def _fill(self, variant: Storage) -> None:
        for key, socket_id in zip(KEYS, SOCKET_IDS, strict=True):
            variant.save_fenced(key, snapshot_bytes(1, socket_id=socket_id), self.ttl_seconds)

    def _entries(
        self, variant: Storage, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return all entries, page by page."""
        entries: list[Entry] = []
        while True:
            page = variant.list_entries(prefix=prefix, cursor=cursor, limit=limit)
            assert len(page.entries) <= limit
            entries += page.entries
            cursor = page.next_cursor
            assert_unique(entry.key for entry in entries)
            if cursor is None:
                return entries

    def _browse(
        self,
        variant: Storage,
        *,
        prefix: str = "",
        view: str | None = None,
        expired: bool = False,
        order: str = "",
    ) -> list[SnapshotInfo]:
        """Return the metadata of all snapshots that a query finds, page by page."""
        infos: list[SnapshotInfo] = []
        cursor: str | None = None
        while True:
            query = Query(
                prefix=prefix, view=view, expired=expired, order=order, cursor=cursor, limit=2
            )
            page = variant.browse(query)
            infos += page.items
            cursor = page.next_cursor
            assert_unique(info.socket_hash for info in infos)
            if cursor is None:
                return infos


def assert_unique(keys: Iterable[str]) -> None:
    """Raise `AssertionError` if a key is there twice, as on two pages."""
    seen = list(keys)
    assert len(seen) == len(set(seen)), f"{sorted(seen)} has a key twice"
