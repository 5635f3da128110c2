"""Tests of the core: silence: no token, state or secret in any log line, error or repr."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from recovery_app.exceptions import RecoveryError
from recovery_app.storages import MemoryStorage
from recovery_app.testing.contract.base import OWNER
from tests.clock import FakeClock
from tests.core.support import SECRET, SOMEBODY, DownStorage, make_manager

SOCKET = "the socket"
CONFIDENTIAL = "4111-1111-1111-1111"
STATE = {"card": CONFIDENTIAL}


def said_by(call: Callable[[], object]) -> str:
    """Return all that a call says, by its result or by its error with its traceback."""
    try:
        return repr(call())
    except RecoveryError as error:
        # Without the lines of code, which are no secret.
        lines = traceback.TracebackException.from_exception(error, capture_locals=False)
        return f"{''.join(lines.format())} {error!r} {error.__dict__!r}"


@pytest.fixture
def manager(calls: Callable[[Any], Any], clock: FakeClock) -> Any:
    """Return a manager that says no to much."""
    return calls(make_manager(storage=DownStorage(clock), clock=clock, max_state_bytes=100))


def test_nothing_confidential_is_said(
    manager: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = [manager.create_token(SOCKET, binding=OWNER)]
    said = [repr(manager), repr(manager.storage), repr(manager.operations), repr(manager.codec)]

    def call(name: str, *arguments: Any, binding: bytes = OWNER) -> None:
        said.append(said_by(lambda: getattr(manager, name)(*arguments, binding=binding)))

    def try_all(token: str, binding: bytes = OWNER) -> None:
        call("save", token, STATE, binding=binding)
        call("save", token, {"card": [CONFIDENTIAL, object()]}, binding=binding)
        call("save", token, {"card": CONFIDENTIAL * 10}, binding=binding)
        call("touch", token, binding=binding)
        call("recover", token + "\n", binding=binding)
        call("take_over", token[:-1] + "é", binding=binding)

    try_all(tokens[0])
    takeover = manager.take_over(tokens[0], binding=OWNER)
    said.append(repr(takeover))
    tokens += [takeover.token, manager.renew(takeover.token, binding=OWNER)]
    for token in tokens:
        try_all(token)
        try_all(token, SOMEBODY)
    said.append(repr(manager.storage.load(manager.operations.verify(tokens[0], OWNER).key) is None))
    manager.storage.down = True
    try_all(tokens[-1])
    manager.storage.down = False
    manager.revoke(tokens[-1], binding=OWNER)
    try_all(tokens[-1])
    clock.advance(seconds=100_000)
    try_all(tokens[-1])

    everything = " ".join([*said, *(record.getMessage() for record in caplog.records), caplog.text])
    for secret in (*tokens, *(token[-20:] for token in tokens), SECRET.decode(), CONFIDENTIAL):
        assert secret not in everything


def test_a_listing_says_nothing_of_the_state(calls: Callable[[Any], Any]) -> None:
    manager = calls(make_manager(storage=MemoryStorage()))
    manager.save(manager.create_token(SOCKET), STATE)
    page = manager.snapshots()
    assert page.items[0].socket_id == SOCKET
    assert CONFIDENTIAL not in repr(page)
    assert CONFIDENTIAL not in repr(manager.storage.list_entries())


def test_the_storage_never_sees_a_token(calls: Callable[[Any], Any]) -> None:
    manager = calls(make_manager(storage=MemoryStorage()))
    tokens = [manager.create_token(SOCKET, binding=OWNER)]
    manager.save(tokens[0], STATE, binding=OWNER)
    tokens.append(manager.take_over(tokens[0], binding=OWNER).token)
    manager.save(tokens[1], STATE, binding=OWNER)
    (entry,) = manager.storage.list_entries().entries
    for token in tokens:
        assert token.encode() not in entry.data
        assert token[22:].encode() not in entry.data
    assert len(entry.key) == 16
