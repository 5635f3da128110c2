"""Own how a manager's calls on its storage are watched: how long each takes, and outages.

Observers hear of each call. The log has two lines for an outage, one when it begins and one
when it is over, however many connections it hits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError, StorageError, StorageUnavailable
from recovery_app.signals import observers
from recovery_app.storages import Storage

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

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class WatchedStorage:
    """The calls that a manager makes on ``storage``; each does as the storage's own."""

    def __init__(self, storage: Storage) -> None:
        watch = Watch(type(storage).__name__)
        self.load = watch.over("load", storage.load)
        self.save_fenced = watch.over("save", storage.save_fenced)
        self.touch_fenced = watch.over("touch", storage.touch_fenced)
        self.take_over = watch.over("takeover", storage.take_over)
        self.renew = watch.over("renewal", storage.renew)
        self.revoke = watch.over("revocation", storage.revoke)
        self.cleanup_expired = watch.over("cleanup", storage.cleanup_expired)
        self.list_entries = watch.over("listing", storage.list_entries)
        self.count = watch.over("count", storage.count)
        self.aload = watch.over_async("load", storage.aload)
        self.asave_fenced = watch.over_async("save", storage.asave_fenced)
        self.atouch_fenced = watch.over_async("touch", storage.atouch_fenced)
        self.atake_over = watch.over_async("takeover", storage.atake_over)
        self.arenew = watch.over_async("renewal", storage.arenew)
        self.arevoke = watch.over_async("revocation", storage.arevoke)
        self.acleanup_expired = watch.over_async("cleanup", storage.acleanup_expired)
        self.alist_entries = watch.over_async("listing", storage.alist_entries)
        self.acount = watch.over_async("count", storage.acount)


class Watch:
    """Time calls, and know whether the storage is away."""

    def __init__(self, storage: str, *, clock: Clock = time.perf_counter) -> None:
        self._storage = storage
        self._clock = clock
        self._outage: Outage | None = None

    def over(
        self, operation: str, call: Callable[Arguments, Result]
    ) -> Callable[Arguments, Result]:
        """Give a function that makes a call and tells of it."""
        clock, done = self._clock, self._done

        def watched(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
            start = clock()
            try:
                result = call(*args, **options)
            except Exception as error:
                self._failed(operation, start, error)
                raise
            done(operation, start)
            return result

        return watched

    def over_async(
        self, operation: str, call: Callable[Arguments, Awaitable[Result]]
    ) -> Callable[Arguments, Awaitable[Result]]:
        """Do as `over`, for a call that is awaited."""
        clock, done = self._clock, self._done

        async def watched(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
            start = clock()
            try:
                result = await call(*args, **options)
            except Exception as error:
                self._failed(operation, start, error)
                raise
            done(operation, start)
            return result

        return watched

    def _done(self, operation: str, start: float) -> None:
        now = self._clock()
        observers.storage_called(operation, now - start, None)
        if self._outage is not None and self._outage.is_over(now):
            outage, self._outage = self._outage, None
            outage.tell_end(self._storage, now)

    def _failed(self, operation: str, start: float, error: Exception) -> None:
        now = self._clock()
        observers.storage_called(operation, now - start, error)
        if _is_outage(operation, error):
            if self._outage is None:
                self._outage = Outage(now)
                _tell_begin(self._storage, operation, error)
            self._outage.note(now)


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


def _is_outage(operation: str, error: Exception) -> bool:
    if isinstance(error, StorageError):
        # Some storages can't list or count, and say so.
        return isinstance(error, StorageUnavailable) or operation not in ("listing", "count")
    # Of the other errors of ours the state is the cause, or who asks for it.
    return not isinstance(error, RecoveryError)


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
