"""Own what becomes of an error that no storage should raise: an outage, told now and then."""

from __future__ import annotations

import logging
import math
import time

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


class Outage:
    """A block in which whatever a storage of the application's own raises is an outage.

    There is one for each operation, as it holds nothing of the block; a generator in its
    place would cost as much as reading a token.
    """

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        """Begin; there is nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, RecoveryError):
            return
        if faults.is_news(self._operation, error):
            logger.error(
                "The storage failed in a way that it shouldn't.",
                exc_info=error,
                extra={"event": "storage_broken", "operation": self._operation},
            )
        raise StorageUnavailable(
            f"The storage ({type(error).__name__})", self._operation
        ) from error


SAVE, TOUCH, TAKEOVER, RENEWAL = map(Outage, ("save", "touch", "takeover", "renewal"))
