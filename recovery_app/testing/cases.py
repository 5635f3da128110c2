"""A mixin for the `TestCase` of Django or unittest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from recovery_app.testing.clock import ManualClock
from recovery_app.testing.failures import FailingStorage
from recovery_app.testing.managers import temporary_manager

if TYPE_CHECKING:
    from unittest import TestCase as Base

    from recovery_app._core.manager import RecoveryManager
else:
    Base = object


class RecoveryTestMixin(Base):
    """A separate manager, storage and clock for each test; no test leaves anything behind."""

    recovery_options: ClassVar[Mapping[str, Any]] = {}
    """Arguments of `RecoveryManager` in place of the settings, such as ``{"ttl": 60}``."""

    recovery_clock: ManualClock
    recovery_storage: FailingStorage
    recovery_manager: RecoveryManager

    def setUp(self) -> None:
        """Replace the manager of the process with one for this test."""
        super().setUp()
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.recovery_clock = ManualClock()
        self.recovery_storage = FailingStorage(clock=self.recovery_clock)
        self.recovery_manager = stack.enter_context(
            temporary_manager(
                storage=self.recovery_storage, clock=self.recovery_clock, **self.recovery_options
            )
        )
