"""The pytest plugin: ``pytest_plugins = ["recovery_app.testing.plugin"]`` in ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from recovery_app._core.manager import RecoveryManager
from recovery_app.conf import close_manager
from recovery_app.testing.clock import ManualClock
from recovery_app.testing.failures import FailingStorage
from recovery_app.testing.managers import temporary_manager


@pytest.fixture
def recovery_clock() -> ManualClock:
    """Return the clock of `recovery_manager`, which the test advances."""
    return ManualClock()


@pytest.fixture
def recovery_storage(recovery_clock: ManualClock) -> FailingStorage:
    """Return the storage of `recovery_manager`, which can be made to fail."""
    return FailingStorage(clock=recovery_clock)


@pytest.fixture
def recovery_options() -> dict[str, object]:
    """Return arguments for `recovery_manager` in place of the settings; override it for some."""
    return {}


@pytest.fixture
def recovery_manager(
    recovery_clock: ManualClock,
    recovery_storage: FailingStorage,
    recovery_options: dict[str, object],
) -> Iterator[RecoveryManager]:
    """Yield a manager that everything in the process uses during the test."""
    options = {"storage": recovery_storage, "clock": recovery_clock, **recovery_options}
    with temporary_manager(**options) as manager:  # type: ignore[arg-type]
        yield manager


@pytest.fixture(autouse=True)
def _recovery_closed() -> Iterator[None]:
    """Close the process's manager after each test, with its threads and connections."""
    yield
    close_manager()
    SyncToAsync.single_thread_executor.submit(_forget_connections).result()


def _forget_connections() -> None:
    """Forget the connections of the thread on which Channels and Django run sync code.

    At the end of each consumer, Channels looks at those that are open there, in a test that may
    use no database too, where pytest-django allows none to be looked at.
    """
    for connection in connections.all(initialized_only=True):
        connection.close()
        if connection.connection is not None:
            # One in memory, which Django never closes. The test's own thread keeps the data.
            connection.connection.close()
        del connections[connection.alias]
