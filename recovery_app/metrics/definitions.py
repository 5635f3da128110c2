"""The definitions of all metrics: names, help texts, labels and buckets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from recovery_app import __version__, exceptions
from recovery_app._core.telemetry import OPERATIONS
from recovery_app._live import record
from recovery_app._live.outcomes import Outcome

SUBSYSTEM = "recovery"
SIZE_BUCKETS = tuple(float(2**power) for power in range(7, 21))
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
AWAY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
MAX_CONSUMERS = 100
"""How many consumer classes and versions one process exports, however many there are."""
APPLICATION_EVENTS = (
    "join_crashed",
    "restore_failed",
    "mount_unsaved",
    "handler_failed",
    "rollback_failed",
    "receiver_failed",
    "work_failed",
)
"""The events of the log that are errors of the application's code."""
OTHER_REASON = exceptions.RecoveryError.reason
"""The label of an error whose own ``reason`` isn't one of the values below."""
STORAGE_REASONS = (
    exceptions.StorageUnavailable.reason,
    exceptions.StorageError.reason,
    OTHER_REASON,
)
REASONS = (
    exceptions.MalformedToken.reason,
    exceptions.InvalidSignature.reason,
    exceptions.TokenSuperseded.reason,
    exceptions.TokenError.reason,
    exceptions.SnapshotNotFound.reason,
    exceptions.SnapshotCorrupt.reason,
    exceptions.VersionMismatch.reason,
    *STORAGE_REASONS,
)


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A metric with all values of its labels; only a histogram has buckets.

    Each series is exported from the start: a rate over a series that starts at 1 misses the
    first event.
    """

    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> list[tuple[str, ...]]:
        """The label values of each series; one empty tuple for a metric without labels."""
        return list(itertools.product(*self.labels.values()))


TOKENS_CREATED = Definition("tokens_created", "Tokens issued, taken over or renewed.")
TOKENS_RECOVERED = Definition("tokens_recovered", "States given back.")
TOKENS_EXPIRED = Definition("tokens_expired", "Recoveries with an expired token.")
TOKENS_FAILED = Definition(
    "tokens_failed", "Recoveries that failed for another reason.", {"reason": REASONS}
)
OUTCOMES = Definition(
    "outcomes",
    "Joins, by the outcome sent to the client.",
    {"outcome": tuple(each.value for each in Outcome)},
)
JOINS_LIMITED = Definition(
    "joins_limited", "Joins that were refused because a connection or a person had too many."
)
EVENTS_REPEATED = Definition(
    "events_repeated", "Events that were received again, and not applied again."
)
CONNECTIONS_FENCED = Definition(
    "connections_fenced", "Connections that were taken over, and continued with a copy."
)
MESSAGES_PUBLISHED = Definition("messages_published", "Messages published to durable groups.")
MESSAGES_HANDLED = Definition(
    "messages_handled", "Messages of durable groups, once for each page that has handled them."
)
MESSAGES_REPLAYED = Definition(
    "messages_replayed",
    "Messages of durable groups that a page had missed, and handled after it came back.",
)
MESSAGES_MISSED = Definition(
    "messages_missed", "Times that a page came back to a group whose log was trimmed beyond it."
)
PUSHES_SENT = Definition("pushes_sent", "Numbered pushes that were sent for the first time.")
PUSHES_REPEATED = Definition(
    "pushes_repeated", "Numbered pushes that were sent again, to a page that came back."
)
PUSHES_DROPPED = Definition(
    "pushes_dropped", "Numbered pushes that were dropped because too many were waiting."
)
STORAGE_ERRORS = Definition(
    "storage_errors",
    "Calls of the storage that failed.",
    {"operation": OPERATIONS, "reason": STORAGE_REASONS},
)
STATE_SIZE = Definition(
    "state_size_bytes", "Serialized size of each saved state.", buckets=SIZE_BUCKETS
)
STORAGE_SECONDS = Definition(
    "storage_seconds",
    "Duration of the calls of the storage, including failed calls.",
    {"operation": OPERATIONS},
    buckets=SECONDS_BUCKETS,
)
SNAPSHOTS_LIVE = Definition(
    "snapshots_live", "Approximate number of snapshots, as of the last clean-up."
)
CONNECTIONS_UNJOINED = Definition(
    "connections_unjoined",
    "Connections that ended without a join.",
    {"cause": (record.CRASHED, record.REFUSED, record.SILENT)},
)
APPLICATION_ERRORS = Definition(
    "application_errors",
    "Errors of the application's own code, by their event in the log.",
    {"event": APPLICATION_EVENTS},
)
DRAINS = Definition("drains", "Drains that have begun.")
CONNECTIONS_DRAINED = Definition("connections_drained", "Connections that a drain has closed.")
AWAY_SECONDS = Definition(
    "away_seconds",
    "Age of each state recovered by a join: the page was away for at most that long.",
    buckets=AWAY_BUCKETS,
)
JOINS_PENDING = Definition(
    "joins_pending", "Handshakes and joins that have begun, and aren't answered yet."
)
CONNECTIONS_OPEN = Definition("connections_open", "WebSockets that are open.")
TOPICS_OPEN = Definition("topics_open", "Topics that are joined.")
TOPICS_UNSAFE = Definition("topics_unsafe", "Joined topics whose state couldn't be saved.")
DRAINING = Definition("draining", "Processes in which a drain is running.")
STORAGE_DOWN = Definition("storage_down", "Processes in which calls of the storage fail.")
INFO = Definition("info", "The version of this package; always 1.", {"version": (__version__,)})
CONSUMER_INFO = Definition(
    "consumer_info",
    "Consumer classes that were joined, and the versions of their states; always 1.",
    {"consumer": (), "state_version": ()},
)

COUNTERS = (
    TOKENS_CREATED,
    TOKENS_RECOVERED,
    TOKENS_EXPIRED,
    TOKENS_FAILED,
    OUTCOMES,
    JOINS_LIMITED,
    EVENTS_REPEATED,
    CONNECTIONS_FENCED,
    MESSAGES_PUBLISHED,
    MESSAGES_HANDLED,
    MESSAGES_REPLAYED,
    MESSAGES_MISSED,
    PUSHES_SENT,
    PUSHES_REPEATED,
    PUSHES_DROPPED,
    STORAGE_ERRORS,
    CONNECTIONS_UNJOINED,
    APPLICATION_ERRORS,
    DRAINS,
    CONNECTIONS_DRAINED,
)
HISTOGRAMS = (STATE_SIZE, STORAGE_SECONDS, AWAY_SECONDS)
GAUGES = (JOINS_PENDING, CONNECTIONS_OPEN, TOPICS_OPEN, TOPICS_UNSAFE, DRAINING, STORAGE_DOWN)
"""Gauges of each process, which are summed over all processes."""
INFOS = (INFO, CONSUMER_INFO)
"""Facts in labels. Without values of its labels, a series is there once it is set."""
