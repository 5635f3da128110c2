"""The log of an outage: two lines, however many calls it hits."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from recovery_app._core.telemetry import QUIET_SECONDS, StorageMonitor
from recovery_app.exceptions import (
    RecoveryError,
    SnapshotCorrupt,
    StorageError,
    StorageUnavailable,
)
from recovery_app.signals import Observer, observers


class Away:
    """A call that fails with ``error`` while there is one."""

    error: Exception | None = None

    def __call__(self) -> None:
        if self.error is not None:
            raise self.error


class Timer:
    """A clock that stands still until a test moves it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def away() -> Away:
    return Away()


@pytest.fixture
def call(away: Away, timer: Timer) -> Callable[..., None]:
    """Return a function that makes the monitored call."""
    monitor = StorageMonitor("TheStorage", clock=timer)

    def make(operation: str = "load") -> None:
        start = timer()
        try:
            away()
        except Exception as error:
            monitor.failed(operation, start, error)
        else:
            if monitor.outage is not None:
                monitor.recovered()

    return make


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.event)
        for record in caplog.records
        if record.name == "recovery_app" and hasattr(record, "event")
    ]


def test_an_outage_has_two_lines(
    timer: Timer, away: Away, call: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    call()
    away.error = StorageUnavailable("TheStorage", "load")
    away.error.__cause__ = ConnectionRefusedError()
    for _ in range(1000):
        timer.now += 0.01
        call()
    away.error = None
    timer.now += QUIET_SECONDS
    call()
    call()
    assert lines(caplog) == [("WARNING", "storage_down"), ("WARNING", "storage_back")]
    down, back = (vars(record) for record in caplog.records)
    assert down["cause"] == "ConnectionRefusedError"
    assert (down["storage"], down["operation"], down["reason"]) == (
        "TheStorage",
        "load",
        "unavailable",
    )
    assert back["failed_calls"] == 1000
    assert back["seconds"] == pytest.approx(9.99)
    assert caplog.messages == [
        (
            "TheStorage is failing, and states aren't safe until it is back: "
            "TheStorage is unavailable (during load)."
        ),
        "TheStorage is back: 1000 calls failed within 10.0 s.",
    ]


def test_an_outage_is_over_once_all_has_gone_well_for_a_while(
    timer: Timer, away: Away, call: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        away.error = StorageUnavailable("TheStorage", "load")
        call()
        away.error = None
        timer.now += QUIET_SECONDS - 0.1
        call()
    assert lines(caplog) == [("WARNING", "storage_down")]
    timer.now += 0.2
    call()
    assert lines(caplog)[1:] == [("WARNING", "storage_back")]
    away.error = StorageUnavailable("TheStorage", "load")
    call()
    assert lines(caplog)[2:] == [("WARNING", "storage_down")]


@pytest.mark.parametrize(
    ("operation", "error", "is_outage"),
    [
        ("save", StorageUnavailable("TheStorage", "save"), True),
        ("save", StorageError("The table is gone."), True),
        ("save", ZeroDivisionError("a secret of the state"), True),
        ("count", StorageUnavailable("TheStorage", "count"), True),
        ("count", StorageError("It can't count."), False),
        ("listing", StorageError("It can't list."), False),
        ("listing", ValueError("The cursor isn't one of this storage."), False),
        ("load", ValueError("Not of a caller's."), True),
        ("load", SnapshotCorrupt("rubbish"), False),
        ("load", RecoveryError("Of somebody's own."), False),
    ],
)
def test_what_is_an_outage(
    away: Away,
    call: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    operation: str,
    error: Exception,
    is_outage: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    away.error = error
    call(operation)
    assert [event for _, event in lines(caplog)] == ["storage_down"] * is_outage
    assert "a secret" not in caplog.text


class Hearing(Observer):
    """Keep what is told of calls."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self.errors.append(error)


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (StorageError("The table is gone."), True),
        (ZeroDivisionError(), True),
        (SnapshotCorrupt("rubbish"), False),
    ],
)
def test_what_counts_as_a_failure_of_the_storage(
    away: Away, call: Callable[..., None], error: Exception, is_told: bool
) -> None:
    """An alert pages somebody for it."""
    hearing = Hearing()
    observers.add(hearing)
    away.error = error
    try:
        call()
    finally:
        observers.remove(hearing)
    assert hearing.errors == [error if is_told else None]
