"""The outcomes of recoveries in this process since it started."""

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
from recovery_app._live.outcomes import Outcome, outcome_of
from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import Observer

MAX_FAILURES = 50

TITLES: Mapping[Outcome, Promise] = {
    Outcome.RECOVERED: _("Recovered"),
    Outcome.COPIED: _("Copied from a newer connection"),
    Outcome.EXPIRED: _("Token expired"),
    Outcome.NOT_FOUND: _("Snapshot not found"),
    Outcome.SUPERSEDED: _("Superseded by a newer connection"),
    Outcome.REJECTED: _("Token rejected"),
    Outcome.VERSION: _("State not readable"),
    Outcome.FAILED: _("State not restored by the application"),
    Outcome.UNAVAILABLE: _("Storage unavailable"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed recovery; ``socket_hash`` is empty if the socket is unknown."""

    at: datetime
    socket_hash: str
    outcome: Outcome
    reason: str

    @property
    def title(self) -> Promise:
        """Return the outcome as text."""
        return TITLES[self.outcome]


class Outcomes(Observer):
    """An observer that counts recoveries by outcome and keeps the latest failures."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        register_after_fork(self)
        self.after_fork()

    def recovered(self) -> None:
        with self._lock:
            self._counts[Outcome.RECOVERED] += 1

    def joined(self, outcome: str) -> None:
        if outcome == Outcome.COPIED:
            with self._lock:
                # It was counted as recovered before, as the state is back.
                self._counts[Outcome.RECOVERED] -= 1
                self._counts[Outcome.COPIED] += 1

    def failed(self, error: RecoveryError) -> None:
        outcome = outcome_of(error)
        failure = Failure(
            at=self._now(),
            socket_hash=error.socket_hash or "",
            outcome=outcome,
            # The text of an error contains neither tokens nor state.
            reason=str(error),
        )
        with self._lock:
            self._counts[outcome] += 1
            self._failures.appendleft(failure)

    def counts(self) -> list[tuple[Promise, int]]:
        """Return the title and the count of each outcome."""
        with self._lock:
            return [(title, self._counts[outcome]) for outcome, title in TITLES.items()]

    def failures(self) -> list[Failure]:
        """Return the latest failures, newest first."""
        with self._lock:
            return list(self._failures)

    def after_fork(self) -> None:
        """Reset all counts: those of the parent process aren't this process's own."""
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self._failures: deque[Failure] = deque(maxlen=MAX_FAILURES)
        self.since = self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), timezone.utc)


OUTCOMES = Outcomes()
"""The outcomes that the admin shows; an observer from the import of `recovery_app.admin` on."""
