"""Own what becomes of an error that no storage should raise: an outage, told now and then."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError, StorageUnavailable

TOLD_SECONDS = 60
"""For how long the same fault isn't told again."""

logger = logging.getLogger("recovery_app")


class Faults:
    """Know which faults were told lately: one that lasts is met by each call of each page."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    def is_news(self, operation: str, error: Exception) -> bool:
        """Say whether a fault is to be told now."""
        kind = operation, type(error).__qualname__
        now = self._clock()
        if now - self._told.get(kind, -math.inf) < TOLD_SECONDS:
            return False
        self._told[kind] = now
        return True


faults = Faults()


@contextmanager
def outage(operation: str) -> Iterator[None]:
    """Take whatever a storage of the application's own raises for an outage."""
    try:
        yield
    except RecoveryError:
        raise
    except Exception as error:
        if faults.is_news(operation, error):
            logger.exception(
                "The storage failed in a way that it shouldn't.",
                extra={"event": "storage_broken", "operation": operation},
            )
        raise StorageUnavailable(f"The storage ({type(error).__name__})", operation) from error
