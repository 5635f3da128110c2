"""A plugin for django-health-check 4 or newer, an optional dependency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from recovery_app.health import DEFAULT_TIMEOUT, acheck_storage


@dataclass
class RecoveryStorage(HealthCheck):
    """A check that the current manager's storage stores and returns a snapshot."""

    timeout: timedelta = timedelta(seconds=DEFAULT_TIMEOUT)

    async def run(self) -> None:
        """Raise `ServiceUnavailable` with the problem, if there is one."""
        health = await acheck_storage(timeout=self.timeout.total_seconds())
        if not health.is_good:
            raise ServiceUnavailable(f"{health.storage or 'RECOVERY'}: {health.problem}")
