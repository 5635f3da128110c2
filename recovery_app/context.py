"""Own which manager is the current one: the process's, or one put in its place for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from recovery_app.conf import get_manager
from recovery_app.manager import RecoveryManager

_override: ContextVar[RecoveryManager | None] = ContextVar("recovery_app_manager", default=None)


def current_manager() -> RecoveryManager:
    """Give the manager that `override_manager` put in place here, else `get_manager()`."""
    return _override.get() or get_manager()


@contextmanager
def override_manager(manager: RecoveryManager) -> Iterator[RecoveryManager]:
    """Make ``manager`` the current one inside the block, for this thread or task only."""
    token = _override.set(manager)
    try:
        yield manager
    finally:
        _override.reset(token)
