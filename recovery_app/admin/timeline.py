"""A bar chart of an hour, a bar for each minute, drawn as SVG by the template ``minutes.html``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from recovery_app.admin import formatting
from recovery_app.clock import MICROSECONDS
from recovery_app.storages.browsing import moment

MINUTES = 60
MINUTE_US = 60 * MICROSECONDS
TICK_MINUTES = 15

# All sizes are in units of the SVG, whose text is 11 units high.
BAR_WIDTH = 9
STEP = 12
LEFT = 36
HEIGHT = 72
TOP = 12
BASE = TOP + HEIGHT
MIN_BAR = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteBar:
    """The number of one minute, and how many of these are marked."""

    at: datetime | None
    count: int
    x: int
    height: float
    marked: int = 0
    marked_height: float = 0.0

    @property
    def y(self) -> float:
        """Return the top of the bar."""
        return BASE - self.height

    @property
    def marked_y(self) -> float:
        """Return the top of the marked part, which is at the bottom."""
        return BASE - self.marked_height


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A time below the bars."""

    at: datetime | None
    x: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """An hour, minute by minute; there are more than ``total`` if it isn't complete."""

    bars: list[MinuteBar]
    ticks: list[Tick]
    total: str
    highest: int
    peak: MinuteBar | None
    since: datetime | None
    until: datetime | None
    is_complete: bool

    width = LEFT + MINUTES * STEP
    height = BASE + 20
    bar_width = BAR_WIDTH
    base = BASE
    top = TOP
    left = LEFT
    label_x = LEFT - 6
    label_y = TOP + 4
    tick_y = BASE + 15


def start_of_hour(until_us: int) -> int:
    """Return when the 60 minutes begin whose last one has ``until_us`` in it or at its end."""
    end = -(-until_us // MINUTE_US)
    return max(0, end - MINUTES) * MINUTE_US


def timeline(times_us: Iterable[int], since_us: int, *, is_complete: bool) -> Timeline:
    """Return the chart of the hour that begins at ``since_us``."""
    counts = Counter((time_us - since_us) // MINUTE_US for time_us in times_us)
    return timeline_of_counts(counts, since_us, is_complete=is_complete)


def timeline_of_counts(
    counts: Counter[int],
    since_us: int,
    *,
    marked: Counter[int] | None = None,
    is_complete: bool = True,
) -> Timeline:
    """Return the chart of an hour from the number of each of its 60 minutes.

    ``marked`` are those of them that the chart tells apart.
    """
    marked = marked or Counter()
    highest = max(counts.values(), default=0)
    bars = [
        MinuteBar(
            at=moment(since_us + minute * MINUTE_US),
            count=counts[minute],
            x=LEFT + minute * STEP,
            height=_height(counts[minute], highest),
            marked=marked[minute],
            marked_height=_height(marked[minute], highest) if marked[minute] else 0,
        )
        for minute in range(MINUTES)
        if counts[minute]
    ]
    ticks = [
        Tick(at=moment(since_us + minute * MINUTE_US), x=LEFT + minute * STEP)
        for minute in range(0, MINUTES + 1, TICK_MINUTES)
    ]
    return Timeline(
        bars=bars,
        ticks=ticks,
        total=formatting.number(sum(bar.count for bar in bars)),
        highest=highest,
        peak=max(bars, key=lambda bar: bar.count, default=None),
        since=ticks[0].at,
        until=ticks[-1].at,
        is_complete=is_complete,
    )


def _height(count: int, highest: int) -> float:
    return max(MIN_BAR, round(HEIGHT * count / highest, 1))
