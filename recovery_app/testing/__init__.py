"""Tools for testing applications and custom storages.

No other module of the package imports this one. `StorageContract` and the plugin need pytest; the
rest needs only the package itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recovery_app.testing.clock import ManualClock

if TYPE_CHECKING:
    from recovery_app.testing.cases import RecoveryTestMixin
    from recovery_app.testing.communicator import ConnectionClosed, RecoveryCommunicator
    from recovery_app.testing.contract import StorageContract
    from recovery_app.testing.failures import FailingStorage
    from recovery_app.testing.managers import temporary_manager

__all__ = [
    "TEST_SETTINGS",
    "ConnectionClosed",
    "FailingStorage",
    "ManualClock",
    "RecoveryCommunicator",
    "RecoveryTestMixin",
    "StorageContract",
    "temporary_manager",
]

TEST_SETTINGS: dict[str, Any] = {
    "STORAGE": {"BACKEND": "recovery_app.storages.MemoryStorage"},
    "CLEANUP_INTERVAL": None,
    "JOIN_RATE": None,
}
"""Keys of ``RECOVERY`` for tests: no rows, no clean-up thread, and no limit on joins."""

_MODULES = {
    "ConnectionClosed": "communicator",
    "FailingStorage": "failures",
    "RecoveryCommunicator": "communicator",
    "RecoveryTestMixin": "cases",
    "StorageContract": "contract",
    "temporary_manager": "managers",
}


def __getattr__(name: str) -> Any:
    """Import what needs settings or pytest only when it is used: settings may use this module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "StorageContract":
        # Without this a failed assertion wouldn't show the compared values.
        import_module("pytest").register_assert_rewrite("recovery_app.testing.contract")
    return getattr(import_module(f"recovery_app.testing.{_MODULES[name]}"), name)
