"""The queue of one process's journal entries.

Recording an incident puts it into the queue, which takes microseconds and never fails. A thread
stores the queued incidents together, and ends when nothing is left. While the storage is
unavailable, the queue keeps as many as it can, and counts the rest.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections import deque
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from recovery_app._concurrency import Worker, register_after_fork
from recovery_app._core.metadata import check_number, check_seconds
from recovery_app._core.rates import Buckets, Rate
from recovery_app._core.telemetry import LogThrottle
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages import Storage
from recovery_app.values import Incident, JournalLimits

logger = logging.getLogger("recovery_app")

NODE = socket.gethostname()
MAX_ENTRIES = 10**9
MAX_QUEUED = 2_000
BATCH = 500
INTERVAL_SECONDS = 1.0
"""How long incidents are gathered before they are stored together."""
MAX_INTERVAL_SECONDS = 30.0
"""The longest time between two attempts while the storage is away."""
FLUSH_SECONDS = 2.0
MAX_CAUSE_LENGTH = 300
MAX_NAME_LENGTH = 255

# What a client may repeat as often as it likes mustn't push out everybody else's incidents.
PERSON_RATE = Rate(per_second=0.5, burst=30)
NOBODY_RATE = Rate(per_second=5, burst=300)
"""For all anonymous people together."""
PROCESS_RATE = Rate(per_second=20, burst=2_000)


class Journal:
    """The queue of one process's incidents, and the thread that stores them.

    It refers to the storage and not the manager, so that an unused manager can be collected.
    ``max_entries`` is 0 for no journal.
    """

    def __init__(
        self, storage: Storage, *, max_entries: int, max_age: float | timedelta, clock: Clock
    ) -> None:
        check_number("journal_max_entries", max_entries, MAX_ENTRIES)
        self._storage = storage
        self._max_entries = max_entries
        self._max_age_seconds = check_seconds("journal_max_age", max_age)
        self._clock = clock
        self.is_on = max_entries > 0 and storage.supports_journal
        register_after_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the thread and the unsaved incidents of the parent process."""
        self._changed = threading.Condition()
        self._queue: deque[Incident] = deque()
        self._missing = 0
        self._failures = 0
        self._thread: Worker | None = None
        self._repeats = LogThrottle(self._clock)
        self._persons = Buckets(PERSON_RATE, self._clock)
        self._others = Buckets(NOBODY_RATE, self._clock)
        self._process = Buckets(PROCESS_RATE, self._clock)

    # For whoever has an incident.

    def admit(self, *kind: str, person: str = "") -> int | None:
        """Return how many incidents of a kind were left out before the next one is recorded.

        ``None`` if this one has to be left out: it came within a minute of the last of its kind, or
        the person, or the process, has too many.
        """
        if not self.is_on:
            return None
        left_out = self._repeats.count_left_out(*kind, person)
        if left_out is None:
            return None
        buckets = self._persons if person else self._others
        if buckets.take(person) and self._process.take(""):
            return left_out
        with self._changed:
            self._missing += 1
            self._start()
        return None

    def record(self, *, kind: str, reason: str, **facts: Any) -> None:
        """Have an incident stored soon; from any thread, and without waiting."""
        if not self.is_on:
            return
        incident = self._make(kind, reason, **facts)
        with self._changed:
            if len(self._queue) >= MAX_QUEUED:
                self._missing += 1
            else:
                self._queue.append(incident)
            self._start()

    def note(self, kind: str, reason: str, *, person: str = "", **facts: Any) -> None:
        """Record an incident if `admit` does not leave it out."""
        names = ("shown_hash", "socket_hash", "handling")
        # Shortened, as kinds are remembered: an event's name may be as long as a frame.
        told = (_shortened(name, str(facts.get(name) or "")) for name in names)
        left_out = self.admit(kind, reason, *told, person=person)
        if left_out is not None:
            self.record(kind=kind, reason=reason, person=person, left_out=left_out, **facts)

    def write(self, kind: str, reason: str, **facts: Any) -> None:
        """Store an incident at once, for blocking calls that have just reached the storage.

        It is then part of the caller's transaction. An error is only logged.
        """
        if not self.is_on:
            return
        incidents = [self._make(kind, reason, **facts)]
        try:
            self._storage.add_incidents(incidents, self.limits())
        except Exception as error:
            _log_failure(error)

    # For whoever reads it.

    def limits(self) -> JournalLimits:
        """Return the current limits."""
        return JournalLimits(
            max_entries=self._max_entries,
            max_age_seconds=self._max_age_seconds,
            oldest_us=to_us(max(0.0, self._clock() - self._max_age_seconds)),
        )

    def check_kept(self) -> None:
        """Raise `StorageError` if the journal is switched off."""
        if not self._max_entries:
            raise StorageError('The journal is off: RECOVERY["JOURNAL_MAX_ENTRIES"] is 0.')

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Wait until the queue is stored, or an attempt has failed; return whether it is stored."""
        with self._changed:
            if self._is_empty():
                return True
            self._start()
            if self._thread is None:
                return False
            failures = self._failures
            self._thread.wake.set()
            self._changed.wait_for(lambda: self._is_empty() or self._failures != failures, timeout)
            return self._is_empty()

    def close(self) -> None:
        """Store the queue, if that is possible now, and end the thread."""
        self.flush()
        thread = self._thread
        if thread is not None:
            self.abandon()
            thread.join(FLUSH_SECONDS)
        elif not self._is_empty():
            # When the process ends, no thread can be started any more.
            self._write()

    def abandon(self) -> None:
        """Have the thread end after one more attempt; takes no lock, as `CleanupThread` does."""
        thread = self._thread
        if thread is not None:
            thread.end()

    # The thread.

    def _start(self) -> None:
        if self._thread is not None or self._is_empty():
            return
        thread = Worker("journal", self._run)
        try:
            thread.start()
        except RuntimeError:
            # The process ends, or has too many threads: the next incident tries again.
            return
        self._thread = thread

    def _run(self, thread: Worker) -> None:
        interval = INTERVAL_SECONDS
        while True:
            thread.wake.wait(interval)
            thread.wake.clear()
            is_well = self._write()
            with self._changed:
                if thread.is_ending or self._is_empty():
                    # From here on another thread is started.
                    self._thread = None if self._thread is thread else self._thread
                    self._changed.notify_all()
                    break
                self._changed.notify_all()
                is_more = is_well and len(self._queue) >= BATCH
            if is_well:
                interval = 0 if is_more else INTERVAL_SECONDS
            else:
                interval = min(2 * interval, MAX_INTERVAL_SECONDS)
        self._storage.leave_thread()

    def _write(self) -> bool:
        """Store the start of the queue; return whether that succeeded."""
        with self._changed:
            batch = list(islice(self._queue, BATCH))
            missing = self._missing
        incidents = (
            [*batch, self._make("journal", "left_out", left_out=missing)] if missing else batch
        )
        if not incidents:
            return True
        call = partial(self._storage.add_incidents, incidents, self.limits())
        try:
            self._storage.on_thread(call)
        except Exception as error:
            self._note_failure(error, len(batch))
            return False
        with self._changed:
            self._failures = 0
            self._missing -= missing
            self._drop(len(batch))
        return True

    def _note_failure(self, error: Exception, size: int) -> None:
        if not self._failures:
            _log_failure(error)
        with self._changed:
            self._failures += 1
            if not isinstance(error, StorageUnavailable):
                # It isn't an outage, so the same batch would fail for ever.
                self._drop(size)
                self._missing += size

    def _drop(self, size: int) -> None:
        for _ in range(min(size, len(self._queue))):
            self._queue.popleft()

    def _make(self, kind: str, reason: str, **facts: Any) -> Incident:
        return Incident(
            uid=secrets.token_hex(8),
            at_us=to_us(self._clock()),
            kind=kind,
            reason=reason,
            node=NODE,
            process=os.getpid(),
            **{name: _shortened(name, value) for name, value in facts.items()},
        )

    def _is_empty(self) -> bool:
        return not self._queue and not self._missing


def _log_failure(error: Exception) -> None:
    logger.warning(
        "The journal can't be written: %s",
        error if isinstance(error, StorageError) else type(error).__name__,
        extra={"event": "journal_failed", "reason": getattr(error, "reason", "error")},
    )


def _shortened(name: str, value: Any) -> Any:
    """Return a fact, cut to the length that a journal stores; clients choose some of them."""
    if not isinstance(value, str):
        return value
    length = MAX_CAUSE_LENGTH if name == "cause" else MAX_NAME_LENGTH
    # The name of an event may hold lone surrogates, which no page can show.
    return value[:length].encode(errors="replace").decode()
