"""Tests of the manager: its serializers: any may be changed for another, and none is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from recovery_app.exceptions import RecoveryError, SnapshotCorrupt, UnserializableState
from recovery_app.serializers import JSONSerializer, MsgPackSerializer, Serializer
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.core.support import make_manager

SOCKET = "the socket"
STATE = {"count": 1, "raw": b"\x00\xff"}


class OwnSerializer:
    """A serializer of an application's own, without a name and without any care."""

    def dumps(self, state: Mapping[str, Any]) -> bytes:
        return json.dumps(state).encode()

    def loads(self, data: bytes) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(data)
        return state


class NamedSerializer(OwnSerializer):
    name = "own"


class TextSerializer(OwnSerializer):
    def dumps(self, state: Mapping[str, Any]) -> Any:
        return json.dumps(state)


class ListSerializer(OwnSerializer):
    def loads(self, data: bytes) -> Any:
        return list(super().loads(data))


def manager_with(serializer: Serializer, storage: MemoryStorage | None = None) -> Any:
    return make_manager(serializer=serializer, storage=storage or MemoryStorage())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (JSONSerializer(), MsgPackSerializer()),
        (MsgPackSerializer(), JSONSerializer()),
        (JSONSerializer(), OwnSerializer()),
        (MsgPackSerializer(), NamedSerializer()),
    ],
)
def test_a_snapshot_outlives_a_change_of_serializer(
    calls: Callable[[Any], Any], before: Serializer, after: Serializer
) -> None:
    storage = MemoryStorage()
    first, second = calls(manager_with(before, storage)), calls(manager_with(after, storage))
    token = first.create_token(SOCKET)
    first.save(token, STATE)
    assert second.recover(token) == STATE
    takeover = second.take_over(token)
    assert takeover.state == STATE
    # The bytes aren't of the kind that this manager would compare its own with.
    assert takeover.payload is None
    second.save(takeover.token, {"count": 2})
    assert second.recover(takeover.token) == {"count": 2}


@pytest.mark.parametrize("serializer", [OwnSerializer(), NamedSerializer()])
def test_a_serializer_that_is_missing_is_told(
    calls: Callable[[Any], Any], serializer: Serializer
) -> None:
    storage = MemoryStorage()
    token = manager_with(serializer).create_token(SOCKET)
    calls(manager_with(serializer, storage)).save(token, {"count": 1})
    name = getattr(serializer, "name", f"{__name__}.OwnSerializer")
    without = calls(manager_with(JSONSerializer(), storage))
    for give in (without.recover, without.take_over):
        with pytest.raises(SnapshotCorrupt, match="'json'") as raised:
            give(token)
        assert repr(name) in raised.value.problem
    assert calls(manager_with(serializer, storage)).recover(token) == {"count": 1}


@pytest.mark.parametrize("serializer", [OwnSerializer(), NamedSerializer()])
def test_a_fallback_reads_what_it_wrote(
    calls: Callable[[Any], Any], serializer: Serializer
) -> None:
    storage = MemoryStorage()
    first = calls(manager_with(serializer, storage))
    token = first.create_token(SOCKET)
    first.save(token, {"count": 1})
    manager = make_manager(serializer_fallbacks=[serializer], storage=storage)
    second = calls(manager)
    assert second.recover(token) == {"count": 1}
    (info,) = manager.snapshots().items
    inspection = manager.inspect(info.socket_hash)
    assert inspection is not None
    assert inspection.state == {"count": 1}
    takeover = second.take_over(token)
    assert (takeover.state, takeover.payload) == ({"count": 1}, None)
    second.save(takeover.token, STATE)
    (info,) = manager.snapshots().items
    assert info.serializer == "json"
    assert second.recover(takeover.token) == STATE


def test_a_missing_serializer_is_told_with_both_settings(calls: Callable[[Any], Any]) -> None:
    storage = MemoryStorage()
    writer = manager_with(OwnSerializer(), storage)
    writer.save(token := writer.create_token(SOCKET), {"count": 1})
    other = make_manager(serializer_fallbacks=[NamedSerializer()], storage=storage)
    with pytest.raises(SnapshotCorrupt) as raised:
        calls(other).recover(token)
    for word in ("OwnSerializer'", "RECOVERY['SERIALIZER']", "RECOVERY['SERIALIZER_FALLBACKS']"):
        assert word in str(raised.value)


def test_what_a_fallback_does_wrong_is_a_clean_error(calls: Callable[[Any], Any]) -> None:
    storage = MemoryStorage()
    writer = manager_with(NamedSerializer(), storage)
    writer.save(token := writer.create_token(SOCKET), {"secret": 1})
    broken = ListSerializer()
    broken.name = "own"  # type: ignore[attr-defined]
    with pytest.raises(SnapshotCorrupt, match="own returned list, not a dict") as raised:
        calls(make_manager(serializer_fallbacks=[broken], storage=storage)).recover(token)
    assert_silent(raised.value)


def test_a_fallback_never_replaces_the_serializer_of_that_name() -> None:
    fallback = ListSerializer()
    fallback.name = "json"  # type: ignore[attr-defined]
    manager = make_manager(serializer_fallbacks=[fallback])
    manager.save(token := manager.create_token(SOCKET), STATE)
    assert manager.recover(token) == STATE


def test_a_payload_of_the_managers_own_is_given_back() -> None:
    manager = manager_with(MsgPackSerializer())
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    assert manager.take_over(token).payload == manager.codec.encode(STATE)


@pytest.mark.parametrize(
    ("serializer", "problem"),
    [
        (OwnSerializer(), "raised TypeError"),
        (TextSerializer(), "returned str, not bytes"),
    ],
)
def test_what_an_own_serializer_does_wrong_in_writing_is_a_clean_error(
    calls: Callable[[Any], Any], serializer: Serializer, problem: str
) -> None:
    manager = calls(manager_with(serializer))
    state = {"secret": b"bytes"} if "raised" in problem else {"a": 1}
    with pytest.raises(UnserializableState, match=problem) as raised:
        manager.save(manager.create_token(SOCKET), state)
    assert raised.value.path == "state"
    assert_silent(raised.value)


@pytest.mark.parametrize(
    ("stored", "problem"),
    [(b"secret rubbish", "raised JSONDecodeError"), (b'{"a": 1}', "returned list, not a dict")],
)
def test_what_an_own_serializer_does_wrong_in_reading_is_a_clean_error(
    calls: Callable[[Any], Any], clock: FakeClock, stored: bytes, problem: str
) -> None:
    manager = calls(manager_with(ListSerializer()))
    token = manager.create_token(SOCKET)
    manager.save(token, {"a": 1})
    (entry,) = manager.storage.list_entries().entries
    manager.storage.save(entry.key, entry.data.replace(b'{"a": 1}', stored), 60)
    with pytest.raises(SnapshotCorrupt, match=problem) as raised:
        manager.recover(token)
    assert_silent(raised.value)


def assert_silent(error: RecoveryError) -> None:
    """Fail if a traceback of the error would show the state, or a part of it."""
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
