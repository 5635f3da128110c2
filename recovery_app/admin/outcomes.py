"""Own what came of recoveries in this process, since it began."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app._concurrency import register_after_fork
from recovery_app._live.session import Outcome, outcome_of
from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError
from recovery_app.metrics.counts import Count
from recovery_app.signals import Observer

KEPT_FAILURES = 50

TITLES: Mapping[Outcome, Promise] = {
    Outcome.RECOVERED: _("Recovered"),
    Outcome.EXPIRED: _("Came back too late"),
    Outcome.NOT_FOUND: _("Snapshot not there"),
    Outcome.SUPERSEDED: _("A newer connection had it"),
    Outcome.REJECTED: _("Token refused"),
    Outcome.VERSION: _("State not readable here"),
    Outcome.UNAVAILABLE: _("Storage unavailable"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A recovery that failed: of which socket, where that is known, and why."""

    at: datetime
    socket_hash: str
    outcome: Outcome
    reason: str

    @property
    def title(self) -> Promise:
        """Say the outcome in words."""
        return TITLES[self.outcome]


class Outcomes(Observer):
    """Count recoveries by their outcome, and keep the last failures."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        register_after_fork(self)
        self.after_fork()

    def recovered(self) -> None:
        self._new.bump()

    def failed(self, error: RecoveryError) -> None:
        outcome = outcome_of(error)
        failure = Failure(
            at=self._now(),
            socket_hash=error.socket_hash or "",
            outcome=outcome,
            # The text of an error holds neither a token nor a state.
            reason=str(error),
        )
        with self._lock:
            self._counts[outcome] += 1
            self._failures.appendleft(failure)

    def counts(self) -> list[tuple[Promise, int]]:
        """Give each outcome in words, and how often it came."""
        with self._lock:
            self._counts[Outcome.RECOVERED] += self._new.take()
            return [(title, self._counts[outcome]) for outcome, title in TITLES.items()]

    def failures(self) -> list[Failure]:
        """Give the last failures, the newest first."""
        with self._lock:
            return list(self._failures)

    def after_fork(self) -> None:
        """Begin anew: what the parent counted is the parent's."""
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self._new = Count()
        self._failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)
        self.since = self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), timezone.utc)


OUTCOMES = Outcomes()
"""Told of everything from the moment on that the admin is there."""
