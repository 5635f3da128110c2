"""Tests of the manager: its errors: each of its class, with what it says, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import (
    MalformedToken,
    SnapshotCorrupt,
    StateTooLarge,
    StorageUnavailable,
    UnserializableState,
    VersionMismatch,
)
from recovery_app.serializers import JSONSerializer
from recovery_app.testing.contract.base import snapshot_bytes
from tests.clock import FakeClock
from tests.core.support import DownStorage, make_manager

SOCKET = "the socket"
KEY = hash_socket_id(SOCKET).hex()
STATE = {"count": 1}


@pytest.fixture
def token(manager: RecoveryManager) -> str:
    """Return a token whose state is saved."""
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    return token


# States.


def test_a_state_that_is_too_large_leaves_the_older_one(
    calls: Callable[[Any], Any], clock: FakeClock
) -> None:
    manager = calls(make_manager(clock=clock, max_state_bytes=20))
    token = manager.create_token(SOCKET)
    manager.save(token, {"text": "x" * 9})
    with pytest.raises(StateTooLarge, match="has 21 bytes, over the limit of 20") as raised:
        manager.save(token, {"text": "x" * 10})
    assert (raised.value.size_bytes, raised.value.limit_bytes) == (21, 20)
    assert raised.value.socket_hash == KEY
    assert manager.recover(token) == {"text": "x" * 9}


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"items": [1, 2, 3, {"price": object()}]}, 'state["items"][3].price'),
        ({1: "a"}, "state"),
        (["no dict"], "state"),
        (None, "state"),
    ],
)
def test_what_cannot_be_stored_leaves_the_older_state(
    manager: RecoveryManager, token: str, state: Any, path: str
) -> None:
    with pytest.raises(UnserializableState) as raised:
        manager.save(token, state)
    assert raised.value.path == path
    assert str(raised.value) == f"{path} can't be stored: {raised.value.problem}."
    assert raised.value.socket_hash == KEY
    assert manager.recover(token) == STATE


# SnapshotMetadata, ids and options.


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("applied_seq", -1),
        ("applied_seq", 2**64 - 1),
        ("applied_seq", 1.5),
        ("applied_seq", "1"),
        ("version", -1),
        ("version", 2**32),
        ("version", None),
        ("version", 0.0),
        ("view", "x" * 256),
        ("view", "a\0b"),
        ("view", "\ud800"),
        ("view", None),
        ("topic", "x" * 256),
        ("topic", b"bytes"),
    ],
)
def test_bad_labels_are_refused(
    manager: RecoveryManager, token: str, label: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"^{label} "):
        manager.save(token, {"count": 99}, **{label: value})
    assert manager.recover(token) == STATE


@pytest.mark.parametrize("socket_id", ["", "x" * 256, "a\0b", "\ud800", None, b"bytes", 1])
def test_bad_socket_ids_are_refused(socket_id: Any) -> None:
    with pytest.raises(ValueError, match="socket"):
        make_manager().create_token(socket_id)


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "short"},
        {"secret_fallbacks": [b"short"]},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": 10**400},
        {"ttl": timedelta(0)},
        {"ttl": timedelta.max},
        {"token_max_age": 0},
        {"cleanup_interval": 0},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"secret|ttl|token_max_age|cleanup_interval"):
        make_manager(**options)


@pytest.mark.parametrize(
    "query",
    [{"limit": 0}, {"limit": -1}, {"limit": 10**6}, {"prefix": "\0"}, {"cursor": "\ud800"}],
)
def test_what_no_storage_can_be_asked_is_refused(
    manager: RecoveryManager, query: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(query))):
        manager.snapshots(**query)


# What is stored can't be read, or can't be reached.


def test_a_broken_snapshot_is_told_and_left(manager: RecoveryManager, token: str) -> None:
    for broken, error in (
        (b"rubbish", SnapshotCorrupt),
        (b"RS\x03" + snapshot_bytes(1)[3:], VersionMismatch),
    ):
        manager.storage.save(KEY, broken, 60)
        for give in (manager.recover, manager.take_over, manager.renew):
            with pytest.raises(error) as raised:
                give(token)
            assert raised.value.socket_hash == KEY
        for change in (
            lambda: manager.save(token, {"count": 99}),
            lambda: manager.touch(token),
        ):
            with pytest.raises(SnapshotCorrupt) as refused:
                change()
            assert refused.value.socket_hash == KEY
        assert manager.storage.load(KEY) == broken


def test_a_state_with_a_broken_end_is_corrupt(manager: RecoveryManager, token: str) -> None:
    data = manager.storage.load(KEY) or b""
    manager.storage.save(KEY, data[:-1], 60)
    for give in (manager.recover, manager.take_over):
        with pytest.raises(SnapshotCorrupt) as raised:
            give(token)
        assert raised.value.socket_hash == KEY


def test_an_outage_is_told_from_nothing_found(calls: Callable[[Any], Any]) -> None:
    storage = DownStorage(FakeClock())
    manager = calls(make_manager(storage=storage))
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    storage.down = True
    for call in (
        lambda: manager.save(token, STATE),
        lambda: manager.touch(token),
        lambda: manager.recover(token),
        lambda: manager.take_over(token),
        lambda: manager.renew(token),
        lambda: manager.revoke(token),
    ):
        with pytest.raises(StorageUnavailable) as raised:
            call()
        assert raised.value.socket_hash == KEY
        assert raised.value.storage == "DownStorage"
        assert raised.value.operation in {"load", "save"}
    storage.down = False
    assert manager.recover(token) == STATE


@pytest.mark.parametrize("bad", [None, 5, b"x" * 64, "", "x" * 64 + "\n", "\ud800" * 64, ["a"]])
def test_a_bad_token_is_a_token_error_for_every_call(manager: RecoveryManager, bad: Any) -> None:
    for call in (
        lambda: manager.save(bad, STATE),
        lambda: manager.touch(bad),
        lambda: manager.recover(bad),
        lambda: manager.take_over(bad),
        lambda: manager.renew(bad),
        lambda: manager.revoke(bad),
    ):
        with pytest.raises(MalformedToken) as raised:
            call()
        assert raised.value.socket_hash is None


# What is of the wrong type.


@pytest.mark.parametrize("name", ["ttl", "token_max_age", "cleanup_interval"])
@pytest.mark.parametrize("value", ["5m", "300", b"300", True, [300]])
def test_a_time_that_is_no_number_says_what_is_one(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds or a timedelta"):
        make_manager(**options)


@pytest.mark.parametrize("name", ["max_state_bytes", "max_frame_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1000", True, None])
def test_a_size_that_is_no_number_of_bytes_says_so(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of bytes above 0"):
        make_manager(**options)


@pytest.mark.parametrize(
    ("serializer", "what"), [(object(), "object"), (JSONSerializer, "the class JSONSerializer")]
)
def test_what_is_no_serializer_says_so(serializer: Any, what: str) -> None:
    given: list[dict[str, Any]] = [
        {"serializer": serializer},
        {"serializer_fallbacks": [serializer]},
    ]
    for options in given:
        with pytest.raises(ValueError, match=f"dumps.. and loads.., not {what}"):
            make_manager(**options)


@pytest.mark.parametrize("binding", ["user:1", 1, None])
def test_a_binding_that_is_no_bytes_says_so_and_not_whose_it_is(
    calls: Callable[[Any], Any], manager: RecoveryManager, token: str, binding: Any
) -> None:
    ask = calls(manager)
    for call in (
        lambda: manager.create_token(SOCKET, binding=binding),
        lambda: ask.save(token, STATE, binding=binding),
        lambda: ask.recover(token, binding=binding),
        lambda: ask.take_over(token, binding=binding),
        lambda: ask.revoke(token, binding=binding),
    ):
        with pytest.raises(TypeError, match="binding must be bytes") as raised:
            call()
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__
