"""Tests of the timestamps: never the same twice from one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from recovery_app._concurrency import MonotonicTimestamps, timestamps_of
from recovery_app._core.tokens import issued_us_of
from recovery_app._live.outcomes import Outcome, outcome_of
from recovery_app.clock import to_us
from recovery_app.exceptions import TokenError
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.core.support import SECRET, make_manager

DAY = 86_400


def test_seconds_are_whole_microseconds() -> None:
    assert to_us(1.5) == 1_500_000
    assert to_us(1_790_000_000.123456) == 1_790_000_000_123_456


def test_a_clock_that_stands_still_or_goes_back_gives_rising_timestamps() -> None:
    ticker = MonotonicTimestamps()
    assert [ticker.tick(now) for now in (10, 10, 5, 20, 20, 1)] == [10, 11, 12, 20, 21, 22]


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("clock", [time.time, FakeClock()])
def test_tokens_are_never_the_same_twice_in_threads_and_managers(
    clock: Callable[[], float],
) -> None:
    managers = [make_manager(clock=clock), make_manager(secret=SECRET, clock=clock)]
    together = threading.Barrier(4)

    def issue(number: int) -> list[int]:
        together.wait()
        manager = managers[number % 2]
        return [issued_us_of(manager.create_token("the socket")) for _ in range(2_000)]

    with ThreadPoolExecutor(4) as threads:
        issued = list(threads.map(issue, range(4)))
    assert all(one == sorted(one) for one in issued)
    assert len({timestamp for one in issued for timestamp in one}) == 8_000


def test_all_who_go_by_one_clock_share_its_ticker(clock: FakeClock) -> None:
    assert timestamps_of(time.time) is timestamps_of(time.time)
    assert timestamps_of(clock) is timestamps_of(clock)
    assert timestamps_of(clock) is not timestamps_of(FakeClock())
    first, second = make_manager(clock=clock), make_manager(clock=clock)
    assert first.create_token("the socket") != second.create_token("the socket")


def test_a_clock_that_is_ahead_drags_no_other_along(clock: FakeClock) -> None:
    ahead = FakeClock()
    ahead.advance(seconds=3600)
    make_manager(clock=ahead).create_token("the socket")
    token = make_manager(clock=clock).create_token("the socket")
    assert issued_us_of(token) == to_us(clock())


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> float:
        return 1.0


@pytest.mark.parametrize("clock", [Unhashable(), FakeClock().__call__, lambda: 1.0])
def test_any_callable_is_a_clock(clock: Callable[[], float]) -> None:
    ticker = timestamps_of(clock)
    assert ticker.tick(to_us(clock())) < ticker.tick(to_us(clock()))


@pytest.mark.parametrize("call", ["save", "recover", "take_over", "touch", "revoke", "renew"])
def test_a_token_dated_years_ahead_is_refused(call: str, clock: FakeClock) -> None:
    """A token signed with the right secret, by a machine whose clock is wrong."""
    storage = MemoryStorage(clock=clock)
    ahead = make_manager(storage=MemoryStorage(), clock=lambda: clock() + 10 * 365 * DAY)
    token = ahead.create_token("a socket")
    manager = make_manager(storage=storage, clock=clock)
    with pytest.raises(TokenError, match="ahead of this machine's clock") as raised:
        getattr(manager, call)(token, *([{}] if call == "save" else []))
    assert type(raised.value) is TokenError
    assert outcome_of(raised.value) is Outcome.REJECTED
    assert token not in str(raised.value)
    assert storage.estimate_count() == 0


def test_a_token_may_be_dated_a_day_ahead(clock: FakeClock) -> None:
    manager = make_manager(storage=MemoryStorage(clock=clock), clock=clock)
    ahead = make_manager(storage=MemoryStorage(), clock=lambda: clock() + DAY)
    token = ahead.create_token("a socket")
    manager.save(token, {"count": 1})
    takeover = manager.take_over(token)
    assert takeover.state == {"count": 1}
    clock.advance(seconds=1)
    manager.save(takeover.token, {"count": 2})


def test_a_clock_that_is_set_back_years_issues_good_tokens() -> None:
    clock = FakeClock()
    clock.advance(seconds=10 * 365 * DAY)
    manager = make_manager(storage=MemoryStorage(clock=clock), clock=clock)
    manager.save(manager.create_token("before"), {})
    clock.advance(seconds=-10 * 365 * DAY)
    token = manager.create_token("after")
    manager.save(token, {"count": 1})
    assert manager.recover(token) == {"count": 1}
