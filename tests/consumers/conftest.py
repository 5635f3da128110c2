"""Make the fixtures of the consumer tests: a manager with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from channels.layers import channel_layers

from recovery_app import RecoveryManager
from tests.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def empty_groups() -> None:
    """Forget the groups of the test before, whose consumers may have been ended in the middle."""
    channel_layers.backends.clear()


@pytest.fixture
def make_manager() -> Iterator[Callable[..., RecoveryManager]]:
    """Return a function that builds a manager; all are closed after the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> RecoveryManager:
            return stack.enter_context(RecoveryManager(secret=b"s" * 32, **options))

        yield make


@pytest.fixture
def manager(make_manager: Callable[..., RecoveryManager], clock: FakeClock) -> RecoveryManager:
    """Return a manager for the consumers of one test."""
    return make_manager(clock=clock)
