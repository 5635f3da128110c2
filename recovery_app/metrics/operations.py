"""Own the metrics for a bad night: what became of joins, how the storage does, what is live.

The five that come first are in `recovery_app.metrics.recovery`; these listen in the same way.
"""

from __future__ import annotations

import threading
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from recovery_app._concurrency import register_after_fork
from recovery_app._core.telemetry import OPERATIONS
from recovery_app._live.session import Outcome
from recovery_app.conf import get_metrics_namespace
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.metrics.buffer import Maker
from recovery_app.metrics.recovery import OTHER_REASON, SUBSYSTEM
from recovery_app.signals import Observer, observers

SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
STORAGE_REASONS = (StorageUnavailable.reason, StorageError.reason, OTHER_REASON)
"""All values of the label ``reason`` of a failed call; what isn't the storage's own is the last."""


class OperatorMetrics(Observer):
    """What an operator needs beside the five, in a registry of one's choice."""

    def __init__(self, namespace: str, registry: CollectorRegistry = REGISTRY) -> None:
        self._place: dict[str, Any] = {
            "namespace": namespace,
            "subsystem": SUBSYSTEM,
            "registry": registry,
        }
        maker = Maker(**self._place)
        outcomes = maker.counter("outcomes", "Joins, by the outcome told.", "outcome")
        seconds = maker.histogram(
            "storage_seconds",
            "Time that calls on the storage take, failed ones included.",
            "operation",
            buckets=SECONDS_BUCKETS,
        )
        failed = maker.counter(
            "storage_errors", "Calls on the storage that fail.", "operation", "reason"
        )
        repeated = maker.counter(
            "events_repeated", "Events that came once more, and were not applied again."
        )
        fenced = maker.counter(
            "connections_fenced", "Connections that were taken over, and went on with a copy."
        )
        counting = maker.tallies.counting
        self._count_repeated, self._count_fenced = counting(repeated), counting(fenced)
        # Each series is there from the start, and looked up without prometheus_client's lock.
        self._count_outcome = {
            each.value: counting(outcomes.labels(each.value)) for each in Outcome
        }
        noting = maker.tallies.noting
        self._note_seconds = {name: noting(seconds.labels(name)) for name in OPERATIONS}
        self._failed = {
            (name, reason): failed.labels(name, reason)
            for name in OPERATIONS
            for reason in STORAGE_REASONS
        }
        self._live: Gauge | None = None
        self._lock = threading.Lock()
        register_after_fork(self)

    def joined(self, outcome: str) -> None:
        self._count_outcome[outcome]()

    def event_repeated(self) -> None:
        self._count_repeated()

    def connection_fenced(self) -> None:
        self._count_fenced()

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self._note_seconds[operation](seconds)
        if error is not None:
            reason = getattr(error, "reason", None)
            known = reason if reason in STORAGE_REASONS else OTHER_REASON
            self._failed[operation, known].inc()

    def counted(self, snapshots: int, *, shared: bool) -> None:
        with self._lock:
            if self._live is None:
                # Not before: where nobody counts there is no series, instead of a 0.
                self._live = Gauge(
                    "snapshots_live",
                    "About how many snapshots there are, as of the last clean-up.",
                    multiprocess_mode="mostrecent" if shared else "livesum",
                    **self._place,
                )
        self._live.set(snapshots)

    def after_fork(self) -> None:
        """Replace the lock, which the parent may have held."""
        self._lock = threading.Lock()


def start() -> None:
    """Count from now on, under the namespace that the settings have now; once a process."""
    observers.start("operator_metrics", lambda: OperatorMetrics(get_metrics_namespace()))
