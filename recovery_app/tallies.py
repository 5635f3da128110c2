"""Own the way from what happens to `prometheus_client`: noted at once, written by the hundred.

An ``observe`` costs as much as reading a token. So notes are gathered, and written when
there are many of them or when somebody looks. Where the metrics of several processes are
kept in files, each note is written at once: whoever reads those can't ask for the rest.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter as Count
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import prometheus_client
from prometheus_client.metrics_core import Metric

from recovery_app.forking import survive_fork

MOST_NOTES = 256


class Tallies:
    """Notes that wait to be written; usable from any thread."""

    def __init__(self) -> None:
        self._is_direct = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._notes: deque[tuple[Counter | Histogram, float]] = deque()
        # Reentrant: what runs in between, a finalizer say, may note something too.
        self._lock = threading.RLock()
        survive_fork(self)

    def note(self, metric: Counter | Histogram, amount: float = 1) -> None:
        """Add to a counter, or observe in a histogram, in a while."""
        if self._is_direct:
            metric.take_one(amount)
            return
        notes = self._notes
        notes.append((metric, amount))
        if len(notes) >= MOST_NOTES:
            self.write()

    def write(self) -> None:
        """Write all that waits."""
        with self._lock:
            found: dict[Counter | Histogram, list[float]] = {}
            while self._notes:
                metric, amount = self._notes.popleft()
                found.setdefault(metric, []).append(amount)
            for metric, amounts in found.items():
                metric.take(amounts)

    def after_fork(self) -> None:
        """Leave the parent's notes to the parent."""
        self._lock = threading.RLock()
        self._notes.clear()


class _Written:
    """A metric that has its notes written before it is read."""

    tallies: Tallies | None = None

    def collect(self) -> Iterable[Metric]:
        """Give what is exported."""
        if self.tallies is not None:
            self.tallies.write()
        found: Iterable[Metric] = super().collect()  # type: ignore[misc]
        return found


class Counter(_Written, prometheus_client.Counter):
    """A counter that takes many notes at once."""

    def take_one(self, amount: float) -> None:
        """Count it."""
        self.inc(amount)

    def take(self, amounts: Sequence[float]) -> None:
        """Count them."""
        self.inc(sum(amounts))


class Histogram(_Written, prometheus_client.Histogram):
    """A histogram that takes many notes at once."""

    def take_one(self, amount: float) -> None:
        """Observe it."""
        self.observe(amount)

    def take(self, amounts: Sequence[float]) -> None:
        """Observe them; each bucket is written once."""
        self._sum.inc(sum(amounts))
        places = Count(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for place, count in places.items():
            self._buckets[place].inc(count)


class Maker:
    """Make metrics in one registry, all with the same tallies."""

    def __init__(self, **place: Any) -> None:
        self.tallies = Tallies()
        self._place = place

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Make a counter."""
        made = Counter(name, text, labels, **self._place)
        made.tallies = self.tallies
        return made

    def histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        """Make a histogram."""
        made = Histogram(name, text, labels, buckets=buckets, **self._place)
        made.tallies = self.tallies
        return made
