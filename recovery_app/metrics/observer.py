"""The observer that counts: each announcement, and the metric that it adds to."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry

from recovery_app.exceptions import RecoveryError, TokenExpired
from recovery_app.metrics import definitions
from recovery_app.metrics.definitions import OTHER_REASON, REASONS, STORAGE_REASONS
from recovery_app.metrics.in_process import InProcessMetrics
from recovery_app.metrics.multiprocess import MultiprocessMetrics, is_multiprocess
from recovery_app.signals import Observer


class Metrics(Observer):
    """All metrics, in one registry."""

    def __init__(self, namespace: str, registry: CollectorRegistry = REGISTRY) -> None:
        backend = MultiprocessMetrics if is_multiprocess() else InProcessMetrics
        metrics = backend(namespace, registry)
        self._tokens_created = metrics.counter(definitions.TOKENS_CREATED)[()]
        self._tokens_recovered = metrics.counter(definitions.TOKENS_RECOVERED)[()]
        self._tokens_expired = metrics.counter(definitions.TOKENS_EXPIRED)[()]
        self._tokens_failed = metrics.counter(definitions.TOKENS_FAILED)
        self._state_size = metrics.histogram(definitions.STATE_SIZE)[()]
        outcomes = metrics.counter(definitions.OUTCOMES)
        self._outcomes = {outcome: counter for (outcome,), counter in outcomes.items()}
        seconds = metrics.histogram(definitions.STORAGE_SECONDS)
        self._storage_seconds = {operation: each for (operation,), each in seconds.items()}
        self._storage_errors = metrics.counter(definitions.STORAGE_ERRORS)
        self._joins_limited = metrics.counter(definitions.JOINS_LIMITED)[()]
        self._events_repeated = metrics.counter(definitions.EVENTS_REPEATED)[()]
        self._connections_fenced = metrics.counter(definitions.CONNECTIONS_FENCED)[()]
        self._messages_missed = metrics.counter(definitions.MESSAGES_MISSED)[()]
        self._set_live = metrics.set_live

    def token_created(self) -> None:
        self._tokens_created.inc()

    def state_saved(self, size_bytes: int) -> None:
        self._state_size.observe(size_bytes)

    def recovered(self) -> None:
        self._tokens_recovered.inc()

    def failed(self, error: RecoveryError) -> None:
        if isinstance(error, TokenExpired):
            self._tokens_expired.inc()
        else:
            reason = error.reason if error.reason in REASONS else OTHER_REASON
            self._tokens_failed[reason,].inc()

    def joined(self, outcome: str) -> None:
        self._outcomes[outcome].inc()

    def join_limited(self) -> None:
        self._joins_limited.inc()

    def event_repeated(self) -> None:
        self._events_repeated.inc()

    def connection_fenced(self) -> None:
        self._connections_fenced.inc()

    def messages_missed(self) -> None:
        self._messages_missed.inc()

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self._storage_seconds[operation].observe(seconds)
        if error is not None:
            reason = getattr(error, "reason", None)
            known = reason if reason in STORAGE_REASONS else OTHER_REASON
            self._storage_errors[operation, known].inc()

    def counted(self, snapshots: int, *, shared: bool) -> None:
        self._set_live(snapshots, shared=shared)
