"""Make the fixtures of the consumer tests: a manager with a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recovery_app import RecoveryManager
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Iterator[RecoveryManager]:
    """Give a manager for the consumers of one test."""
    with RecoveryManager(secret=b"s" * 32, clock=clock) as made:
        yield made
