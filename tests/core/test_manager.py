"""Tests of the manager: states in, states out, and a look inside (contract, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core import issuing
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import (
    InvalidSignature,
    SnapshotCorrupt,
    SnapshotNotFound,
    TokenExpired,
)
from recovery_app.snapshots import Header
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.core.support import SECRET, DownStorage, make_manager

SOCKET = "the socket"
KEY = hash_socket_id(SOCKET).hex()
STATE = {"count": 1, "items": ["a", {"b": None}]}
LABELS = {"applied_seq": 7, "version": 2, "view": "a view", "topic": "a:topic"}


@pytest.fixture
def token(manager: RecoveryManager) -> str:
    """Return a token whose state is saved."""
    token = manager.create_token(SOCKET)
    manager.save(token, STATE, **LABELS)  # type: ignore[arg-type]
    return token


# States.


def test_a_state_comes_back_again_and_again(manager: RecoveryManager, token: str) -> None:
    first = manager.recover(token)
    assert first == STATE
    first["count"] = 99
    assert manager.recover(token) == STATE


def test_a_state_takes_the_place_of_the_one_before(manager: RecoveryManager, token: str) -> None:
    manager.save(token, {})
    assert manager.recover(token) == {}
    takeover = manager.take_over(token)
    assert (takeover.applied_seq, takeover.version, takeover.view) == (None, 0, "")


def test_a_token_lives_as_long_as_it_may(calls: Callable[[Any], Any], clock: FakeClock) -> None:
    manager = calls(make_manager(clock=clock, ttl=100_000))
    token = manager.create_token(SOCKET)
    clock.advance(seconds=86_400)
    manager.save(token, STATE)
    clock.advance(seconds=1)
    for call in (
        lambda: manager.save(token, STATE),
        lambda: manager.touch(token),
        lambda: manager.recover(token),
        lambda: manager.take_over(token),
        lambda: manager.renew(token),
        lambda: manager.revoke(token),
    ):
        with pytest.raises(TokenExpired) as raised:
            call()
        assert (raised.value.age_seconds, raised.value.limit_seconds) == (86_401, 86_400)
        assert raised.value.socket_hash == KEY


def test_a_token_that_was_good_once_makes_no_other_good(
    manager: RecoveryManager, token: str
) -> None:
    class Posing(str):
        """A text that says it were the token."""

        __slots__ = ()

        def __eq__(self, _other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(token)

    assert hash(Posing("A" * 64)) == hash(token)
    assert manager.recover(token) == STATE
    for forged, binding in (
        (token, b"somebody else"),
        (Posing("A" * 64), b""),
        (token[:-1] + ("A" if token[-1] != "A" else "B"), b""),
    ):
        with pytest.raises(InvalidSignature):
            manager.recover(forged, binding=binding)
    assert manager.recover(Posing(token)) == STATE
    assert manager.recover(token, binding=bytearray()) == STATE  # type: ignore[arg-type]


def test_the_tokens_that_are_remembered_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuing, "REMEMBERED_GRANTS", 2)
    operations = make_manager().operations
    tokens = [operations.create(f"socket {number}", b"").token for number in range(5)]
    grants = [operations.verify(token, b"") for token in tokens]
    assert operations.verify(tokens[4], b"") is grants[4]
    assert operations.verify(tokens[0], b"") is not grants[0]


def test_a_token_may_live_for_ever(calls: Callable[[Any], Any], clock: FakeClock) -> None:
    manager = calls(make_manager(clock=clock, token_max_age=None))
    token = manager.create_token(SOCKET)
    clock.advance(seconds=10_000_000)
    manager.save(token, STATE)
    assert manager.recover(token) == STATE


def test_labels_may_be_as_large_as_they_may(manager: RecoveryManager) -> None:
    token = manager.create_token("\U0001f600" * 255)
    manager.save(
        token, STATE, applied_seq=2**64 - 2, version=2**32 - 1, view="é" * 255, topic="t" * 255
    )
    takeover = manager.take_over(token)
    assert takeover.socket_id == "\U0001f600" * 255
    assert (takeover.applied_seq, takeover.version) == (2**64 - 2, 2**32 - 1)
    assert (takeover.view, takeover.topic) == ("é" * 255, "t" * 255)


def test_a_token_takes_no_storage() -> None:
    storage = DownStorage(FakeClock())
    storage.down = True
    assert make_manager(storage=storage).create_token(SOCKET)


def test_options_have_more_than_one_form(clock: FakeClock) -> None:
    manager = make_manager(secret=SECRET.decode(), ttl=timedelta(minutes=1), clock=clock)
    assert manager.ttl == 60
    assert manager.touch_interval == 15
    assert make_manager(ttl=1000, token_max_age=40).touch_interval == 10
    assert make_manager(ttl=100, token_max_age=None).touch_interval == 25
    token = make_manager(clock=clock).create_token(SOCKET)
    manager.save(token, STATE)
    assert manager.recover(token) == STATE


# Looking after the storage.


def test_a_listing_tells_all_but_the_state(
    manager: RecoveryManager, token: str, clock: FakeClock
) -> None:
    made_at = datetime.fromtimestamp(clock(), timezone.utc)
    clock.advance(seconds=10)
    manager.save(token, STATE, **LABELS)  # type: ignore[arg-type]
    manager.storage.save("f" * 16, b"rubbish", 60)
    first = manager.snapshots(limit=1)
    (info,) = first.items
    assert (info.socket_hash, info.socket_id) == (KEY, SOCKET)
    assert (info.view, info.topic, info.serializer) == ("a view", "a:topic", "json")
    assert (info.version, info.applied_seq) == (2, 7)
    assert info.size_bytes == len(manager.codec.encode(STATE))
    assert info.expires_in_seconds == manager.ttl
    assert info.created_at == made_at
    assert info.saved_at == made_at + timedelta(seconds=10)
    assert info.problem == ""
    second = manager.snapshots(cursor=first.next_cursor)
    assert second.next_cursor is None
    (unread,) = second.items
    assert (unread.socket_hash, unread.size_bytes, unread.created_at) == ("f" * 16, 7, None)
    assert "can't be read" in unread.problem
    assert manager.snapshots(prefix="the").items == [info]
    assert manager.count() == 2


def test_cleaning_up_says_how_many_went(
    manager: RecoveryManager, token: str, clock: FakeClock
) -> None:
    assert manager.cleanup_expired() == 0
    clock.advance(seconds=300)
    assert manager.cleanup_expired() == 1
    with pytest.raises(SnapshotNotFound):
        manager.recover(token)
    assert manager.count() == 0


def test_the_storage_is_memory_by_default_and_goes_by_the_managers_clock(
    clock: FakeClock,
) -> None:
    manager = make_manager(clock=clock)
    assert isinstance(manager.storage, MemoryStorage)
    assert manager.storage.clock is clock


def test_a_snapshot_dated_years_ahead_is_corrupt(manager: RecoveryManager) -> None:
    token = manager.create_token("s1")
    manager.save(token, {"count": 1})
    key = hash_socket_id("s1").hex()
    data = manager.storage.load(key) or b""
    far = replace(Header.read(data), fence=2**53)
    manager.storage.save(key, far.put_on(data), 300)
    with pytest.raises(SnapshotCorrupt, match="more than a day ahead"):
        manager.recover(token)
