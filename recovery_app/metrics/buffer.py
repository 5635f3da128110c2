"""Own the way from what happens to `prometheus_client`: noted at once, written by the hundred.

An ``observe`` costs as much as reading a token. So amounts are gathered, and written when
there are many of them or when somebody looks; what is only counted is written when somebody
looks. Where the metrics of several processes are kept in files, whoever reads those can't ask
for the rest: so there all is also written after `MOST_SECONDS`, and at exit.
"""

from __future__ import annotations

import atexit
import os
import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import prometheus_client
from prometheus_client.metrics_core import Metric

from recovery_app._concurrency import register_after_fork
from recovery_app.metrics.counts import Count

MOST_NOTES = 256
MOST_SECONDS = 0.1


class Tallies:
    """What waits to be written; it may be noted on any thread."""

    def __init__(self) -> None:
        self._is_in_files = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._alarm: threading.Timer | None = None
        self._counts: list[tuple[Counter, Count]] = []
        self._waiting: list[tuple[Histogram, deque[float]]] = []
        # Reentrant: what runs in between, a finalizer say, may note something too.
        self._lock = threading.RLock()
        register_after_fork(self)
        if self._is_in_files:
            atexit.register(self.write)

    def counting(self, counter: Counter) -> Callable[[], object]:
        """Give what adds one to a counter, in a while."""
        count = Count()
        self._counts.append((counter, count))
        bump = count.bump

        def bump_for_files() -> None:
            bump()
            if self._alarm is None:
                self._set_alarm()

        return bump_for_files if self._is_in_files else bump

    def noting(self, histogram: Histogram) -> Callable[[float], object]:
        """Give what has a histogram observe an amount, in a while."""
        amounts: deque[float] = deque()
        self._waiting.append((histogram, amounts))
        append = amounts.append

        def note(amount: float) -> None:
            append(amount)
            if len(amounts) >= MOST_NOTES:
                self.write()

        def note_for_files(amount: float) -> None:
            append(amount)
            if len(amounts) >= MOST_NOTES:
                self.write()
            elif self._alarm is None:
                self._set_alarm()

        return note_for_files if self._is_in_files else note

    def write(self) -> None:
        """Write all that waits."""
        with self._lock:
            for counter, count in self._counts:
                counter.inc(count.take())
            for histogram, amounts in self._waiting:
                histogram.take(_taken_out_of(amounts))

    def after_fork(self) -> None:
        """Leave the parent's notes to the parent."""
        self._lock = threading.RLock()
        for _, amounts in self._waiting:
            amounts.clear()
        self._alarm = None

    def _set_alarm(self) -> None:
        self._alarm = threading.Timer(MOST_SECONDS, self._ring)
        self._alarm.daemon = True
        try:
            self._alarm.start()
        except RuntimeError:
            # At exit there are no more threads.
            self._ring()

    def _ring(self) -> None:
        # First: a note that comes while they are written may need an alarm of its own.
        self._alarm = None
        self.write()


def _taken_out_of(amounts: deque[float]) -> list[float]:
    """Give all that are there now: others may note as fast as this takes away."""
    taken: list[float] = []
    # Empty too early: a finalizer that noted something in between has had all written.
    with suppress(IndexError):
        taken.extend(amounts.popleft() for _ in range(len(amounts)))
    return taken


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
    """A counter that is written in a while."""


class Histogram(_Written, prometheus_client.Histogram):
    """A histogram that takes many amounts at once."""

    def take(self, amounts: Sequence[float]) -> None:
        """Observe them; each bucket is written once."""
        if amounts:
            self._sum.inc(sum(amounts))
            places = Tally(map(partial(bisect_left, self._upper_bounds), amounts))
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
