"""Tests of the manager: what always holds (contract, section 5), over every storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id, issued_us_of
from recovery_app.exceptions import (
    InvalidSignature,
    SnapshotNotFound,
    TokenExpired,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import OWNER
from tests.clock import FakeClock
from tests.core.support import SOMEBODY, make_manager

SOCKET = "the socket"
HASH = hash_socket_id(SOCKET).hex()
STATE = {"count": 1}


@pytest.mark.every_storage
def test_a_new_connection_continues_where_the_older_one_was(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE, applied_seq=7, version=2, view="a view", topic="a:topic")
    takeover = everywhere.take_over(token)
    assert takeover.state == STATE
    assert takeover.socket_id == SOCKET
    assert (takeover.applied_seq, takeover.version) == (7, 2)
    assert (takeover.view, takeover.topic) == ("a view", "a:topic")
    assert takeover.shown_us == issued_us_of(token)
    assert takeover.issued_us == issued_us_of(takeover.token) > takeover.shown_us
    everywhere.save(takeover.token, {"count": 2}, applied_seq=8)
    assert everywhere.recover(takeover.token) == {"count": 2}


def test_an_older_connection_is_refused_once_a_newer_one_took_over(
    everywhere: RecoveryManager,
) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE)
    new = everywhere.take_over(token).token
    for call in (
        lambda: everywhere.save(token, {"count": 99}),
        lambda: everywhere.touch(token),
        lambda: everywhere.renew(token),
    ):
        with pytest.raises(TokenSuperseded) as raised:
            call()
        assert raised.value.socket_hash == HASH
        assert not raised.value.revoked
    assert everywhere.recover(new) == STATE
    assert everywhere.touch(new) is True


@pytest.mark.every_storage
def test_a_lost_reply_to_a_join_loses_nothing(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE)
    lost = everywhere.take_over(token).token
    assert everywhere.recover(token) == STATE
    kept = everywhere.take_over(token).token
    assert issued_us_of(kept) > issued_us_of(lost)
    with pytest.raises(TokenSuperseded):
        everywhere.save(lost, {"count": 99})
    everywhere.save(kept, {"count": 2})
    # The client has shown the newest token, and with it that it needs no older one.
    for older in (token, lost):
        for call in (everywhere.take_over, everywhere.recover):
            with pytest.raises(TokenSuperseded):
                call(older)
    assert everywhere.take_over(kept).state == {"count": 2}


def test_of_two_tokens_for_one_socket_the_later_one_counts(everywhere: RecoveryManager) -> None:
    first, second = everywhere.create_token(SOCKET), everywhere.create_token(SOCKET)
    assert first != second
    everywhere.save(first, STATE)
    everywhere.save(second, {"count": 2})
    with pytest.raises(TokenSuperseded):
        everywhere.save(first, {"count": 99})
    assert everywhere.recover(second) == {"count": 2}


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_clocks_that_differ_between_nodes_change_nothing(
    any_storage: Storage, calls: Callable[[Any], Any], clock: FakeClock, seconds: float
) -> None:
    here = calls(make_manager(storage=any_storage, clock=clock))
    there_clock = FakeClock()
    there_clock.advance(seconds=seconds)
    there = calls(make_manager(storage=any_storage, clock=there_clock))
    token = here.create_token(SOCKET)
    here.save(token, STATE)
    for node, other in ((there, here), (here, there), (there, here)):
        taken = node.take_over(token).token
        assert issued_us_of(taken) > issued_us_of(token)
        with pytest.raises(TokenSuperseded):
            other.save(token, {"count": 99})
        other.save(taken, STATE)
        token = taken


# Revoking.


@pytest.mark.every_storage
def test_nothing_brings_back_what_was_revoked(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE)
    newer = everywhere.take_over(token).token
    unused = everywhere.create_token(SOCKET)
    everywhere.revoke(token)
    for issued in (token, newer, unused):
        for call in (
            lambda issued=issued: everywhere.save(issued, {"count": 99}),
            lambda issued=issued: everywhere.touch(issued),
            lambda issued=issued: everywhere.renew(issued),
        ):
            with pytest.raises(TokenSuperseded) as raised:
                call()
            assert raised.value.revoked
        for give in (everywhere.recover, everywhere.take_over):
            with pytest.raises(SnapshotNotFound):
                give(issued)
    clock.advance(seconds=everywhere.ttl)
    assert everywhere.touch(token) is False


def test_a_socket_may_start_anew_after_it_was_revoked(everywhere: RecoveryManager) -> None:
    everywhere.revoke(everywhere.create_token(SOCKET))
    token = everywhere.create_token(SOCKET)
    assert everywhere.touch(token) is False
    for give in (everywhere.recover, everywhere.take_over, everywhere.renew):
        with pytest.raises(SnapshotNotFound):
            give(token)
    everywhere.save(token, STATE)
    assert everywhere.take_over(token).state == STATE


# Whom it belongs to.


def test_a_token_is_good_for_its_binding_alone(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token(SOCKET, binding=OWNER)
    everywhere.save(token, STATE, binding=OWNER)
    for binding in (SOMEBODY, b"", OWNER + b"\0"):
        for call in (
            lambda binding=binding: everywhere.save(token, {"count": 99}, binding=binding),
            lambda binding=binding: everywhere.touch(token, binding=binding),
            lambda binding=binding: everywhere.recover(token, binding=binding),
            lambda binding=binding: everywhere.take_over(token, binding=binding),
            lambda binding=binding: everywhere.renew(token, binding=binding),
            lambda binding=binding: everywhere.revoke(token, binding=binding),
        ):
            with pytest.raises(InvalidSignature) as raised:
                call()
            assert raised.value.socket_hash is None
    assert everywhere.take_over(token, binding=OWNER).state == STATE


def test_a_snapshot_that_was_bound_anew_is_closed_to_whom_it_was_bound_before(
    everywhere: RecoveryManager,
) -> None:
    token = everywhere.create_token(SOCKET, binding=OWNER)
    everywhere.save(token, STATE, binding=OWNER)
    renewed = everywhere.renew(token, binding=OWNER, new_binding=SOMEBODY)
    unused = everywhere.create_token(SOCKET, binding=OWNER)
    for mine in (token, unused):
        for call in (everywhere.touch, everywhere.recover, everywhere.take_over, everywhere.revoke):
            with pytest.raises(InvalidSignature) as raised:
                call(mine, binding=OWNER)
            assert raised.value.socket_hash == HASH
    assert everywhere.take_over(renewed, binding=SOMEBODY).state == STATE


def test_a_renewed_token_replaces_the_one_before(everywhere: RecoveryManager) -> None:
    token = everywhere.create_token(SOCKET, binding=OWNER)
    with pytest.raises(SnapshotNotFound):
        everywhere.renew(token, binding=OWNER)
    everywhere.save(token, STATE, binding=OWNER)
    renewed = everywhere.renew(token, binding=OWNER)
    with pytest.raises(TokenSuperseded):
        everywhere.save(token, {"count": 99}, binding=OWNER)
    # The client may not have got it: until a save confirms it, the older one still opens.
    assert everywhere.recover(token, binding=OWNER) == STATE
    everywhere.save(renewed, {"count": 2}, binding=OWNER)
    with pytest.raises(TokenSuperseded):
        everywhere.recover(token, binding=OWNER)


# What counts as a sign of life.


def test_saves_touches_takeovers_and_renewals_are_signs_of_life(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE)
    clock.advance(seconds=299)
    assert everywhere.touch(token) is True
    clock.advance(seconds=299)
    everywhere.save(token, STATE)
    clock.advance(seconds=299)
    token = everywhere.take_over(token).token
    clock.advance(seconds=299)
    token = everywhere.renew(token)
    clock.advance(seconds=299)
    assert everywhere.recover(token) == STATE
    # And a recovery is none.
    clock.advance(seconds=1)
    with pytest.raises(SnapshotNotFound):
        everywhere.recover(token)
    assert everywhere.touch(token) is False


def test_a_token_older_than_the_ttl_is_told_from_one_without_a_snapshot(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    token = everywhere.create_token(SOCKET)
    for call in (everywhere.recover, everywhere.take_over, everywhere.renew):
        with pytest.raises(SnapshotNotFound):
            call(token)
    clock.advance(seconds=301)
    for call in (everywhere.recover, everywhere.take_over, everywhere.renew):
        with pytest.raises(TokenExpired) as raised:
            call(token)
        assert (raised.value.age_seconds, raised.value.limit_seconds) == (301, 300)
        assert raised.value.socket_hash == HASH
    # Alone its age says nothing: a connection that has lived longer may still save.
    everywhere.save(token, STATE)
    assert everywhere.recover(token) == STATE


def test_a_state_of_a_newer_version_waits_for_a_node_that_can_read_it(
    everywhere: RecoveryManager, clock: FakeClock
) -> None:
    token = everywhere.create_token(SOCKET)
    everywhere.save(token, STATE, version=3)
    clock.advance(seconds=200)
    with pytest.raises(VersionMismatch) as raised:
        everywhere.take_over(token, newest_version=2)
    assert (raised.value.stored, raised.value.supported) == (3, 2)
    assert not raised.value.of_format
    assert everywhere.touch(token) is True
    assert everywhere.take_over(token, newest_version=3).version == 3
