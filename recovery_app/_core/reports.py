"""What a process says of its open pages and its joins, for operators of all processes.

Pages and joins are only counted where they happen. A thread stores what there is every 20
seconds, once there has been a page, and what it stores is bounded.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import weakref
from functools import partial
from itertools import islice
from typing import Protocol

from recovery_app._concurrency import Worker, register_after_fork
from recovery_app._core.journal import NODE
from recovery_app._core.persons import Person
from recovery_app._core.report_codec import encode_report
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageError
from recovery_app.storages import Storage
from recovery_app.storages.browsing import person_in
from recovery_app.values import LivePage, ProcessReport

logger = logging.getLogger("recovery_app")

FIRST_SECONDS = 5.0
"""How long after its first page a process reports; many in tests don't live that long."""
INTERVAL_SECONDS = 20.0
MIN_INTERVAL_SECONDS = 1.0
"""How soon after a report another one may be sent, as there are no connections any more."""
KEPT_SECONDS = 3600.0
CLOSE_SECONDS = 2.0
MAX_PAGES = 2_000
MAX_NAME_LENGTH = 100
MINUTES = 60

REFUSED_JOIN = "refused"
"""Counted among the outcomes: a join that was refused."""
CRASHED_JOIN = "join_crashed"
"""Counted among the outcomes: a join that ended with an error."""


class OpenPage(Protocol):
    """The part of a topic's state that is reported."""

    person: Person
    log_name: str

    @property
    def names(self) -> tuple[str, str]: ...
    @property
    def socket_hash(self) -> str | None: ...


