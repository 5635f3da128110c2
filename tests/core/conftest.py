"""Make fixtures of what is in ``support``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app.storages import MemoryStorage, Storage
from tests.clock import FakeClock
from tests.core.selection import is_selected
from tests.core.support import CALLS, STORAGES, make_manager


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that the test advances."""
    return FakeClock()


@pytest.fixture
def restless() -> Iterator[None]:
    """Have Python switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=CALLS)
def calls(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Return what makes calls blocking, and then the same by their asynchronous twins."""
    made: Callable[[Any], Any] = request.param
    return made


@pytest.fixture(params=STORAGES)
def any_storage(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Storage]:
    """Return each storage in turn, once the fixture that its parameter names is there."""
    fixture = getattr(request.param, "fixture", None)
    if fixture is not None:
        request.getfixturevalue(fixture)
    storage: Storage = request.param(clock)
    yield storage
    storage.close()


@pytest.fixture
def storage(any_storage: Storage, calls: Callable[[Any], Any]) -> Storage:
    """Return each storage in turn, called in both ways."""
    called: Storage = calls(any_storage)
    return called


@pytest.fixture
def everywhere(
    any_storage: Storage, clock: FakeClock, calls: Callable[[Any], Any]
) -> RecoveryManager:
    """Return a manager on each storage in turn, called in both ways."""
    called: RecoveryManager = calls(make_manager(storage=any_storage, clock=clock))
    return called


@pytest.fixture
def manager(clock: FakeClock, calls: Callable[[Any], Any]) -> RecoveryManager:
    """Return a manager in memory, called in both ways."""
    called: RecoveryManager = calls(make_manager(storage=MemoryStorage(clock=clock), clock=clock))
    return called


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the storages that prove nothing new for a test."""
    left_out = [item for item in items if not is_selected(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_selected(item)]
