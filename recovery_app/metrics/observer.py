"""The observer that updates the metrics."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry

from recovery_app._concurrency import register_after_fork
from recovery_app.exceptions import RecoveryError, TokenExpired
from recovery_app.metrics import definitions
from recovery_app.metrics.definitions import (
    APPLICATION_EVENTS,
    MAX_CONSUMERS,
    OTHER_REASON,
    REASONS,
    STORAGE_REASONS,
)
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
        self._messages_published = metrics.counter(definitions.MESSAGES_PUBLISHED)[()]
        self._messages_handled = metrics.counter(definitions.MESSAGES_HANDLED)[()]
        self._messages_replayed = metrics.counter(definitions.MESSAGES_REPLAYED)[()]
        self._messages_missed = metrics.counter(definitions.MESSAGES_MISSED)[()]
        self._pushes_sent = metrics.counter(definitions.PUSHES_SENT)[()]
        self._pushes_repeated = metrics.counter(definitions.PUSHES_REPEATED)[()]
        self._pushes_dropped = metrics.counter(definitions.PUSHES_DROPPED)[()]
        self._unjoined = metrics.counter(definitions.CONNECTIONS_UNJOINED)
        self._application_errors = metrics.counter(definitions.APPLICATION_ERRORS)
        self._drains = metrics.counter(definitions.DRAINS)[()]
        self._connections_drained = metrics.counter(definitions.CONNECTIONS_DRAINED)[()]
        self._away_seconds = metrics.histogram(definitions.AWAY_SECONDS)[()]
        self._joins_pending = metrics.gauge(definitions.JOINS_PENDING)
        self._connections_open = metrics.gauge(definitions.CONNECTIONS_OPEN)
        self._topics_open = metrics.gauge(definitions.TOPICS_OPEN)
        self._topics_unsafe = metrics.gauge(definitions.TOPICS_UNSAFE)
        self._draining = metrics.gauge(definitions.DRAINING)
        self._storage_down = metrics.gauge(definitions.STORAGE_DOWN)
        self._set_info = metrics.set_info
        self._set_live = metrics.set_live
        self._set_info(definitions.INFO, definitions.INFO.series[0])
        self.after_fork()
        register_after_fork(self)

    def after_fork(self) -> None:
        """Forget which consumers the parent has exported."""
        self._consumers: set[tuple[str, int]] = set()

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

    def message_published(self) -> None:
        self._messages_published.inc()

    def messages_handled(self, count: int, *, is_replay: bool) -> None:
        self._messages_handled.inc(count)
        if is_replay:
            self._messages_replayed.inc(count)

    def messages_missed(self) -> None:
        self._messages_missed.inc()

    def pushes_sent(self, first: int, again: int) -> None:
        self._pushes_sent.inc(first)
        self._pushes_repeated.inc(again)

    def pushes_dropped(self, count: int) -> None:
        self._pushes_dropped.inc(count)

    def join_begun(self) -> None:
        self._joins_pending.inc()

    def join_answered(self) -> None:
        self._joins_pending.dec()

    def connection_opened(self) -> None:
        self._connections_open.inc()

    def connection_closed(self) -> None:
        self._connections_open.dec()

    def connection_unjoined(self, cause: str) -> None:
        self._unjoined[cause,].inc()

    def topic_opened(self, consumer: str, version: int) -> None:
        self._topics_open.inc()
        found = consumer, version
        if found not in self._consumers and len(self._consumers) < MAX_CONSUMERS:
            self._consumers.add(found)
            self._set_info(definitions.INFO, definitions.INFO.series[0])
            self._set_info(definitions.CONSUMER_INFO, (consumer, str(version)))

    def topic_closed(self) -> None:
        self._topics_open.dec()

    def was_away(self, seconds: float) -> None:
        self._away_seconds.observe(seconds)

    def state_unsafe(self) -> None:
        self._topics_unsafe.inc()

    def state_safe(self) -> None:
        self._topics_unsafe.dec()

    def application_failed(self, event: str) -> None:
        if event in APPLICATION_EVENTS:
            self._application_errors[event,].inc()

    def drain_begun(self) -> None:
        self._drains.inc()
        self._draining.inc()

    def connection_drained(self) -> None:
        self._connections_drained.inc()

    def drain_ended(self) -> None:
        self._draining.dec()

    def storage_down(self) -> None:
        self._storage_down.inc()

    def storage_back(self) -> None:
        self._storage_down.dec()

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self._storage_seconds[operation].observe(seconds)
        if error is not None:
            reason = getattr(error, "reason", None)
            known = reason if reason in STORAGE_REASONS else OTHER_REASON
            self._storage_errors[operation, known].inc()

    def counted(self, snapshots: int, *, shared: bool) -> None:
        self._set_live(snapshots, shared=shared)
