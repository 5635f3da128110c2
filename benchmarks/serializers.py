"""The serializers beside the bare libraries, in one run.

    python benchmarks/serializers.py [--quick]

Each line is one kind of state: the time of the bare
library and of the serializer, both the best of many interleaved rounds, and their ratio. The
bare library loses what the serializer keeps (NaN, UUIDs, enums), or refuses it (rich values:
there, bare is the time for the same state with texts in their place).
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import orjson

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.results import Table
from benchmarks.subject import Options, main
from recovery_app.serializers import JSONSerializer, MsgPackSerializer

ROWS = {"200 B": 1, "10 KB": 70, "100 KB": 700}


Pair = tuple[str, Callable[[], object], Callable[[], object]]


def plain_row(number: int) -> dict[str, Any]:
    """Return one row of a state."""
    return {
        "id": number,
        "name": f"Item number {number}",
        "price": number * 1.37,
        "done": number % 3 == 0,
        "note": None if number % 5 else "a few words on it",
        "tags": ["red", "on sale"],
    }


def state(rows: int, **more: Any) -> dict[str, Any]:
    """Return a state with so many rows."""
    return {
        "title": "An order",
        "total": 12.5,
        "items": [{**plain_row(number), **more} for number in range(rows)],
    }


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "a tuple a row": ({"at": (1, 2)}, {"at": (1, 2)}),
    "rich": (
        {"sum": Decimal("12.50"), "at": datetime(2024, 5, 1, tzinfo=timezone.utc)},
        {"sum": "12.50", "at": "2024-05-01T00:00:00+00:00"},
    ),
    "a UUID a row": ({"key": UUID(int=7)}, {"key": str(UUID(int=7))}),
}


def best(seconds: float, *functions: Callable[[], object]) -> list[float]:
    """Return the least time of each function in microseconds, taken by turns."""
    least = [float("inf")] * len(functions)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for place, function in enumerate(functions):
            start = time.perf_counter()
            function()
            least[place] = min(least[place], time.perf_counter() - start)
    return [each * 1e6 for each in least]


def pairs_of(name: str, mine: dict[str, Any], bare: dict[str, Any]) -> Iterator[Pair]:
    """Yield what is compared for one state, the bare library first."""
    as_json, as_msgpack = JSONSerializer(), MsgPackSerializer()
    text, packed = orjson.dumps(bare), msgpack.packb(bare)
    my_text, my_packed = as_json.dumps(mine), as_msgpack.dumps(mine)
    yield f"{name}: json dumps", lambda: orjson.dumps(bare), lambda: as_json.dumps(mine)
    yield f"{name}: json loads", lambda: orjson.loads(text), lambda: as_json.loads(my_text)
    yield f"{name}: msgpack dumps", lambda: msgpack.packb(bare), lambda: as_msgpack.dumps(mine)
    yield (
        f"{name}: msgpack loads",
        lambda: msgpack.unpackb(packed),
        lambda: as_msgpack.loads(my_packed),
    )


def pairs() -> Iterator[Pair]:
    """Yield all that is compared."""
    for kind, (in_mine, in_bare) in KINDS.items():
        for size, rows in ROWS.items():
            yield from pairs_of(f"{kind}, {size}", state(rows, **in_mine), state(rows, **in_bare))
    large = state(ROWS["100 KB"])
    yield (
        "plain, 100 KB: dumps, bare being the standard library's json",
        lambda: json.dumps(large),
        lambda: JSONSerializer().dumps(large),
    )


def run(options: Options) -> Iterator[Table]:
    """Yield the table."""
    lines = []
    for title, bare, ours in pairs():
        bare_us, our_us = best(options.pick(0.5, 0.06), bare, ours)
        lines.append([title, f"{our_us:.1f}", f"{bare_us:.1f}", f"{our_us / bare_us:.2f}"])
    columns = ["state", "ours µs", "bare µs", "ratio"]
    yield Table(title="Serializers beside the bare libraries", columns=columns, lines=lines)


if __name__ == "__main__":
    main(__doc__, run)
