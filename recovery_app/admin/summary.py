"""The summary above the list: how many snapshots, how large and how old, and past recoveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app.admin import formatting
from recovery_app.admin.charts import Chart, histogram
from recovery_app.admin.outcomes import OUTCOMES, Failure
from recovery_app.admin.presence import Lifetimes, count_open
from recovery_app.values import Sample, SnapshotInfo

MAX_VIEWS = 12
SIZES = tuple(formatting.KILOBYTE * 4**power for power in range(-1, 5))
SIZE_LABELS = (
    _("≤ 256 B"),
    _("≤ 1 KB"),
    _("≤ 4 KB"),
    _("≤ 16 KB"),
    _("≤ 64 KB"),
    _("≤ 256 KB"),
    _("> 256 KB"),
)
AGES = (10, 60, 300, 900, 3600, 6 * 3600)
AGE_LABELS = (
    _("≤ 10 s"),
    _("≤ 1 min"),
    _("≤ 5 min"),
    _("≤ 15 min"),
    _("≤ 1 h"),
    _("≤ 6 h"),
    _("> 6 h"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The contents of the storage as texts and charts; estimates unless ``is_exact``."""

    count: str
    size: str
    expired: str
    open: str
    charts: list[Chart]
    looked_at: str
    is_exact: bool
    views: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The recoveries in this process."""

    since: datetime
    outcomes: list[tuple[Promise, int]]
    failures: list[Failure] = field(default_factory=list)


def summarize_contents(sample: Sample, lifetimes: Lifetimes, *, now: float) -> Contents:
    """Return the contents of a storage, extrapolated from a sample."""
    items = sample.items
    share = sample.total / len(items) if items and not sample.is_exact else 1
    size_bytes = round(sum(info.size_bytes for info in items) * share)
    open_pages = round(count_open(items, lifetimes) * share)
    return Contents(
        count=formatting.number(sample.total, is_exact=sample.is_exact),
        size=formatting.size(size_bytes, is_exact=sample.is_exact),
        expired=formatting.number(sample.expired, is_exact=sample.is_exact),
        open=formatting.number(open_pages, is_exact=sample.is_exact),
        charts=_charts(items, now, in_percent=not sample.is_exact) if items else [],
        looked_at=formatting.number(len(items)),
        is_exact=sample.is_exact,
        views=_frequent_views(items),
    )


def summarize_history() -> History:
    """Return the outcomes of recoveries so far."""
    return History(since=OUTCOMES.since, outcomes=OUTCOMES.counts(), failures=OUTCOMES.failures())


def _charts(items: list[SnapshotInfo], now: float, *, in_percent: bool) -> list[Chart]:
    sizes = (info.size_bytes for info in items)
    ages = (now - info.saved_at.timestamp() for info in items if info.saved_at)
    size, age = _("Size of the state"), _("Time since the last save")
    return [
        histogram("size", size, SIZE_LABELS, SIZES, sizes, in_percent=in_percent),
        histogram("age", age, AGE_LABELS, AGES, ages, in_percent=in_percent),
    ]


def _frequent_views(items: list[SnapshotInfo]) -> list[str]:
    counts = Counter(info.view for info in items if info.view)
    return sorted(view for view, _count in counts.most_common(MAX_VIEWS))
