"""Hold every storage to the rules of fence and floor, step by step, in bytes and timestamps."""

from __future__ import annotations

import pytest

from recovery_app.fencing import Verdict
from recovery_app.snapshots import Header, Snapshot, digest_binding
from recovery_app.storages import Storage
from tests.clock import FakeClock
from tests.core.support import SOMEBODY, claim_of, snapshot_bytes

KEY = "0123456789abcdef"
TTL = 60

CORRUPT = b"RS\x01 cut"
NEWER_FORMAT = b"RS\x02" + snapshot_bytes(1)[3:]


def header_in(storage: Storage) -> Header:
    data = storage.load(KEY)
    assert data is not None
    return Header.read(data)


def is_gone_in(storage: Storage, clock: FakeClock, seconds: float) -> bool:
    """Say whether what is stored dies exactly then."""
    clock.advance(seconds=seconds - 0.001)
    there = storage.load(KEY) is not None
    clock.advance(seconds=0.001)
    return there and storage.load(KEY) is None


# Saving.


def test_an_older_token_cannot_save(storage: Storage) -> None:
    assert storage.save_fenced(KEY, snapshot_bytes(20, b"new"), TTL) is Verdict.DONE
    assert storage.save_fenced(KEY, snapshot_bytes(19, b"old"), TTL) is Verdict.FENCED
    assert storage.load(KEY) == snapshot_bytes(20, b"new")


def test_the_same_token_saves_again_and_a_newer_one_raises_the_fence(storage: Storage) -> None:
    for fence, state in ((20, b"first"), (20, b"second"), (21, b"third")):
        assert storage.save_fenced(KEY, snapshot_bytes(fence, state), TTL) is Verdict.DONE
        assert storage.load(KEY) == snapshot_bytes(fence, state)
    assert storage.save_fenced(KEY, snapshot_bytes(20), TTL) is Verdict.FENCED


def test_a_save_keeps_when_the_snapshot_was_made_and_the_higher_floor(storage: Storage) -> None:
    first = snapshot_bytes(20, created_us=5, saved_us=5, applied_seq=1)
    storage.save_fenced(KEY, first, TTL)
    storage.save_fenced(KEY, snapshot_bytes(30, floor=10, created_us=6, saved_us=6, version=2), TTL)
    header = header_in(storage)
    assert (header.created_us, header.saved_us) == (5, 6)
    assert (header.fence, header.floor) == (30, 20)
    assert (header.version, header.applied_seq) == (2, None)


def test_nobody_else_can_save(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    foreign = snapshot_bytes(30, binding=SOMEBODY)
    assert storage.save_fenced(KEY, foreign, TTL) is Verdict.BINDING_MISMATCH
    assert storage.load(KEY) == snapshot_bytes(20)


def test_a_refused_save_restarts_no_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=10)
    storage.save_fenced(KEY, snapshot_bytes(19), TTL)
    assert is_gone_in(storage, clock, TTL - 10)


# Touching.


def test_a_touch_restarts_the_ttl_and_changes_nothing(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=TTL - 1)
    assert storage.touch_fenced(KEY, claim_of(25), TTL) is Verdict.DONE
    assert storage.load(KEY) == snapshot_bytes(20)
    assert storage.touch_fenced(KEY, claim_of(20), TTL) is Verdict.DONE
    assert is_gone_in(storage, clock, TTL)
    assert storage.touch_fenced(KEY, claim_of(20), TTL) is Verdict.NOT_FOUND


def test_a_refused_touch_restarts_no_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=10)
    assert storage.touch_fenced(KEY, claim_of(19), TTL) is Verdict.FENCED
    assert storage.touch_fenced(KEY, claim_of(30, SOMEBODY), TTL) is Verdict.BINDING_MISMATCH
    assert is_gone_in(storage, clock, TTL - 10)


# Taking over.


CLOCKS = [
    pytest.param(500, 20, 20, 500, id="a clock that is right"),
    pytest.param(3, 20, 20, 21, id="a slow clock"),
    pytest.param(20, 20, 20, 21, id="a clock that stands still"),
    pytest.param(3, 20, 30, 31, id="a slow clock, a token newer than the last save"),
    pytest.param(30, 20, 30, 31, id="the same instant as the token"),
    pytest.param(31, 20, 30, 31, id="just after the token"),
    pytest.param(2**61, 20, 20, 2**61, id="a clock gone mad"),
]


