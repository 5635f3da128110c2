"""What a benchmark yields: rows with an aim, tables without, and plots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

COLUMNS = ("what", "measured", "ratio", "aim", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the main table. ``ratio`` is the figure that the aim is about.

    ``measured`` has the figures behind it, as text. ``at_least`` says in which direction the aim
    is. A row without an aim is there for information.
    """

    what: str
    measured: str
    ratio: float
    aim: float | None = None
    at_least: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Return whether the aim is met; a row without one always is."""
        if self.aim is None:
            return True
        return self.ratio >= self.aim if self.at_least else self.ratio <= self.aim

    @property
    def cells(self) -> list[str]:
        """Return the texts of `COLUMNS`."""
        ratio = f"{self._text(self.ratio)}{self.unit}"
        if self.aim is None:
            return [self.what, self.measured, ratio, "-", "-"]
        aim = f"{'≥' if self.at_least else '≤'} {self._text(self.aim)}{self.unit}"
        return [self.what, self.measured, ratio, aim, "met" if self.is_met else "**missed**"]

    def _text(self, figure: float) -> str:
        size = abs(figure)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.5 or not size else 3
        return f"{figure:,.{digits}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of its own, which has no aims or other columns than `Row`."""

    title: str
    columns: list[str]
    lines: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Curves over one axis. ``name`` is the file's, ``note`` says how they grow."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: dict[str, list[tuple[float, float]]]
    note: str = ""
    is_linear: bool = False
    """Whether the axes are linear and begin at 0, as those of a course in time."""


Result: TypeAlias = Row | Table | Plot
KINDS: dict[str, type[Row | Table | Plot]] = {each.__name__: each for each in (Row, Table, Plot)}


def dumps(result: Result) -> str:
    """Return one line of JSON, for `loads` in another process."""
    return json.dumps({"kind": type(result).__name__, **asdict(result)})


def loads(line: str) -> Result:
    """Return what `dumps` was given."""
    fields: dict[str, Any] = json.loads(line)
    made: Result = KINDS[fields.pop("kind")](**fields)
    return made


def line_of(cells: list[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def lines_of(table: Table) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield line_of(table.columns)
    yield "|" + "---|" * len(table.columns)
    yield from map(line_of, table.lines)


@dataclass
class Section:
    """All results of one subject."""

    name: str
    title: str
    is_older: bool = False
    results: list[Result] = field(default_factory=list)

    @property
    def rows(self) -> list[Row]:
        """Return the rows alone."""
        return [result for result in self.results if isinstance(result, Row)]

    @property
    def tables(self) -> list[Table]:
        """Return the tables alone."""
        return [result for result in self.results if isinstance(result, Table)]

    @property
    def plots(self) -> list[Plot]:
        """Return the plots alone."""
        return [result for result in self.results if isinstance(result, Plot)]
