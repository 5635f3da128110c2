"""Metrics in the files of `prometheus_client`'s multiprocess mode."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from recovery_app._concurrency import register_after_fork
from recovery_app.metrics.definitions import SNAPSHOTS_LIVE, SUBSYSTEM, Definition

Wrapper = TypeVar("Wrapper", Counter, Histogram)


def is_multiprocess() -> bool:
    """Return whether `prometheus_client` keeps metrics in files."""
    # The lower-case name is deprecated, and still read by prometheus_client.
    return bool({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"} & os.environ.keys())


class MultiprocessMetrics:
    """All series of this process, in metrics of `prometheus_client`."""

    def __init__(self, namespace: str, registry: CollectorRegistry) -> None:
        self._options: Any = {"namespace": namespace, "subsystem": SUBSYSTEM, "registry": registry}
        self._live: Gauge | None = None
        self.after_fork()
        register_after_fork(self)

    def counter(self, definition: Definition) -> Mapping[tuple[str, ...], Counter]:
        """Return the series of a new counter by their label values."""
        return self._make(Counter, definition)

    def histogram(self, definition: Definition) -> Mapping[tuple[str, ...], Histogram]:
        """Return the series of a new histogram by their label values."""
        return self._make(Histogram, definition, buckets=definition.buckets)

    def set_live(self, snapshots: int, *, shared: bool) -> None:
        """Set the number of live snapshots; its series is exported from then on.

        ``shared``: all processes count the same snapshots, so that the last count is the total.
        """
        mode: Any = "mostrecent" if shared else "livesum"
        with self._lock:
            if self._live is None:
                named = SNAPSHOTS_LIVE.name, SNAPSHOTS_LIVE.help
                self._live = Gauge(*named, multiprocess_mode=mode, **self._options)
        self._live.set(snapshots)

    def after_fork(self) -> None:
        """Replace the lock, which the parent may have held."""
        self._lock = threading.Lock()

    def _make(
        self, kind: type[Wrapper], definition: Definition, **options: Any
    ) -> dict[tuple[str, ...], Wrapper]:
        labels = tuple(definition.labels)
        metric = kind(definition.name, definition.help, labels, **options, **self._options)
        return {each: metric.labels(*each) if each else metric for each in definition.series}
