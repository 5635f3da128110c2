"""Own how a manager's calls on its storage are watched: how long each takes, and outages.

Observers hear of each call. The log has two lines for an outage, one when it begins and one
when it is over, however many connections it hits.
"""

from __future__ import annotations

import logging
import time

from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError, StorageError, StorageUnavailable
from recovery_app.signals import observers

logger = logging.getLogger("recovery_app")

OPERATIONS = (
    "load",
    "save",
    "touch",
    "takeover",
    "renewal",
    "revocation",
    "cleanup",
    "listing",
    "count",
)
"""What a call is told as."""
QUIET_SECONDS = 5
"""How long no call must have failed before an outage counts as over."""


class Watch:
    """Time the calls on a storage, and know whether it is away."""

    def __init__(self, storage: str, *, clock: Clock = time.perf_counter) -> None:
        self.clock = clock
        self._storage = storage
        self._outage: Outage | None = None

    def done(self, operation: str, start: float) -> None:
        """Hear of a call that went well."""
        now = self.clock()
        observers.storage_called(operation, now - start, None)
        if self._outage is not None and self._outage.is_over(now):
            outage, self._outage = self._outage, None
            outage.tell_end(self._storage, now)

    def failed(self, operation: str, start: float, error: Exception) -> None:
        """Hear of a call that raised."""
        now = self.clock()
        observers.storage_called(operation, now - start, error if _is_of_storage(error) else None)
        if _is_outage(operation, error):
            if self._outage is None:
                self._outage = Outage(now)
                _tell_begin(self._storage, operation, error)
            self._outage.note(now)


class Watched:
    """A block with one call on the storage in it, of which ``watch`` is told.

    A block and no wrapper, as that would be one more coroutine for each call.
    """

    __slots__ = ("_operation", "_start", "_watch")

    def __init__(self, watch: Watch, operation: str) -> None:
        self._watch = watch
        self._operation = operation
        self._start = watch.clock()

    def __enter__(self) -> None:
        """Begin; the time counts from before."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._watch.done(self._operation, self._start)
        elif isinstance(error, Exception):
            self._watch.failed(self._operation, self._start, error)


class Outage:
    """A time in which calls fail."""

    def __init__(self, now: float) -> None:
        self._began = self._last = now
        self._failed = 0

    def note(self, now: float) -> None:
        """Count a call that failed."""
        self._last = now
        self._failed += 1

    def is_over(self, now: float) -> bool:
        """Say whether calls have gone well for long enough; they may go either way for a while."""
        return now - self._last >= QUIET_SECONDS

    def tell_end(self, storage: str, now: float) -> None:
        """Log how long it was."""
        seconds = self._last - self._began
        logger.warning(
            "%s answers again: %d calls failed within %.1f s.",
            storage,
            self._failed,
            seconds,
            extra={
                "event": "storage_back",
                "storage": storage,
                "failed_calls": self._failed,
                "seconds": round(seconds, 3),
            },
        )


def _is_of_storage(error: Exception) -> bool:
    # Of the other errors of ours the state is the cause, or who asks for it.
    return isinstance(error, StorageError) or not isinstance(error, RecoveryError)


def _is_outage(operation: str, error: Exception) -> bool:
    # Some storages can't list or count, and say so.
    says_no = isinstance(error, StorageError) and operation in ("listing", "count")
    return _is_of_storage(error) and (isinstance(error, StorageUnavailable) or not says_no)


def _tell_begin(storage: str, operation: str, error: Exception) -> None:
    cause = error.__cause__ or error
    logger.warning(
        "%s fails, and states aren't safe until it is back: %s",
        storage,
        error if isinstance(error, RecoveryError) else type(error).__name__,
        extra={
            "event": "storage_down",
            "storage": storage,
            "operation": operation,
            "reason": getattr(error, "reason", "error"),
            "cause": type(cause).__name__,
        },
    )
