"""A state as the rows of a tree, limited in size and with hidden values left out.

The rows are flat (a container opens, its items follow, it closes), so that a template renders
them in one loop at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from recovery_app.admin.sensitive_names import Redactor

MAX_ROWS = 2000
MAX_ITEMS = 200
"""Per list or dictionary."""
MAX_DEPTH = 30
OPEN_DEPTH = 2
"""Levels that are expanded initially."""
MAX_CHARACTERS = 2000
MAX_BITS = 10_000
"""Larger integers are shown in hexadecimal: Python refuses to convert them to decimal."""

RowKind = Literal["value", "open", "close", "rest", "hidden"]
Items = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRow:
    """A value, the start or end of a container, or a note on what isn't shown.

    ``count`` is the number of items in a container, of items left out of one, or of characters
    left out of a text.
    """

    kind: RowKind
    name: str = ""
    type: str = ""
    text: str = ""
    count: int = 0
    is_open: bool = False
    is_sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The rows of a state, and how many of them are sensitive."""

    rows: list[TreeRow]
    sensitive: int


def build_tree(state: Mapping[str, Any], redactor: Redactor, *, reveal: bool) -> Tree:
    """Return the tree of a state; ``reveal`` shows sensitive values, and marks them."""
    builder = _TreeBuilder(redactor, reveal)
    builder.add_items(_named(state), depth=0)
    return Tree(rows=builder.rows, sensitive=sum(row.is_sensitive for row in builder.rows))


class _TreeBuilder:
    def __init__(self, redactor: Redactor, reveal: bool) -> None:
        self.rows: list[TreeRow] = []
        self._redactor = redactor
        self._reveal = reveal

    def add_items(self, items: Items, depth: int) -> None:
        for index, (name, value) in enumerate(items):
            if index == MAX_ITEMS or len(self.rows) >= MAX_ROWS:
                self._add_row("rest", count=len(items) - index)
                return
            self._add(name, value, depth, self._redactor.hides(name))

    def _add(self, name: str, value: Any, depth: int, is_sensitive: bool) -> None:
        if is_sensitive and not self._reveal:
            # Even the type, or the length of a list, would disclose something.
            self._add_row("hidden", name=name, is_sensitive=True)
            return
        options = {
            "name": name,
            "type": "None" if value is None else type(value).__name__,
            "is_sensitive": is_sensitive,
        }
        if items := _items_of(value):
            self._add_row("open", count=len(items), is_open=depth < OPEN_DEPTH, **options)
            if depth < MAX_DEPTH:
                self.add_items(items, depth + 1)
            else:
                self._add_row("rest", count=len(items))
            self._add_row("close")
        else:
            text = _text_of(value)
            left_out = max(0, len(text) - MAX_CHARACTERS)
            self._add_row("value", text=text[:MAX_CHARACTERS], count=left_out, **options)

    def _add_row(self, kind: RowKind, **options: Any) -> None:
        self.rows.append(TreeRow(kind=kind, **options))


def _named(value: Mapping[Any, Any]) -> Items:
    return [(str(name), inner) for name, inner in value.items()]


def _items_of(value: Any) -> Items:
    if isinstance(value, Mapping):
        return _named(value)
    if isinstance(value, (list, tuple)):
        return [(str(index), inner) for index, inner in enumerate(value)]
    return []


_TO_TEXT: Mapping[type, Callable[[Any], str]] = {
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
    # The text of any other type, made by a custom serializer, may contain secrets.
    to_text = _TO_TEXT.get(type(value))
    return "…" if to_text is None else to_text(value)
