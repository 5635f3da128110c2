"""Own a state as rows of a tree: what is hidden never becomes one, and there is an end to it.

Rows are flat (a list opens, its items follow, it closes), so that a template shows them by a
loop, however deep the state is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

MAX_ROWS = 2000
MAX_ITEMS = 200
"""Of one list or dictionary."""
MAX_DEPTH = 30
OPEN_DEPTH = 2
"""Levels that are open at first."""
MAX_CHARACTERS = 2000
MAX_BITS = 10_000
"""Of an integer in decimals: Python refuses to write longer ones out."""

Kind = Literal["value", "open", "close", "rest", "hidden"]
Items = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A value; the beginning or end of a container; or a note of what isn't shown.

    ``count`` is of the items of a container, of those left out of one, or of the characters
    left out of a text.
    """

    kind: Kind
    name: str = ""
    type: str = ""
    text: str = ""
    count: int = 0
    is_open: bool = False
    is_sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The rows of a state, and how many values are sensitive among what is looked at."""

    rows: list[Row]
    sensitive: int


class Redactor:
    """Know by its name what people may not see; names match in part and in any case."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._parts = tuple(part.casefold() for part in parts)

    def hides(self, name: str) -> bool:
        """Say whether what has this name is to be hidden."""
        folded = name.casefold()
        return any(part in folded for part in self._parts)


def grow(state: Mapping[str, Any], redactor: Redactor, *, reveal: bool) -> Tree:
    """Give the tree of a state; with ``reveal`` sensitive values are marked and not hidden."""
    grower = _Grower(redactor, reveal)
    grower.add_items(_named(state), depth=0)
    return Tree(rows=grower.rows, sensitive=sum(row.is_sensitive for row in grower.rows))


class _Grower:
    def __init__(self, redactor: Redactor, reveal: bool) -> None:
        self.rows: list[Row] = []
        self._redactor = redactor
        self._reveal = reveal

    def add_items(self, items: Items, depth: int) -> None:
        for place, (name, value) in enumerate(items):
            if place == MAX_ITEMS or len(self.rows) >= MAX_ROWS:
                self.rows.append(Row(kind="rest", count=len(items) - place))
                return
            self._add(name, value, depth, self._redactor.hides(name))

    def _add(self, name: str, value: Any, depth: int, is_sensitive: bool) -> None:
        kind = "None" if value is None else type(value).__name__
        if is_sensitive and not self._reveal:
            # Not even its type: that an answer is None, or how long a list is, says something.
            self.rows.append(Row(kind="hidden", name=name, is_sensitive=True))
        elif items := _items_of(value):
            is_open = depth < OPEN_DEPTH
            self.rows.append(
                Row(
                    kind="open",
                    name=name,
                    type=kind,
                    count=len(items),
                    is_open=is_open,
                    is_sensitive=is_sensitive,
                )
            )
            if depth < MAX_DEPTH:
                self.add_items(items, depth + 1)
            else:
                self.rows.append(Row(kind="rest", count=len(items)))
            self.rows.append(Row(kind="close"))
        else:
            text = _text_of(value)
            self.rows.append(
                Row(
                    kind="value",
                    name=name,
                    type=kind,
                    text=text[:MAX_CHARACTERS],
                    count=max(0, len(text) - MAX_CHARACTERS),
                    is_sensitive=is_sensitive,
                )
            )


def _named(value: Mapping[Any, Any]) -> Items:
    return [(str(name), inner) for name, inner in value.items()]


def _items_of(value: Any) -> Items:
    """Give what is in a container; nothing for an empty one, and for anything else."""
    if isinstance(value, Mapping):
        return _named(value)
    if isinstance(value, (list, tuple)):
        return [(str(place), inner) for place, inner in enumerate(value)]
    return []


_TEXTS: Mapping[type, Callable[[Any], str]] = {
    str: str,
    bool: str,
    type(None): lambda _: "",
    int: lambda value: str(value) if value.bit_length() <= MAX_BITS else f"{value:#x}",
    float: repr,
    Decimal: str,
    UUID: str,
    bytes: lambda value: value.hex(" "),
    datetime: lambda value: value.isoformat(" "),
    date: date.isoformat,
    time: time.isoformat,
    timedelta: str,
    dict: lambda _: "{}",
    list: lambda _: "[]",
}


def _text_of(value: Any) -> str:
    # What a serializer of the application's own makes may say anything of itself, secrets too.
    write = _TEXTS.get(type(value))
    return "…" if write is None else write(value)