@pytest.mark.parametrize(
    ("now_us", "stored", "shown", "fence"),
    [*CLOCKS, pytest.param(3, 20, 15, 21, id="a slow clock, and a reply that was lost")],
)
def test_a_takeover_raises_the_fence_above_all_before_it(
    storage: Storage, now_us: int, stored: int, shown: int, fence: int
) -> None:
    storage.save_fenced(KEY, snapshot_bytes(stored, b"state", floor=10, applied_seq=4), TTL)
    decision = storage.take_over(KEY, claim_of(shown), TTL, now_us=now_us, newest_version=None)
    assert decision.verdict is Verdict.DONE
    assert decision.data == snapshot_bytes(fence, b"state", floor=10, applied_seq=4)
    assert storage.load(KEY) == decision.data
    assert storage.save_fenced(KEY, snapshot_bytes(fence - 1), TTL) is Verdict.FENCED
    assert storage.save_fenced(KEY, snapshot_bytes(fence), TTL) is Verdict.DONE


@pytest.mark.parametrize(("now_us", "stored", "shown", "fence"), CLOCKS)
def test_a_renewal_raises_the_fence_and_binds_anew(
    storage: Storage, now_us: int, stored: int, shown: int, fence: int
) -> None:
    storage.save_fenced(KEY, snapshot_bytes(stored, b"state", floor=10, version=1), TTL)
    bound = digest_binding(SOMEBODY)
    decision = storage.renew(KEY, claim_of(shown), TTL, now_us=now_us, binding=bound)
    assert decision.verdict is Verdict.DONE
    expected = snapshot_bytes(fence, b"state", binding=SOMEBODY, floor=10, version=1)
    assert decision.data == storage.load(KEY) == expected
    assert storage.touch_fenced(KEY, claim_of(fence), TTL) is Verdict.BINDING_MISMATCH
    assert storage.touch_fenced(KEY, claim_of(fence, SOMEBODY), TTL) is Verdict.DONE


def test_takeover_and_renewal_restart_the_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=TTL - 1)
    storage.take_over(KEY, claim_of(20), TTL, now_us=30, newest_version=None)
    clock.advance(seconds=TTL - 1)
    storage.renew(KEY, claim_of(30), TTL, now_us=40, binding=claim_of(0).binding)
    assert is_gone_in(storage, clock, TTL)


def test_an_older_token_takes_over_down_to_the_floor(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    for now_us in (30, 40):
        # The reply to the first takeover was lost; the same token is shown once more.
        decision = storage.take_over(KEY, claim_of(20), TTL, now_us=now_us, newest_version=None)
        assert decision.verdict is Verdict.DONE
    storage.save_fenced(KEY, snapshot_bytes(40, floor=30), TTL)
    for issued_us, verdict in ((29, Verdict.FENCED), (30, Verdict.DONE)):
        decision = storage.take_over(KEY, claim_of(issued_us), TTL, now_us=50, newest_version=None)
        assert decision.verdict is verdict


def test_a_renewal_goes_by_the_fence(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20, floor=10), TTL)
    bound = claim_of(0).binding
    decision = storage.renew(KEY, claim_of(19), TTL, now_us=30, binding=bound)
    assert decision.verdict is Verdict.FENCED
    assert storage.load(KEY) == snapshot_bytes(20, floor=10)


@pytest.mark.parametrize(
    ("stored", "newest", "verdict"),
    [
        (2, 1, Verdict.VERSION_TOO_NEW),
        (2, 2, Verdict.DONE),
        (2, None, Verdict.DONE),
        (0, 0, Verdict.DONE),
    ],
)
def test_a_state_of_a_newer_version_is_left_as_it_is(
    storage: Storage, clock: FakeClock, stored: int, newest: int | None, verdict: Verdict
) -> None:
    data = snapshot_bytes(20, version=stored)
    storage.save_fenced(KEY, data, TTL)
    clock.advance(seconds=10)
    decision = storage.take_over(KEY, claim_of(20), TTL, now_us=30, newest_version=newest)
    assert decision.verdict is verdict
    if verdict is Verdict.VERSION_TOO_NEW:
        assert decision.data == storage.load(KEY) == data
        assert is_gone_in(storage, clock, TTL - 10)


def test_who_may_not_take_over_changes_nothing(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=10)
    for claim, verdict in (
        (claim_of(19), Verdict.FENCED),
        (claim_of(30, SOMEBODY), Verdict.BINDING_MISMATCH),
    ):
        taken = storage.take_over(KEY, claim, TTL, now_us=30, newest_version=None)
        renewed = storage.renew(KEY, claim, TTL, now_us=30, binding=claim.binding)
        assert (taken.verdict, renewed.verdict) == (verdict, verdict)
    assert storage.load(KEY) == snapshot_bytes(20)
    assert is_gone_in(storage, clock, TTL - 10)