class Reporter:
    """Counts the pages and joins of one process, and the thread that reports them.

    It knows the storage and not the manager, so that a manager which nobody uses any more can be
    collected. Where no other process could read the reports there is no thread: whoever reads
    them in this one has the latest stored first.
    """

    def __init__(self, storage: Storage, *, is_on: bool, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self.is_wanted = is_on
        self.is_on = is_on and storage.supports_reports
        _reporters.add(self)
        register_after_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent process's pages, joins and thread."""
        # Reentrant: a finalizer may end a page while this thread counts another one.
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._uid = secrets.token_hex(8)
        self._started_us = to_us(self._clock())
        self._pages: dict[OpenPage, float] = {}
        self._connections = 0
        self._joins: dict[int, dict[str, int]] = {}
        self._is_used = False
        self._may_start = True
        self._is_stored = False
        self._is_failing = False
        self._written = 0.0
        self._thread: Worker | None = None

    # For what is counted; from any thread, and without waiting.

    def opened(self, page: OpenPage) -> None:
        """Note that a topic is joined."""
        if self.is_on:
            with self._lock:
                self._pages[page] = self._clock()
                if self._may_start:
                    self._start()

    def closed(self, page: OpenPage) -> None:
        """Note that such a topic has ended."""
        if self.is_on:
            with self._lock:
                self._pages.pop(page, None)

    def connected(self, change: int) -> None:
        """Note that a WebSocket was accepted (1), or has ended (-1)."""
        if self.is_on:
            with self._lock:
                self._connections += change
                if self._may_start:
                    self._start()
                if not self._connections:
                    self._hurry()

    def joined(self, outcome: str) -> None:
        """Note what came of a join."""
        if self.is_on:
            minute = int(self._clock() // 60)
            with self._lock:
                counts = self._joins.get(minute)
                if counts is None:
                    counts = self._add_minute(minute)
                counts[outcome] = counts.get(outcome, 0) + 1
                if self._may_start:
                    self._start()

    # For whoever reads.

    def check_kept(self) -> None:
        """Raise `StorageError` if reports are switched off."""
        if not self.is_wanted:
            raise StorageError('Live pages aren’t reported: RECOVERY["JOURNAL_MAX_ENTRIES"] is 0.')

    def write(self, *, has_ended: bool = False) -> None:
        """Store a report, if this process ever had a page. An error is logged and no more."""
        if not self.is_on or not self._is_used:
            return
        with self._writing:
            self._written = self._clock()
            try:
                data = encode_report(self._make(has_ended=has_ended))
                self._storage.put_report(self._uid, data, KEPT_SECONDS)
            except Exception as error:
                self._note_failure(error)
            else:
                self._is_stored, self._is_failing = True, False

    def close(self) -> None:
        """Have the thread end, with a last report."""
        thread = self._thread
        if thread is not None:
            self.abandon()
            thread.join(CLOSE_SECONDS)

    def abandon(self) -> None:
        """Have the thread end; takes no lock, as `CleanupThread` does."""
        thread = self._thread
        if thread is not None:
            thread.end()

    # The thread.

    def _start(self) -> None:
        self._is_used = True
        if not self._storage.is_shared:
            self._may_start = False
            return
        thread = Worker("reports", self._run)
        try:
            thread.start()
        except RuntimeError:
            # The process ends, or has too many threads: the next page tries again.
            return
        self._thread, self._may_start = thread, False

    def _hurry(self) -> None:
        """Have a report without pages sent at once: the process may be about to end.

        Not every server lets it come to an end of its own (uvicorn raises SIGTERM once more).
        """
        is_due = self._is_stored and self._clock() - self._written >= MIN_INTERVAL_SECONDS
        if self._thread is not None and is_due:
            self._thread.wake.set()

    def _run(self, thread: Worker) -> None:
        seconds = FIRST_SECONDS
        while not self._waits_in_vain(thread, seconds):
            self._write_here()
            seconds = INTERVAL_SECONDS
        with self._lock:
            # From here on another thread is started.
            if self._thread is thread:
                self._thread, self._may_start = None, True
        if self._is_stored:
            self._write_here(has_ended=True)

    def _waits_in_vain(self, thread: Worker, seconds: float) -> bool:
        """Wait until a report is due; return whether the thread is to end instead."""
        thread.wake.wait(seconds)
        thread.wake.clear()
        return thread.is_ending

    def _write_here(self, *, has_ended: bool = False) -> None:
        try:
            self._storage.on_thread(partial(self.write, has_ended=has_ended))
            # No connection is held between two reports.
            self._storage.leave_thread()
        except Exception as error:
            self._note_failure(error)

    def _note_failure(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            logger.warning(
                "The live pages of this process can't be reported: %s",
                error if isinstance(error, StorageError) else type(error).__name__,
                extra={"event": "report_failed", "reason": getattr(error, "reason", "error")},
            )

    # What is reported.

    def _make(self, *, has_ended: bool) -> ProcessReport:
        with self._lock:
            opened = list(self._pages.items())
            joins = {minute: dict(counts) for minute, counts in self._joins.items()}
            connections = self._connections
        now = self._clock()
        oldest = _first_minute(now)
        return ProcessReport(
            uid=self._uid,
            at_us=to_us(now),
            started_us=self._started_us,
            node=NODE,
            process=os.getpid(),
            has_ended=has_ended,
            connections=connections,
            topics=len(opened),
            pages=tuple(map(_describe, islice(reversed(opened), MAX_PAGES))),
            joins={minute: counts for minute, counts in joins.items() if minute >= oldest},
        )

    def _add_minute(self, minute: int) -> dict[str, int]:
        for old in [each for each in self._joins if each <= minute - MINUTES]:
            del self._joins[old]
        return self._joins.setdefault(minute, {})


_reporters: weakref.WeakSet[Reporter] = weakref.WeakSet()


def report_end() -> None:
    """Have this process say that it ends, as far as it has reported anything."""
    for reporter in list(_reporters):
        reporter.close()


def _first_minute(now: float) -> int:
    return int(now // 60) - MINUTES + 1


def _describe(opened: tuple[OpenPage, float]) -> LivePage:
    page, since = opened
    view, topic = page.names
    return LivePage(
        socket_hash=page.socket_hash or "",
        person=person_in(page.person.digest),
        user=_shortened(page.log_name),
        view=_shortened(view),
        topic=_shortened(topic),
        since_us=to_us(since),
    )


def _shortened(text: str) -> str:
    # A client may have chosen it: it may be long, and hold lone surrogates.
    return text[:MAX_NAME_LENGTH].encode(errors="replace").decode()
