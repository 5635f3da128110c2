"""Tools for the tests of applications and of custom storages; they need pytest.

Nothing in the package imports this module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recovery_app.testing.clock import ManualClock

if TYPE_CHECKING:
    from recovery_app.testing.contract import StorageContract

__all__ = ["ManualClock", "StorageContract"]


def __getattr__(name: str) -> Any:
    """Import what needs pytest only when it is used."""
    if name != "StorageContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Without this a failed assertion wouldn't show the compared values.
    import_module("pytest").register_assert_rewrite("recovery_app.testing.contract")
    return import_module("recovery_app.testing.contract").StorageContract
