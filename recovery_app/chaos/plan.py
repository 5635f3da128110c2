"""Plans: which fault happens when, drawn from a seed."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FIRST, LAST = 0.02, 0.95
"""The shares of a run between which faults happen; the rest is for pending events to arrive."""


class Kind(str, enum.Enum):
    """The kinds of fault. The value in the plural is the option on the command line."""

    CUT = "cut"
    HALF_OPEN = "half-open"
    DELAY = "delay"
    LOST_JOIN = "lost-join"
    LOST_REPLY = "lost-reply"
    DUPLICATE = "duplicate"
    KILL = "kill"
    TERM = "term"
    STALL = "stall"
    REDIS_STOP = "redis-stop"
    FAILOVER = "failover"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, at a share of the run.

    ``target`` (which connection or node) and ``amount`` (how long) are random numbers from 0 to
    1. ``variant`` selects one of two variants of the fault.
    """

    at: float
    kind: str
    target: float
    amount: float
    variant: bool

    def __str__(self) -> str:
        variant = "heads" if self.variant else "tails"
        return f"{self.at:7.2%} {self.kind} ({self.target:.3f}, {self.amount:.3f}, {variant})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The faults of a run, in order. The same seed and counts give the same plan."""

    seed: int
    faults: tuple[Fault, ...]

    @classmethod
    def make(cls, seed: int, counts: Mapping[str, int]) -> Plan:
        """Return a plan with this many faults of each kind, spread over the run."""
        rng = random.Random(seed)
        faults = [
            Fault(
                at=rng.uniform(FIRST, LAST),
                kind=str(kind),
                target=rng.random(),
                amount=rng.random(),
                variant=rng.random() < 0.5,
            )
            for kind in sorted(counts)
            for _ in range(counts[kind])
        ]
        return cls(seed=seed, faults=tuple(sorted(faults, key=lambda fault: fault.at)))

    @property
    def counts(self) -> Counter[str]:
        """Return the number of faults of each kind."""
        return Counter(fault.kind for fault in self.faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *map(str, self.faults)])
