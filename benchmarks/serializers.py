"""Compare the serializers with the bare libraries, side by side in one run.

Run ``python benchmarks/serializers.py``. Each line is one kind of state: the time of the bare
library and of the serializer, both the best of many interleaved rounds, and their ratio. The
bare library loses what the serializer keeps (NaN, UUIDs, enums), or refuses it (rich values:
there, bare is the time for the same state with texts in their place).
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgpack
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recovery_app.serializers import JSONSerializer, MsgPackSerializer

SECONDS_A_LINE = 0.5
ROWS = {"200 B": 1, "10 KB": 70, "100 KB": 700}


def plain_row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"Item number {number}",
        "price": number * 1.37,
        "done": number % 3 == 0,
        "note": None if number % 5 else "a few words on it",
        "tags": ["red", "on sale"],
    }


def state(rows: int, **more: Any) -> dict[str, Any]:
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


def best(*functions: Callable[[], object]) -> list[float]:
    """Give the least time of each function in microseconds, taken by turns."""
    least = [float("inf")] * len(functions)
    end = time.perf_counter() + SECONDS_A_LINE
    while time.perf_counter() < end:
        for place, function in enumerate(functions):
            start = time.perf_counter()
            function()
            least[place] = min(least[place], time.perf_counter() - start)
    return [seconds * 1e6 for seconds in least]


def line(title: str, bare: Callable[[], object], ours: Callable[[], object]) -> None:
    bare_us, our_us = best(bare, ours)
    print(f"{title:42}{bare_us:10.1f}{our_us:10.1f}{our_us / bare_us:8.2f}")


def lines(name: str, mine: dict[str, Any], bare: dict[str, Any]) -> None:
    as_json, as_msgpack = JSONSerializer(), MsgPackSerializer()
    text, packed = orjson.dumps(bare), msgpack.packb(bare)
    my_text, my_packed = as_json.dumps(mine), as_msgpack.dumps(mine)
    line(f"{name}: json dumps", lambda: orjson.dumps(bare), lambda: as_json.dumps(mine))
    line(f"{name}: json loads", lambda: orjson.loads(text), lambda: as_json.loads(my_text))
    line(f"{name}: msgpack dumps", lambda: msgpack.packb(bare), lambda: as_msgpack.dumps(mine))
    line(
        f"{name}: msgpack loads",
        lambda: msgpack.unpackb(packed),
        lambda: as_msgpack.loads(my_packed),
    )


def main() -> None:
    print(f"Python {platform.python_version()}, orjson {orjson.__version__}, msgpack", end=" ")
    print(".".join(map(str, msgpack.version)), end="\n\n")
    print(f"{'':42}{'bare µs':>10}{'ours µs':>10}{'ratio':>8}")
    for kind, (in_mine, in_bare) in KINDS.items():
        for size, rows in ROWS.items():
            lines(f"{kind}, {size}", state(rows, **in_mine), state(rows, **in_bare))
    large = state(ROWS["100 KB"])
    print("\nFor comparison, bare being the standard library's json:")
    line("plain, 100 KB: dumps", lambda: json.dumps(large), lambda: JSONSerializer().dumps(large))


if __name__ == "__main__":
    main()
