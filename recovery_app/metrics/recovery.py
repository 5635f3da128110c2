"""Own the Prometheus metrics; they only listen (`recovery_app.signals.Observer`)."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry

from recovery_app.conf import get_metrics_namespace
from recovery_app.exceptions import (
    InvalidSignature,
    MalformedToken,
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    StorageError,
    StorageUnavailable,
    TokenExpired,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.metrics.buffer import Maker
from recovery_app.signals import Observer, observers

SUBSYSTEM = "recovery"
SIZE_BUCKETS = tuple(float(2**power) for power in range(7, 21))
OTHER_REASON = RecoveryError.reason
REASONS = (
    MalformedToken.reason,
    InvalidSignature.reason,
    TokenSuperseded.reason,
    SnapshotNotFound.reason,
    SnapshotCorrupt.reason,
    VersionMismatch.reason,
    StorageUnavailable.reason,
    StorageError.reason,
    OTHER_REASON,
)
"""All values of the label ``reason``; an error of somebody else's making is the last."""


class Metrics(Observer):
    """The five metrics of recovery, in a registry of one's choice."""

    def __init__(self, namespace: str, registry: CollectorRegistry = REGISTRY) -> None:
        maker = Maker(namespace=namespace, subsystem=SUBSYSTEM, registry=registry)
        counting = maker.tallies.counting
        created = maker.counter("tokens_created", "Tokens issued, taken over or renewed.")
        recovered = maker.counter("tokens_recovered", "States given back.")
        self._count_created, self._count_recovered = counting(created), counting(recovered)
        self._expired = maker.counter("tokens_expired", "Recoveries that came too late.")
        self._failed = maker.counter(
            "tokens_failed", "Recoveries that failed for another reason.", "reason"
        )
        for reason in REASONS:
            # From 0 on: a rate over a series that starts at 1 misses the first failure.
            self._failed.labels(reason)
        size = maker.histogram(
            "state_size_bytes", "Serialized size of each saved state.", buckets=SIZE_BUCKETS
        )
        self._note_size = maker.tallies.noting(size)

    def token_created(self) -> None:
        self._count_created()

    def state_saved(self, size_bytes: int) -> None:
        self._note_size(size_bytes)

    def recovered(self) -> None:
        self._count_recovered()

    def failed(self, error: RecoveryError) -> None:
        if isinstance(error, TokenExpired):
            self._expired.inc()
        else:
            reason = error.reason if error.reason in REASONS else OTHER_REASON
            self._failed.labels(reason).inc()


def start() -> None:
    """Count from now on, under the namespace that the settings have now; once a process."""
    observers.start("metrics", lambda: Metrics(get_metrics_namespace()))
