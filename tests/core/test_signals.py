"""Tests of the announcements: everybody hears of it, and nobody can break anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import (
    InvalidSignature,
    MalformedToken,
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    StorageUnavailable,
    TokenSuperseded,
)
from recovery_app.signals import Observer, observers, recovery_failed, state_recovered
from recovery_app.testing.contract.base import OWNER
from tests.core.support import OTHER_SECRET, SOMEBODY, DownStorage, make_manager

SOCKET = "the socket"
KEY = hash_socket_id(SOCKET).hex()
STATE = {"count": 1}

SIGNALS = {"recovered": state_recovered, "failed": recovery_failed}


@pytest.fixture(params=["sync receiver", "async receiver"])
def heard(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """Return what receivers heard; one before them raises."""
    facts: list[dict[str, Any]] = []

    def receive(**given: Any) -> None:
        facts.append(given)

    async def areceive(**given: Any) -> None:
        facts.append(given)

    def fail(**_given: Any) -> None:
        raise ZeroDivisionError

    async def afail(**_given: Any) -> None:
        raise ZeroDivisionError

    is_async = request.param == "async receiver"
    receivers = [afail, areceive] if is_async else [fail, receive]
    for signal in SIGNALS.values():
        for receiver in receivers:
            signal.connect(receiver)
    yield facts
    for signal in SIGNALS.values():
        for receiver in receivers:
            signal.disconnect(receiver)


def test_a_state_given_back_is_announced(
    manager: RecoveryManager, heard: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    token = manager.create_token(SOCKET)
    manager.save(token, STATE, applied_seq=7, version=2)
    expected = {"socket_id": SOCKET, "state": STATE, "version": 2, "applied_seq": 7}
    assert manager.recover(token) == STATE
    assert manager.take_over(token).state == STATE
    assert len(heard) == 2
    for facts in heard:
        assert facts["signal"] is state_recovered
        assert facts["sender"] is RecoveryManager
        assert facts.items() >= expected.items()
    # Django tells of the receiver that raised.
    assert caplog.records
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {
        ZeroDivisionError
    }


def announced(heard: list[dict[str, Any]], call: Callable[[], object]) -> tuple[Any, type]:
    """Return the socket id, and the error's type, that a failing call announced."""
    heard.clear()
    with pytest.raises(RecoveryError) as raised:
        call()
    (facts,) = heard
    assert facts["signal"] is recovery_failed
    assert facts["error"] is raised.value
    return facts["socket_id"], raised.type


@pytest.mark.parametrize("name", ["recover", "take_over"])
def test_what_could_not_be_given_back_is_announced(
    manager: RecoveryManager, heard: list[dict[str, Any]], name: str
) -> None:
    give = getattr(manager, name)
    token = manager.create_token(SOCKET, binding=OWNER)
    forged = make_manager(secret=OTHER_SECRET).create_token(SOCKET, binding=OWNER)
    assert announced(heard, lambda: give("x")) == (None, MalformedToken)
    assert announced(heard, lambda: give(forged, binding=OWNER)) == (None, InvalidSignature)
    assert announced(heard, lambda: give(token, binding=SOMEBODY)) == (None, InvalidSignature)
    assert announced(heard, lambda: give(token, binding=OWNER)) == (SOCKET, SnapshotNotFound)
    manager.save(token, STATE, binding=OWNER)
    newer = manager.create_token(SOCKET, binding=OWNER)
    manager.save(newer, STATE, binding=OWNER)
    assert announced(heard, lambda: give(token, binding=OWNER)) == (SOCKET, TokenSuperseded)
    manager.storage.save(KEY, b"rubbish", 60)
    assert announced(heard, lambda: give(newer, binding=OWNER)) == (SOCKET, SnapshotCorrupt)


@pytest.mark.parametrize("name", ["recover", "take_over"])
def test_an_outage_is_announced_for_the_socket_that_it_hit(
    calls: Callable[[Any], Any], heard: list[dict[str, Any]], name: str
) -> None:
    storage = DownStorage(lambda: 0.0)
    storage.down = True
    manager = calls(make_manager(storage=storage))
    token = manager.create_token(SOCKET)
    give = getattr(manager, name)
    assert announced(heard, lambda: give(token)) == (SOCKET, StorageUnavailable)


def test_for_a_socket_of_another_process_the_hash_stands(
    manager: RecoveryManager, heard: list[dict[str, Any]]
) -> None:
    token = make_manager().create_token(SOCKET)
    assert announced(heard, lambda: manager.recover(token)) == (KEY, SnapshotNotFound)


def test_other_calls_announce_nothing(
    manager: RecoveryManager, heard: list[dict[str, Any]]
) -> None:
    token = manager.create_token(SOCKET)
    with pytest.raises(SnapshotNotFound):
        manager.renew(token)
    manager.touch(token)
    manager.save(token, STATE)
    manager.revoke(token)
    with pytest.raises(TokenSuperseded):
        manager.save(token, STATE)
    assert heard == []


class Counting(Observer):
    """Keep what an observer is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def token_created(self) -> None:
        self.told.append("token")

    def state_saved(self, size_bytes: int) -> None:
        self.told.append(size_bytes)

    def recovered(self) -> None:
        self.told.append("recovered")

    def failed(self, error: RecoveryError) -> None:
        self.told.append(error.reason)


@pytest.fixture
def counting() -> Iterator[Counting]:
    """Return an observer that listens."""
    counting = Counting()
    observers.add(counting)
    observers.add(counting)
    yield counting
    observers.remove(counting)


def test_observers_hear_of_all_that_counts_once(
    manager: RecoveryManager, counting: Counting
) -> None:
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    token = manager.take_over(token).token
    token = manager.renew(token)
    manager.recover(token)
    with pytest.raises(RecoveryError):
        manager.recover("x")
    size = len(manager.codec.encode(STATE))
    assert counting.told == ["token", size, "token", "recovered", "token", "recovered", "malformed"]
    observers.remove(counting)
    manager.recover(token)
    assert len(counting.told) == 7


def test_an_observer_overrides_what_it_cares_for(manager: RecoveryManager) -> None:
    deaf = Observer()
    observers.add(deaf)
    try:
        token = manager.create_token(SOCKET)
        manager.save(token, STATE)
        assert manager.recover(token) == STATE
        with pytest.raises(MalformedToken):
            manager.recover("x")
    finally:
        observers.remove(deaf)
    assert logging.getLogger("recovery_app").level == logging.NOTSET