def test_nothing_can_be_taken_over_where_nothing_is(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=TTL)
    taken = storage.take_over(KEY, claim_of(20), TTL, now_us=30, newest_version=None)
    renewed = storage.renew(KEY, claim_of(20), TTL, now_us=30, binding=claim_of(0).binding)
    assert (taken.verdict, renewed.verdict) == (Verdict.NOT_FOUND, Verdict.NOT_FOUND)
    assert storage.load(KEY) is None


# Revoking.


@pytest.mark.parametrize("issued_us", [10, 20, 30])
def test_a_revocation_refuses_all_tokens_so_far(storage: Storage, issued_us: int) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20, b"state"), TTL)
    assert storage.revoke(KEY, claim_of(issued_us), TTL, now_us=5) is Verdict.DONE
    fence = max(21, issued_us + 1)
    header = header_in(storage)
    assert (header.revoked, header.fence, header.floor) == (True, fence, fence)
    assert b"state" not in (storage.load(KEY) or b"")

    late = claim_of(fence - 1)
    assert storage.save_fenced(KEY, snapshot_bytes(fence - 1), TTL) is Verdict.REVOKED
    assert storage.touch_fenced(KEY, late, TTL) is Verdict.REVOKED
    renewed = storage.renew(KEY, late, TTL, now_us=99, binding=late.binding)
    taken = storage.take_over(KEY, late, TTL, now_us=99, newest_version=None)
    assert (renewed.verdict, taken.verdict) == (Verdict.REVOKED, Verdict.NOT_FOUND)
    assert header_in(storage) == header


def test_after_a_revocation_a_new_token_starts_anew(storage: Storage) -> None:
    storage.revoke(KEY, claim_of(20), TTL, now_us=30)
    new = claim_of(30)
    assert storage.touch_fenced(KEY, new, TTL) is Verdict.NOT_FOUND
    renewed = storage.renew(KEY, new, TTL, now_us=99, binding=new.binding)
    taken = storage.take_over(KEY, new, TTL, now_us=99, newest_version=None)
    assert (renewed.verdict, taken.verdict) == (Verdict.NOT_FOUND, Verdict.NOT_FOUND)
    assert storage.save_fenced(KEY, snapshot_bytes(30, b"new"), TTL) is Verdict.DONE
    assert Snapshot.from_bytes(storage.load(KEY) or b"").state == b"new"


def test_a_marker_goes_after_one_ttl(storage: Storage, clock: FakeClock) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    clock.advance(seconds=10)
    storage.revoke(KEY, claim_of(20), TTL, now_us=30)
    storage.touch_fenced(KEY, claim_of(30), TTL)
    assert is_gone_in(storage, clock, TTL)
    assert storage.save_fenced(KEY, snapshot_bytes(20), TTL) is Verdict.DONE


def test_revoking_again_raises_the_fence_again(storage: Storage) -> None:
    storage.revoke(KEY, claim_of(20), TTL, now_us=0)
    assert header_in(storage).fence == 21
    assert storage.revoke(KEY, claim_of(20), TTL, now_us=0) is Verdict.DONE
    assert header_in(storage).fence == 22


def test_nobody_else_can_revoke(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), TTL)
    assert storage.revoke(KEY, claim_of(30, SOMEBODY), TTL, now_us=40) is Verdict.BINDING_MISMATCH
    assert storage.load(KEY) == snapshot_bytes(20)


# What can't be read.


@pytest.mark.parametrize("data", [b"", CORRUPT, NEWER_FORMAT])
def test_what_cannot_be_read_is_left_as_it_is(
    storage: Storage, clock: FakeClock, data: bytes
) -> None:
    storage.save(KEY, data, TTL)
    clock.advance(seconds=10)
    claim = claim_of(2**60)
    assert storage.save_fenced(KEY, snapshot_bytes(2**60), TTL) is Verdict.UNREADABLE
    assert storage.touch_fenced(KEY, claim, TTL) is Verdict.UNREADABLE
    for decision in (
        storage.take_over(KEY, claim, TTL, now_us=1, newest_version=None),
        storage.renew(KEY, claim, TTL, now_us=1, binding=claim.binding),
    ):
        assert decision.verdict is Verdict.UNREADABLE
        assert decision.data == data
    assert storage.load(KEY) == data
    assert is_gone_in(storage, clock, TTL - 10)


@pytest.mark.parametrize("data", [b"", CORRUPT, NEWER_FORMAT])
def test_what_cannot_be_read_can_be_revoked(storage: Storage, data: bytes) -> None:
    storage.save(KEY, data, TTL)
    assert storage.revoke(KEY, claim_of(20), TTL, now_us=5) is Verdict.DONE
    assert storage.save_fenced(KEY, snapshot_bytes(20), TTL) is Verdict.REVOKED
