"""Timing of storage calls, and log lines for outages and errors.

Observers (`recovery_app.signals`) are notified of each call. The log has two lines for an outage,
one when it starts and one when it is over, however many connections it affects.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Mapping

from django.core.exceptions import SynchronousOnlyOperation

from recovery_app._concurrency import LRUCache, register_after_fork
from recovery_app._core.error_texts import place_of
from recovery_app.clock import Clock
from recovery_app.exceptions import (
    RecoveryError,
    StorageError,
    StorageUnavailable,
    TransactionConflict,
)
from recovery_app.signals import observers
from recovery_app.storages.causes import describe_cause

logger = logging.getLogger("recovery_app")

OPERATIONS = (
    "load",
    "save",
    "touch",
    "takeover",
    "renewal",
    "revocation",
    "publish",
    "group",
    "cleanup",
    "listing",
    "count",
)
"""The names under which storage calls are reported."""
QUIET_SECONDS = 5
"""How long no call must have failed before an outage counts as over."""
THROTTLE_SECONDS = 60
"""For how long the same unexpected error isn't logged again."""
REMEMBERED_ERRORS = 1_000
SHOWN_CHARACTERS = 100
"""How much a line shows of a name that a client has chosen."""


# Outages.


class StorageMonitor:
    """Detects and logs outages of one storage."""

    def __init__(self, storage: str, *, clock: Clock = time.perf_counter) -> None:
        self.clock = clock
        self._storage = storage
        self.after_fork()
        register_after_fork(self)

    def after_fork(self) -> None:
        """Forget the outage, which this process reports when it encounters it itself."""
        # Reentrant: the garbage collector may close a monitor at any time.
        self._lock = threading.RLock()
        self.outage: Outage | None = None

    def recovered(self) -> None:
        """Note that a call succeeded during an outage, which may end it."""
        outage = self.outage
        if outage is not None and outage.is_over(self.clock()) and self._end(outage):
            outage.log_end(self._storage)

    def close(self) -> None:
        """Forget an outage, if there is one: the storage is no longer used."""
        self._end(self.outage)

    def failed(self, operation: str, start: float, error: Exception) -> None:
        """Report a call that started at ``start`` and raised."""
        now = self.clock()
        is_of_storage = _is_of_storage(operation, error)
        observers.storage_called(operation, now - start, error if is_of_storage else None)
        if _is_outage(operation, error):
            self._note_outage(now, operation, error)

    def _note_outage(self, now: float, operation: str, error: Exception) -> None:
        with self._lock:
            outage, is_new = self.outage, self.outage is None
            if outage is None:
                outage = self.outage = Outage(now)
                observers.storage_down()
            outage.count(now)
        if is_new:
            _log_begin(self._storage, operation, error)

    def _end(self, outage: Outage | None) -> bool:
        """End an outage, unless another thread has; return whether there was one."""
        with self._lock:
            is_on = outage is not None and self.outage is outage
            if is_on:
                self.outage = None
                observers.storage_back()
        return is_on


