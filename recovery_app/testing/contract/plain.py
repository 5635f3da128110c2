"""Contract tests of plain bytes: `save`, `load`, `delete`, TTL and `close`."""

from __future__ import annotations

import asyncio
import math

from recovery_app.fencing import Verdict
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import (
    KEY,
    OTHER_KEY,
    Clock,
    ContractBase,
    claim_of,
    snapshot_bytes,
)

VALUES = {
    "nothing": b"",
    "every byte": bytes(range(256)),
    "the start of a snapshot": b"RS",
    "a snapshot": snapshot_bytes(7, b'{"a": 1}'),
    "a header alone": snapshot_bytes(7)[:64],
    "a snapshot of a newer format": b"RS\x03" + snapshot_bytes(7)[3:],
    "times beyond the calendar": b"RS\x01" + b"\xff" * 80,
    "a long socket id": snapshot_bytes(7, socket_id="x" * 999 + "\x00"),
    "a socket id beyond ASCII": snapshot_bytes(7, socket_id="\U0001f600 ȷ\x00"),
}


class PlainTests(ContractBase):
    """Bytes are returned as they were stored, until they expire or are deleted."""

    def test_load_returns_what_save_stored(self, variant: Storage) -> None:
        assert variant.load(KEY) is None
        variant.save(OTHER_KEY, b"other", self.ttl_seconds)
        for name, data in VALUES.items():
            variant.save(KEY, data, self.ttl_seconds)
            loaded = variant.load(KEY)
            assert loaded == data, f"{name} came back changed"
            assert type(loaded) is bytes
        assert variant.load(OTHER_KEY) == b"other"

    def test_large_values_fit(self, variant: Storage) -> None:
        data = (bytes(range(256)) * (self.max_value_bytes // 256 + 1))[: self.max_value_bytes]
        variant.save(KEY, data, self.ttl_seconds)
        assert variant.load(KEY) == data

    def test_save_replaces_whatever_is_stored(self, variant: Storage) -> None:
        variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
        variant.revoke(KEY, claim_of(20), self.ttl_seconds, now_us=30)
        variant.save(KEY, b"no snapshot", self.ttl_seconds)
        assert variant.load(KEY) == b"no snapshot"
        variant.save(KEY, snapshot_bytes(10), self.ttl_seconds)
        assert variant.load(KEY) == snapshot_bytes(10)

    def test_delete_removes_one_value_and_returns_whether_it_was_there(
        self, variant: Storage
    ) -> None:
        variant.save(KEY, b"data", self.ttl_seconds)
        variant.save(OTHER_KEY, b"other", self.ttl_seconds)
        assert variant.delete(KEY) is True
        assert variant.load(KEY) is None
        assert variant.delete(KEY) is False
        assert variant.load(OTHER_KEY) == b"other"

    def test_values_expire_after_their_ttl(self, variant: Storage, clock: Clock) -> None:
        variant.save(KEY, b"data", self.ttl_seconds)
        variant.save(OTHER_KEY, b"data", 2 * self.ttl_seconds)
        assert self.expires_after(variant, clock, self.ttl_seconds)
        assert variant.delete(KEY) is False
        assert variant.load(OTHER_KEY) == b"data"

    def test_save_restarts_the_ttl(self, variant: Storage, clock: Clock) -> None:
        variant.save(KEY, b"old", self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds / 2)
        variant.save(KEY, b"new", self.ttl_seconds)
        assert self.expires_after(variant, clock, self.ttl_seconds)

    def test_save_replaces_an_expired_value(self, variant: Storage, clock: Clock) -> None:
        variant.save(KEY, snapshot_bytes(9), self.ttl_seconds)
        variant.save(OTHER_KEY, snapshot_bytes(9), self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds)
        variant.save(KEY, b"new", self.ttl_seconds)
        assert variant.load(KEY) == b"new"
        assert variant.save_fenced(OTHER_KEY, snapshot_bytes(1), self.ttl_seconds) is Verdict.DONE
        assert variant.load(OTHER_KEY) == snapshot_bytes(1)

    def test_both_variants_share_what_is_stored(self, storage: Storage, variant: Storage) -> None:
        storage.save(KEY, b"data", self.ttl_seconds)
        assert variant.load(KEY) == b"data"
        variant.save(OTHER_KEY, b"other", self.ttl_seconds)
        assert storage.load(OTHER_KEY) == b"other"

    def test_several_event_loops_can_use_a_storage(self, storage: Storage) -> None:
        asyncio.run(storage.asave(KEY, b"data", self.ttl_seconds))
        assert asyncio.run(storage.aload(KEY)) == b"data"

    def test_look_up_returns_what_is_stored(self, variant: Storage) -> None:
        assert variant.look_up(KEY) is None
        variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
        entry = variant.look_up(KEY)
        assert entry is not None
        assert (entry.key, entry.data) == (KEY, snapshot_bytes(20))
        if not math.isnan(entry.expires_in):
            assert abs(entry.expires_in - self.ttl_seconds) <= self.margin_seconds
        variant.revoke(KEY, claim_of(20), self.ttl_seconds, now_us=30)
        marker = variant.look_up(KEY)
        assert marker is not None
        assert marker.data == variant.load(KEY)

    def test_a_closed_storage_can_be_used_again(self, variant: Storage) -> None:
        variant.save(KEY, b"data", self.ttl_seconds)
        variant.close()
        variant.close()
        variant.save(OTHER_KEY, b"other", self.ttl_seconds)
        assert variant.load(OTHER_KEY) == b"other"

    def test_check_returns_messages(self, storage: Storage) -> None:
        for message in storage.check():
            assert message.id, f"{message} needs an id to be silenced by"
