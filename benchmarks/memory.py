"""`MemoryStorage` with a million snapshots: what each takes, and what a save costs there.

    python -m benchmarks.memory [--quick]

States of 300 bytes, saved by a manager. Memory is what is resident of this process, so it has
all that belongs to a snapshot: its key, the dictionary, the allocator's own. Saves are of
sockets that are spread over the whole storage.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from benchmarks.application import configure
from benchmarks.results import Row
from benchmarks.subject import Options, main
from benchmarks.timing import compare, in_turns, resident_bytes, seconds_of

FEW = 1000
STATE_BYTES = 300
TTL_SECONDS = 86_400
ENOUGH = 2**40


def state_of(size: int) -> dict[str, Any]:
    """Return a state that is so many bytes of JSON."""
    state: dict[str, Any] = {"count": 7, "items": ["x" * 40] * 3, "note": ""}
    bare = len(json.dumps(state, separators=(",", ":")))
    return {**state, "note": "y" * (size - bare)}


def filled(number: int) -> tuple[Any, list[str], int]:
    """Return a manager with so many snapshots, some of their tokens, and bytes for each."""
    # Only now: the settings are there.
    from recovery_app import RecoveryManager  # noqa: PLC0415
    from recovery_app.storages import MemoryStorage  # noqa: PLC0415

    manager = RecoveryManager(
        secret=b"the secret of this benchmark, 32 bytes",
        ttl=TTL_SECONDS,
        storage=MemoryStorage(max_entries=number + FEW, max_bytes=ENOUGH),
        cleanup_interval=None,
    )
    gc.collect()
    before = resident_bytes()
    step = max(1, number // FEW)
    tokens = []
    for place in range(number):
        token = manager.create_token(f"socket {place:07}")
        manager.save(token, state_of(STATE_BYTES))
        if place % step == 0:
            tokens.append(token)
    gc.collect()
    return manager, tokens, (resident_bytes() - before) // number


def run(options: Options) -> Iterator[Row]:
    """Yield the row of the memory and that of the time."""
    configure()
    number = options.pick(1_000_000, 100_000)
    few, few_tokens, _ = filled(FEW)
    many, many_tokens, each = filled(number)
    yield Row(
        what=f"`MemoryStorage`, {number:,} snapshots of {STATE_BYTES} B: bytes of one beyond those",
        measured=f"{each:,} B each",
        ratio=each - STATE_BYTES,
        aim=250,
        unit=" B",
    )
    state = state_of(STATE_BYTES)

    def saves(manager: Any, tokens: list[str]) -> float:
        waiting = iter(tokens)
        return seconds_of(lambda: manager.save(next(waiting), state), len(tokens))

    some = [list(islice(tokens, FEW)) for tokens in (many_tokens, few_tokens)]
    found = in_turns(
        {"many": lambda: saves(many, some[0]), "few": lambda: saves(few, some[1])},
        options.pick(60, 25),
    )
    pair = compare(zip(found["many"], found["few"], strict=True))
    yield Row(
        what=f"`MemoryStorage`: a save at {number:,} snapshots / at {FEW:,} (CPU)",
        measured=f"{pair.ours * 1e6:.1f} / {pair.theirs * 1e6:.1f} µs",
        ratio=pair.ratio,
        aim=1.2,
    )


if __name__ == "__main__":
    main(__doc__, run)