class Outage:
    """A time in which calls fail."""

    def __init__(self, now: float) -> None:
        self._began = self._last = now
        self._failed = 0

    def count(self, now: float) -> None:
        """Count a call that failed."""
        self._last = now
        self._failed += 1

    def is_over(self, now: float) -> bool:
        """Return whether calls have succeeded for long enough; at first they may still fail."""
        return now - self._last >= QUIET_SECONDS

    def log_end(self, storage: str) -> None:
        """Log the end, with the duration."""
        seconds = self._last - self._began
        logger.warning(
            "%s is back: %d calls failed within %.1f s.",
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


def _is_of_storage(operation: str, error: Exception) -> bool:
    # Our other errors are caused by the state, or by whoever asks for it: with a wrong cursor, or
    # with a blocking call on an event loop.
    is_mistake = operation == "listing" and isinstance(error, ValueError)
    is_mistake |= isinstance(error, SynchronousOnlyOperation)
    is_ours = isinstance(error, RecoveryError) and not isinstance(error, StorageError)
    return not (is_mistake or is_ours)


def _is_outage(operation: str, error: Exception) -> bool:
    # Some storages can't list or count, and say so.
    is_refusal = isinstance(error, StorageError) and operation in ("listing", "count")
    # A database that has two transactions conflict is there.
    is_refusal |= isinstance(error, TransactionConflict)
    is_outage = isinstance(error, StorageUnavailable) or not is_refusal
    return _is_of_storage(operation, error) and is_outage


def _log_begin(storage: str, operation: str, error: Exception) -> None:
    cause = error.__cause__ or error
    logger.warning(
        "%s is failing, and states aren't safe until it is back: %s",
        storage,
        error if isinstance(error, RecoveryError) else describe_cause(error),
        extra={
            "event": "storage_down",
            "storage": storage,
            "operation": operation,
            "reason": getattr(error, "reason", "error"),
            "cause": type(cause).__name__,
        },
    )


# Errors that nobody should raise: an application's own, and those of its storage.


class LogThrottle:
    """Remembers which errors were logged recently, because each call may meet a lasting error."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._logged: LRUCache[tuple[str, ...], _Logged] = LRUCache(REMEMBERED_ERRORS)

    def should_log(self, operation: str, error: BaseException) -> bool:
        """Return whether this kind of error should be logged, at most once in a while."""
        return self.count_left_out(operation, type(error).__qualname__) is not None

    def count_left_out(self, *kind: str) -> int | None:
        """Return how many errors of a kind were left out since the last one that was logged.

        ``None`` if this one has to be left out as well.
        """
        now = self._clock()
        logged = self._logged.get(kind)
        # Not for as long as a clock was set back by.
        if logged is not None and 0 <= now - logged.at < THROTTLE_SECONDS:
            logged.left_out += 1
            return None
        self._logged.put(kind, _Logged(now))
        return 0 if logged is None else logged.left_out


class _Logged:
    """When an error was logged, and how many like it were not since."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.left_out = 0


throttle = LogThrottle()


def log_failure(
    message: str, error: BaseException, source: str, *, extra: Mapping[str, str]
) -> None:
    """Log an error with its traceback, but only once a minute for each place that raises it.

    The error has then been dealt with, so the contents of its frames are released.

    ``source`` is the class whose code it is. Nothing that a client chooses may distinguish two
    errors, or it could fill the log. The line says what was handled, and of which topic.
    """
    observers.application_failed(extra["event"])
    kind = extra["event"], source, type(error).__qualname__, place_of(error)
    left_out = throttle.count_left_out(*kind)
    if left_out is not None:
        message += " [%s]"
        arguments: tuple[object, ...] = (_describe(source, extra),)
        if left_out:
            message += " (%d similar lines were left out.)"
            arguments += (left_out,)
        facts = {**extra, "consumer": source, "left_out": left_out}
        logger.error(message, *arguments, exc_info=error, extra=facts)
    release_frames(error)


def warn_throttled(message: str, source: str, *, extra: Mapping[str, str]) -> None:
    """Log a warning about a client or a group, once a minute for each consumer class."""
    left_out = throttle.count_left_out(extra["event"], source)
    if left_out is not None:
        facts = {**extra, "consumer": source, "left_out": left_out}
        logger.warning(message + " [%s]", _describe(source, extra), extra=facts)


def _describe(source: str, extra: Mapping[str, str]) -> str:
    """Return whose code it was and what it was about, in one short line."""
    names = ("topic", "handling")
    found = [f"{name} {extra[name][:SHOWN_CHARACTERS]!r}" for name in names if name in extra]
    return ", ".join([source or "-", *found])


def release_frames(error: BaseException) -> None:
    """Release the contents of an error's frames once it is dealt with.

    Those of an error from another thread form a cycle: their memory would wait for the garbage
    collector.
    """
    traceback.clear_frames(error.__traceback__)


class wrap_unexpected_errors:  # noqa: N801 - a context manager reads as a function
    """A block in which unexpected errors of a custom storage become `StorageUnavailable`.

    One object serves all blocks of an operation, because it holds no state. ``expected`` is an
    error that passes unchanged.
    """

    def __init__(self, operation: str, *, expected: type[Exception] = RecoveryError) -> None:
        self._operation = operation
        self._expected = (RecoveryError, expected)

    def __enter__(self) -> None:
        """Begin; there is nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, self._expected):
            return
        if throttle.should_log(self._operation, error):
            logger.error(
                "The storage raised an unexpected error.",
                exc_info=error,
                extra={"event": "storage_broken", "operation": self._operation},
            )
        name = f"The storage ({type(error).__name__})"
        cause = describe_cause(error)
        raise StorageUnavailable(name, self._operation, cause=cause) from error
