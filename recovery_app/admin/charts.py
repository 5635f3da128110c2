"""Own the pictures: bars as plain SVG, made here, with the same in words for who can't see it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from recovery_app.admin import formatting as words

WIDTH = 340
ROW_HEIGHT = 22
BAR_HEIGHT = 14
LABEL_WIDTH = 74
VALUE_WIDTH = 68
"""In units of the picture, of which its text is 12 high."""
MIN_BAR = 2.0
GAP = 6

Text = str | Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: where it is, how long, and what is written on both sides of it."""

    label: Text
    value: str
    y: int
    length: float

    @property
    def value_x(self) -> float:
        """Give where its number begins: behind it."""
        return LABEL_WIDTH + self.length + GAP

    @property
    def text_y(self) -> int:
        """Give where the feet of the letters are."""
        return self.y + BAR_HEIGHT - 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture of some bars."""

    name: str
    title: Text
    bars: list[Bar]

    width = WIDTH
    label_x = LABEL_WIDTH - GAP
    bar_x = LABEL_WIDTH
    bar_height = BAR_HEIGHT

    @property
    def height(self) -> int:
        """Give the height of the whole."""
        return len(self.bars) * ROW_HEIGHT


def draw(
    name: str,
    title: Text,
    labels: Sequence[Text],
    limits: Sequence[float],
    values: Iterable[float],
    *,
    in_percent: bool,
) -> Chart:
    """Draw how many values are up to each limit; the last label is for those above all.

    ``in_percent``: the values are a sample, and their number says nothing.
    """
    counts = _counts(limits, values)
    most, total = max(counts), sum(counts)
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    bars = [
        Bar(
            label=label,
            value=_percent(count, total) if in_percent else words.number(count),
            y=place * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) // 2,
            length=max(MIN_BAR, round(room * count / most, 1)) if count else 0,
        )
        for place, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
    return Chart(name=name, title=title, bars=bars)


def _counts(limits: Sequence[float], values: Iterable[float]) -> list[int]:
    counted = Counter(bisect_left(limits, value) for value in values)
    return [counted[place] for place in range(len(limits) + 1)]


def _percent(count: int, total: int) -> str:
    if 0 < count < total / 100:
        return _("under 1 %")
    return f"{round(100 * count / (total or 1))} %"
