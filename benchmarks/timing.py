"""Two or more things measured in turns, so that a busy machine is busy for all of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Pair(NamedTuple):
    """The medians of both sides, and the median of each round's own ratio."""

    ours: float
    theirs: float
    ratio: float


def compare(rounds: Iterable[tuple[float, float]]) -> Pair:
    """Return the medians of what each round measured of both sides."""
    found = list(rounds)
    return Pair(
        ours=statistics.median(ours for ours, _ in found),
        theirs=statistics.median(theirs for _, theirs in found),
        ratio=statistics.median(ours / theirs for ours, theirs in found),
    )


def in_turns(works: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each work measured in each round; one round before them is for nothing.

    Who comes first changes from round to round.
    """
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name in works if turn % 2 else reversed(works):
            figure = works[name]()
            if turn:
                found[name].append(figure)
    return found


def seconds_of(work: Callable[[], object], times: int) -> float:
    """Return the CPU seconds of one call among many."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
