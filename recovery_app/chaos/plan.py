"""Own the plan: which fault comes when, all of it drawn from one seed."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FIRST, LAST = 0.02, 0.95
"""Where faults lie in a run: at its end all that was kept back has to arrive yet."""


class Kind(str, enum.Enum):
    """What can happen. The value is the name on the command line, in the plural there."""

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
    """One fault. Numbers are drawn from 0 to 1: whom it hits, and how hard.

    ``at`` is a share of the run. ``coin`` chooses between two ways of the same fault.
    """

    at: float
    kind: str
    whom: float
    amount: float
    coin: bool

    def __str__(self) -> str:
        variant = "heads" if self.coin else "tails"
        return f"{self.at:7.2%} {self.kind} ({self.whom:.3f}, {self.amount:.3f}, {variant})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All faults of a run, the first first. The same seed and counts give the same plan."""

    seed: int
    faults: tuple[Fault, ...]

    @classmethod
    def make(cls, seed: int, counts: Mapping[str, int]) -> Plan:
        """Draw so many faults of each kind, spread over the whole run."""
        dice = random.Random(seed)
        faults = [
            Fault(
                at=dice.uniform(FIRST, LAST),
                kind=str(kind),
                whom=dice.random(),
                amount=dice.random(),
                coin=dice.random() < 0.5,
            )
            for kind in sorted(counts)
            for _ in range(counts[kind])
        ]
        return cls(seed=seed, faults=tuple(sorted(faults, key=lambda fault: fault.at)))

    @property
    def counts(self) -> Counter[str]:
        """Give how many faults there are of each kind."""
        return Counter(fault.kind for fault in self.faults)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.faults)

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *map(str, self.faults)])
