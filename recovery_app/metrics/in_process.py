"""Metrics in the memory of one process, exported by a collector."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

import prometheus_client
from prometheus_client import core
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from recovery_app._concurrency import register_after_fork
from recovery_app.metrics import definitions
from recovery_app.metrics.definitions import SNAPSHOTS_LIVE, Definition


class Counter:
    """One series of a counter."""

    __slots__ = ("__weakref__", "_lock", "value")

    def __init__(self) -> None:
        self.after_fork()
        register_after_fork(self)

    def inc(self, amount: int = 1) -> None:
        """Add ``amount``."""
        # Not "with", which takes twice as long: this runs several times for each event.
        lock = self._lock
        lock.acquire()
        try:
            self.value += amount
        finally:
            lock.release()

    def after_fork(self) -> None:
        """Start again at 0, with a new lock."""
        # Reentrant: a signal handler or a finalizer may count while this thread does.
        self._lock = threading.RLock()
        self.value = 0


class Gauge(Counter):
    """One series of a gauge."""

    __slots__ = ()

    def dec(self) -> None:
        """Take one off."""
        with self._lock:
            self.value -= 1


class Histogram:
    """One series of a histogram."""

    __slots__ = ("__weakref__", "_bounds", "_counts", "_lock", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.after_fork()
        register_after_fork(self)

    def observe(self, amount: float) -> None:
        """Add ``amount``."""
        place = bisect_left(self._bounds, amount)
        lock = self._lock
        lock.acquire()
        try:
            self._counts[place] += 1
            self._sum += amount
        finally:
            lock.release()

    def read(self) -> tuple[list[int], float]:
        """Return the cumulative count of each bucket, the one without a limit last, and the sum."""
        with self._lock:
            return list(accumulate(self._counts)), self._sum

    def after_fork(self) -> None:
        """Start again at 0, with a new lock."""
        self._lock = threading.RLock()
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0


class InProcessMetrics(Collector):
    """All series of this process; a forked child starts again at 0."""

    def __init__(self, namespace: str, registry: core.CollectorRegistry) -> None:
        self._prefix = f"{namespace}_{definitions.SUBSYSTEM}_"
        self._counters = {
            each: {values: Counter() for values in each.series} for each in definitions.COUNTERS
        }
        self._histograms = {
            each: {values: Histogram(each.buckets) for values in each.series}
            for each in definitions.HISTOGRAMS
        }
        self._gauges = {
            each: {values: Gauge() for values in each.series} for each in definitions.GAUGES
        }
        self._infos = _make_infos()
        self._live: int | None = None
        self._probe = _make_probe()
        register_after_fork(self)
        registry.register(self)

    def counter(self, definition: Definition) -> Mapping[tuple[str, ...], Counter]:
        """Return the series of a counter by their label values."""
        return self._counters[definition]

    def histogram(self, definition: Definition) -> Mapping[tuple[str, ...], Histogram]:
        """Return the series of a histogram by their label values."""
        return self._histograms[definition]

    def gauge(self, definition: Definition) -> Gauge:
        """Return the only series of a gauge."""
        return self._gauges[definition][()]

    def set_info(self, definition: Definition, values: tuple[str, ...]) -> None:
        """Export a series of an info from now on."""
        self._infos[definition][values] = None

    def set_live(self, snapshots: int, *, shared: bool) -> None:
        """Set the number of live snapshots; its series is exported from then on."""
        self._live = snapshots

    def describe(self) -> Iterator[core.Metric]:
        """Yield each metric without samples, for the registry."""
        yield from (core.CounterMetricFamily(*self._named(each)) for each in self._counters)
        yield from (core.HistogramMetricFamily(*self._named(each)) for each in self._histograms)
        for each in (*self._gauges, *self._infos, SNAPSHOTS_LIVE):
            yield core.GaugeMetricFamily(*self._named(each))

    def collect(self) -> Iterator[core.Metric]:
        """Yield each metric with its samples."""
        created = self._created()
        yield from (self._collect_counter(each, created) for each in self._counters)
        yield from (self._collect_histogram(each, created) for each in self._histograms)
        for each, series in self._gauges.items():
            yield core.GaugeMetricFamily(*self._named(each), value=series[()].value)
        yield from map(self._collect_info, self._infos)
        if self._live is not None:
            yield core.GaugeMetricFamily(*self._named(SNAPSHOTS_LIVE), value=self._live)

    def after_fork(self) -> None:
        """Forget what the parent has counted, as each series does itself."""
        self._live = None
        self._infos = _make_infos()
        self._probe = _make_probe()

    def _collect_counter(self, definition: Definition, created: float | None) -> core.Metric:
        family = core.CounterMetricFamily(*self._named(definition), labels=[*definition.labels])
        for values, counter in self._counters[definition].items():
            family.add_metric(values, counter.value, created)
        return family

    def _collect_histogram(self, definition: Definition, created: float | None) -> core.Metric:
        family = core.HistogramMetricFamily(*self._named(definition), labels=[*definition.labels])
        bounds = [*map(floatToGoString, definition.buckets), "+Inf"]
        for values, histogram in self._histograms[definition].items():
            counts, total = histogram.read()
            family.add_metric(values, list(zip(bounds, counts, strict=True)), total)
            if created is not None:
                # add_metric() takes no ``created`` for a histogram.
                labels = dict(zip(definition.labels, values, strict=True))
                family.samples.append(core.Sample(f"{family.name}_created", labels, created))
        return family

    def _collect_info(self, definition: Definition) -> core.Metric:
        family = core.GaugeMetricFamily(*self._named(definition), labels=[*definition.labels])
        for values in list(self._infos[definition]):
            family.add_metric(values, 1)
        return family

    def _created(self) -> float | None:
        """Return the time for ``_created`` series, or ``None`` if they are disabled."""
        (family,) = self._probe.collect()
        return next((s.value for s in family.samples if s.name.endswith("_created")), None)

    def _named(self, definition: Definition) -> tuple[str, str]:
        return self._prefix + definition.name, definition.help


def _make_infos() -> dict[Definition, dict[tuple[str, ...], None]]:
    return {each: dict.fromkeys(each.series) for each in definitions.INFOS}


def _make_probe() -> prometheus_client.Counter:
    # Whether ``_created`` series are enabled shows only in a metric of prometheus_client's own.
    return prometheus_client.Counter("probe", "Not registered.", registry=None)
