"""Bar charts, drawn as SVG by the template ``chart.html``."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from recovery_app.admin import formatting

# All sizes are in units of the SVG, whose text is 12 units high.
WIDTH = 340
ROW_HEIGHT = 22
BAR_HEIGHT = 14
LABEL_WIDTH = 74
VALUE_WIDTH = 68
MIN_BAR = 2.0
GAP = 6

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with its label and its value."""

    label: Text
    value: str
    y: int
    length: float

    @property
    def value_x(self) -> float:
        """Return the horizontal position of the value."""
        return LABEL_WIDTH + self.length + GAP

    @property
    def text_y(self) -> int:
        """Return the baseline of the texts."""
        return self.y + BAR_HEIGHT - 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A horizontal bar chart."""

    name: str
    title: Text
    bars: list[Bar]

    width = WIDTH
    label_x = LABEL_WIDTH - GAP
    bar_x = LABEL_WIDTH
    bar_height = BAR_HEIGHT

    @property
    def height(self) -> int:
        """Return the height of the chart."""
        return len(self.bars) * ROW_HEIGHT


def histogram(
    name: str,
    title: Text,
    labels: Sequence[Text],
    limits: Sequence[float],
    values: Iterable[float],
    *,
    in_percent: bool,
) -> Chart:
    """Return a chart of how many values are up to each limit.

    The last label is for the values above all limits. Pass ``in_percent`` if the values are a
    sample, whose absolute numbers mean nothing.
    """
    counts = _counts(limits, values)
    highest, total = max(counts), sum(counts)
    max_length = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    bars = [
        Bar(
            label=label,
            value=_percent(count, total) if in_percent else formatting.number(count),
            y=index * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) // 2,
            length=max(MIN_BAR, round(max_length * count / highest, 1)) if count else 0,
        )
        for index, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
    return Chart(name=name, title=title, bars=bars)


def _counts(limits: Sequence[float], values: Iterable[float]) -> list[int]:
    counts = Counter(bisect_left(limits, value) for value in values)
    return [counts[index] for index in range(len(limits) + 1)]


def _percent(count: int, total: int) -> str:
    if 0 < count < total / 100:
        return _("under 1 %")
    return f"{round(100 * count / (total or 1))} %"
