"""Contract tests of what the fenced steps leave behind."""

from __future__ import annotations

from recovery_app.fencing import Verdict
from recovery_app.snapshots import Snapshot
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import (
    KEY,
    OWNER,
    STRANGER,
    Clock,
    ContractBase,
    claim_of,
    header_of,
    snapshot_bytes,
)

UNREADABLE = (b"", b"RS\x01 cut", b"RS\x03" + snapshot_bytes(1)[3:])


class FencedTests(ContractBase):
    """Steps that follow each other keep fence, floor, TTL and data in order."""

    def test_the_same_token_saves_again_and_an_older_one_is_fenced(self, variant: Storage) -> None:
        for fence, state in ((20, b"first"), (20, b"second"), (21, b"third")):
            data = snapshot_bytes(fence, state)
            assert variant.save_fenced(KEY, data, self.ttl_seconds) is Verdict.DONE
            assert variant.load(KEY) == data
        assert variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds) is Verdict.FENCED
        assert variant.load(KEY) == snapshot_bytes(21, b"third")

    def test_a_save_keeps_the_time_of_creation_and_the_higher_floor(self, variant: Storage) -> None:
        first = snapshot_bytes(20, created_us=5, saved_us=5, applied_seq=1)
        variant.save_fenced(KEY, first, self.ttl_seconds)
        second = snapshot_bytes(30, floor=10, created_us=6, saved_us=6, version=2)
        variant.save_fenced(KEY, second, self.ttl_seconds)
        header = header_of(variant)
        assert (header.created_us, header.saved_us) == (5, 6)
        assert (header.fence, header.floor) == (30, 20)
        assert (header.version, header.applied_seq) == (2, None)

    def test_each_step_that_is_done_restarts_the_ttl(self, variant: Storage, clock: Clock) -> None:
        ttl = self.ttl_seconds
        variant.save_fenced(KEY, snapshot_bytes(20), ttl)
        half = ttl / 2
        clock.advance(seconds=half)
        assert variant.save_fenced(KEY, snapshot_bytes(20), ttl) is Verdict.DONE
        clock.advance(seconds=half)
        assert variant.touch_fenced(KEY, claim_of(20), ttl) is Verdict.DONE
        clock.advance(seconds=half)
        taken = variant.take_over(KEY, claim_of(20), ttl, now_us=30, newest_version=None)
        assert taken.verdict is Verdict.DONE
        clock.advance(seconds=half)
        renewed = variant.renew(KEY, claim_of(30), ttl, now_us=40, binding=claim_of(0).binding)
        assert renewed.verdict is Verdict.DONE
        clock.advance(seconds=half)
        assert variant.revoke(KEY, claim_of(40), ttl, now_us=50) is Verdict.DONE
        assert self.expires_after(variant, clock, ttl)

    def test_a_touch_restarts_the_ttl_and_changes_nothing_else(
        self, variant: Storage, clock: Clock
    ) -> None:
        variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds / 2)
        assert variant.touch_fenced(KEY, claim_of(25), self.ttl_seconds) is Verdict.DONE
        assert variant.load(KEY) == snapshot_bytes(20)
        assert self.expires_after(variant, clock, self.ttl_seconds)
        touched = variant.touch_fenced(KEY, claim_of(20), self.ttl_seconds)
        assert touched is Verdict.NOT_FOUND

    def test_refused_steps_change_nothing(self, variant: Storage, clock: Clock) -> None:
        ttl, data = self.ttl_seconds, snapshot_bytes(20, version=2)
        variant.save_fenced(KEY, data, ttl)
        clock.advance(seconds=ttl / 2)
        for issued_us, binding, verdict in (
            (19, OWNER, Verdict.FENCED),
            (30, STRANGER, Verdict.BINDING_MISMATCH),
        ):
            claim, late = claim_of(issued_us, binding), snapshot_bytes(issued_us, binding=binding)
            assert variant.save_fenced(KEY, late, ttl) is verdict
            assert variant.touch_fenced(KEY, claim, ttl) is verdict
            taken = variant.take_over(KEY, claim, ttl, now_us=30, newest_version=None)
            renewed = variant.renew(KEY, claim, ttl, now_us=30, binding=claim.binding)
            assert (taken.verdict, renewed.verdict) == (verdict, verdict)
        older = variant.take_over(KEY, claim_of(20), ttl, now_us=30, newest_version=1)
        assert (older.verdict, older.data) == (Verdict.VERSION_TOO_NEW, data)
        stranger = variant.revoke(KEY, claim_of(30, STRANGER), ttl, now_us=40)
        assert stranger is Verdict.BINDING_MISMATCH
        assert variant.load(KEY) == data
        assert self.expires_after(variant, clock, ttl / 2)

    def test_a_token_takes_over_again_down_to_the_floor(self, variant: Storage) -> None:
        ttl = self.ttl_seconds
        variant.save_fenced(KEY, snapshot_bytes(20), ttl)
        for now_us in (30, 40):
            # The client shows the same token once more, as after a lost reply.
            taken = variant.take_over(KEY, claim_of(20), ttl, now_us=now_us, newest_version=None)
            assert taken.verdict is Verdict.DONE
            assert taken.data == variant.load(KEY) == snapshot_bytes(now_us, floor=20)
        variant.save_fenced(KEY, snapshot_bytes(40, floor=30), ttl)
        for issued_us, verdict in ((29, Verdict.FENCED), (30, Verdict.DONE)):
            taken = variant.take_over(KEY, claim_of(issued_us), ttl, now_us=50, newest_version=None)
            assert taken.verdict is verdict

    def test_takeovers_at_the_same_time_raise_the_fence_each(self, variant: Storage) -> None:
        variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
        for fence in (21, 22, 23):
            variant.take_over(KEY, claim_of(20), self.ttl_seconds, now_us=5, newest_version=None)
            assert header_of(variant).fence == fence
        assert variant.save_fenced(KEY, snapshot_bytes(22), self.ttl_seconds) is Verdict.FENCED
        assert variant.save_fenced(KEY, snapshot_bytes(23), self.ttl_seconds) is Verdict.DONE

    def test_a_renewal_hands_the_snapshot_to_another_binding(self, variant: Storage) -> None:
        ttl, stranger = self.ttl_seconds, claim_of(40, STRANGER)
        variant.save_fenced(KEY, snapshot_bytes(20, b"state", floor=10, version=1), ttl)
        renewed = variant.renew(KEY, claim_of(20), ttl, now_us=40, binding=stranger.binding)
        expected = snapshot_bytes(40, b"state", binding=STRANGER, floor=10, version=1)
        assert renewed.data == variant.load(KEY) == expected
        assert variant.touch_fenced(KEY, claim_of(40), ttl) is Verdict.BINDING_MISMATCH
        assert variant.touch_fenced(KEY, stranger, ttl) is Verdict.DONE

    def test_a_revocation_refuses_all_tokens_until_now(self, variant: Storage) -> None:
        ttl = self.ttl_seconds
        variant.save_fenced(KEY, snapshot_bytes(20, b"the state"), ttl)
        assert variant.revoke(KEY, claim_of(30), ttl, now_us=5) is Verdict.DONE
        header = header_of(variant)
        assert (header.revoked, header.fence, header.floor) == (True, 31, 31)
        assert b"the state" not in (variant.load(KEY) or b"")
        late = claim_of(30)
        assert variant.save_fenced(KEY, snapshot_bytes(30), ttl) is Verdict.REVOKED
        assert variant.touch_fenced(KEY, late, ttl) is Verdict.REVOKED
        renewed = variant.renew(KEY, late, ttl, now_us=99, binding=late.binding)
        taken = variant.take_over(KEY, late, ttl, now_us=99, newest_version=None)
        assert (renewed.verdict, taken.verdict) == (Verdict.REVOKED, Verdict.NOT_FOUND)
        assert header_of(variant) == header

    def test_a_new_token_starts_again_after_a_revocation(self, variant: Storage) -> None:
        ttl, new = self.ttl_seconds, claim_of(30)
        variant.revoke(KEY, claim_of(20), ttl, now_us=0)
        assert variant.revoke(KEY, claim_of(20), ttl, now_us=30) is Verdict.DONE
        assert header_of(variant).fence == 30
        assert variant.touch_fenced(KEY, new, ttl) is Verdict.NOT_FOUND
        taken = variant.take_over(KEY, new, ttl, now_us=99, newest_version=None)
        assert taken.verdict is Verdict.NOT_FOUND
        assert variant.save_fenced(KEY, snapshot_bytes(30, b"new"), ttl) is Verdict.DONE
        assert Snapshot.from_bytes(variant.load(KEY) or b"").state == b"new"

    def test_a_marker_expires_like_a_snapshot(self, variant: Storage, clock: Clock) -> None:
        variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds / 2)
        variant.revoke(KEY, claim_of(20), self.ttl_seconds, now_us=30)
        variant.touch_fenced(KEY, claim_of(30), self.ttl_seconds)
        assert self.expires_after(variant, clock, self.ttl_seconds)
        assert variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds) is Verdict.DONE

    def test_expired_snapshots_are_not_found(self, variant: Storage, clock: Clock) -> None:
        ttl, claim = self.ttl_seconds, claim_of(20)
        variant.save_fenced(KEY, snapshot_bytes(20), ttl)
        clock.advance(seconds=ttl)
        assert variant.touch_fenced(KEY, claim, ttl) is Verdict.NOT_FOUND
        taken = variant.take_over(KEY, claim, ttl, now_us=30, newest_version=None)
        renewed = variant.renew(KEY, claim, ttl, now_us=30, binding=claim.binding)
        assert (taken.verdict, renewed.verdict) == (Verdict.NOT_FOUND, Verdict.NOT_FOUND)
        assert variant.load(KEY) is None

    def test_unreadable_bytes_are_left_as_they_are(self, variant: Storage, clock: Clock) -> None:
        ttl, claim = self.ttl_seconds, claim_of(2**60)
        keys = [f"{number:016x}" for number in range(len(UNREADABLE))]
        for key, data in zip(keys, UNREADABLE, strict=True):
            variant.save(key, data, ttl)
        clock.advance(seconds=ttl / 2)
        for key, data in zip(keys, UNREADABLE, strict=True):
            assert variant.save_fenced(key, snapshot_bytes(2**60), ttl) is Verdict.UNREADABLE
            assert variant.touch_fenced(key, claim, ttl) is Verdict.UNREADABLE
            taken = variant.take_over(key, claim, ttl, now_us=1, newest_version=None)
            renewed = variant.renew(key, claim, ttl, now_us=1, binding=claim.binding)
            assert (taken.verdict, renewed.verdict) == (Verdict.UNREADABLE, Verdict.UNREADABLE)
            assert taken.data == renewed.data == variant.load(key) == data
        assert self.expires_after(variant, clock, ttl / 2, keys[0])

    def test_unreadable_bytes_can_be_revoked(self, variant: Storage) -> None:
        for data in UNREADABLE:
            variant.save(KEY, data, self.ttl_seconds)
            assert variant.revoke(KEY, claim_of(20), self.ttl_seconds, now_us=5) is Verdict.DONE
            saved = variant.save_fenced(KEY, snapshot_bytes(20), self.ttl_seconds)
            assert saved is Verdict.REVOKED
