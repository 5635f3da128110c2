"""What the subjects share: their options, and the command line of one that is run alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from benchmarks.results import COLUMNS, Plot, Result, Row, dumps, line_of, lines_of

Value = TypeVar("Value")
# Not 1, which is what an exception ends with.
MISSED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How thorough to be."""

    quick: bool = False

    def pick(self, full: Value, quick: Value) -> Value:
        """Return the value for this run."""
        return quick if self.quick else full


Run: TypeAlias = Callable[[Options], Iterable[Result]]


class Printer:
    """Prints results as they come: rows of one table under one head."""

    def __init__(self) -> None:
        self._has_head = False

    def show(self, result: Result) -> None:
        """Print one result."""
        if isinstance(result, Row):
            if not self._has_head:
                print(f"{line_of(list(COLUMNS))}\n|{'---|' * len(COLUMNS)}")
            self._has_head = True
            print(line_of(result.cells), flush=True)
            return
        self._has_head = False
        if isinstance(result, Plot):
            for name, points in result.curves.items():
                figures = ", ".join(f"{x:,g}: {y:,.4g}" for x, y in points)
                print(f"{result.title}, {name} ({result.y_label}): {figures}", flush=True)
        else:
            print(f"\n{result.title}\n")
            print("\n".join(lines_of(result)), flush=True)


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with what each subject understands."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--json", action="store_true", help="print each result as a line of JSON")
    return parser


def report(results: Iterable[Result], *, as_json: bool) -> int:
    """Print all results; return `MISSED` if an aim is."""
    printer = Printer()
    is_met = True
    for result in results:
        if as_json:
            print(dumps(result), flush=True)
        else:
            printer.show(result)
        is_met = is_met and (not isinstance(result, Row) or result.is_met)
    return 0 if is_met else MISSED


def main(text: str | None, run: Run) -> None:
    """Run one subject alone, and exit with `MISSED` if an aim is."""
    asked = parser_of(text).parse_args()
    sys.exit(report(run(Options(quick=asked.quick)), as_json=asked.json))
