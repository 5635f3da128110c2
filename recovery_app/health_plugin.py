"""Own the plugin for django-health-check (4 or newer), an optional dependency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from recovery_app.health import DEFAULT_TIMEOUT, acheck_storage


@dataclass
class RecoveryStorage(HealthCheck):
    """Check that the storage of this process's manager takes a snapshot and gives it back."""

    timeout: timedelta = timedelta(seconds=DEFAULT_TIMEOUT)

    async def run(self) -> None:
        """Check it; `ServiceUnavailable` says what is wrong."""
        health = await acheck_storage(timeout=self.timeout.total_seconds())
        if not health.is_good:
            raise ServiceUnavailable(f"{health.storage or 'RECOVERY'}: {health.problem}")
