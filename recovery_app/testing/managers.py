"""A manager for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recovery_app._core.manager import RecoveryManager
from recovery_app.clock import Clock
from recovery_app.conf import build_manager, get_settings, replace_manager
from recovery_app.storages import Storage
from recovery_app.testing.clock import ManualClock
from recovery_app.testing.failures import FailingStorage


@contextmanager
def temporary_manager(
    *, storage: Storage | None = None, clock: Clock | None = None, **options: Any
) -> Iterator[RecoveryManager]:
    """Have a new manager in place of the process's inside the block, and close it afterwards.

    Everything uses it: consumers, views, commands and the admin, in each thread and task. It
    has the settings of the project, except for what is given here and what would disturb
    tests: its storage is a `FailingStorage`, its clock a `ManualClock`, and there is neither a
    thread that cleans up nor a limit for joins. ``options`` are those of `RecoveryManager`.
    """
    time = clock or ManualClock()
    changes = {"cleanup_interval": None, "join_rate": None, **options}
    kept_in = storage or FailingStorage(clock=time)
    with (
        build_manager(get_settings(), storage=kept_in, clock=time, **changes) as manager,
        replace_manager(manager),
    ):
        yield manager
