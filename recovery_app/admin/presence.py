"""Whether a snapshot's page is open, as far as the storage can tell.

An open page touches its snapshot at least every touch interval, which restarts the time to live.
So what is left of that tells when the last sign of life came. A page that has just been closed
looks open until it has missed a touch. Which process has it, no snapshot says: that is in the
reports of processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin.error_messages import collect_errors
from recovery_app.clock import MICROSECONDS, to_us
from recovery_app.values import ProcessReport, SnapshotInfo

ROUNDING_SECONDS = 1
LATE_SECONDS = 5
"""How late a touch may come before a page counts as away."""


GONE_SECONDS = 60
"""How long a process may say nothing before it counts as gone: it reports every 20 seconds."""


class Lifetimes(Protocol):
    """The part of a manager that says how long snapshots live, in seconds."""

    @property
    def ttl(self) -> float: ...
    @property
    def touch_interval(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """When a page last showed that it lives; ``seconds_ago`` is ``None`` if that isn't known."""

    seconds_ago: float | None = None
    is_open: bool = False


UNKNOWN = Presence()


def presence_of(info: SnapshotInfo, lifetimes: Lifetimes) -> Presence:
    """Return what the rest of a snapshot's time to live says of its page."""
    left = info.expires_in_seconds
    # It is unknown (NaN), over, or more than this site's own: then another wrote it.
    if info.problem or not 0 < left <= lifetimes.ttl + ROUNDING_SECONDS:
        return UNKNOWN
    ago = max(0.0, lifetimes.ttl - left)
    return Presence(seconds_ago=ago, is_open=ago <= lifetimes.touch_interval + LATE_SECONDS)


def count_open(items: Iterable[SnapshotInfo], lifetimes: Lifetimes) -> int:
    """Return how many snapshots are those of open pages."""
    return sum(presence_of(info, lifetimes).is_open for info in items)


def is_alive(report: ProcessReport, now: float) -> bool:
    """Return whether a process is there, as far as its last report tells."""
    return not report.has_ended and age_of(report, now) <= GONE_SECONDS


def age_of(report: ProcessReport, now: float) -> float:
    """Return how many seconds ago a process reported; 0 if its clock is ahead of this one's."""
    return max(0, to_us(now) - report.at_us) / MICROSECONDS


def places_of_pages(manager: RecoveryManager) -> dict[str, ProcessReport]:
    """Return in which process each page is open, by the hash of its socket, where that is known."""
    reports: list[ProcessReport] = []
    if manager.reporter.is_on:
        # What else is shown needs no reports, and shows the error of a storage that is away.
        with collect_errors([]):
            reports = manager.processes()
    now = manager.clock()
    opened = (
        (page.since_us, page.socket_hash, report)
        for report in reports
        if is_alive(report, now)
        for page in report.pages
        if page.socket_hash
    )
    # A page that came back is where it was opened last.
    return {key: report for _, key, report in sorted(opened, key=lambda each: each[0])}
