"""Metrics in the files of `prometheus_client`'s multiprocess mode."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import mark_process_dead

from recovery_app._concurrency import register_after_fork
from recovery_app.metrics import definitions
from recovery_app.metrics.definitions import SNAPSHOTS_LIVE, SUBSYSTEM, Definition

Wrapper = TypeVar("Wrapper", Counter, Histogram)


def is_multiprocess() -> bool:
    """Return whether `prometheus_client` keeps metrics in files."""
    # The lower-case name is deprecated, and still read by prometheus_client.
    return bool({"PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"} & os.environ.keys())


def forget_dead_processes() -> None:
    """Remove the gauges of processes that have ended.

    Not every server calls `mark_process_dead`, and what was open in a process that was killed
    would be counted forever.
    """
    # prometheus_client sets it where only the older name in lower case was given.
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not directory or not os.path.isdir(directory):
        return
    found = (re.fullmatch(r"gauge_live\w*?_(\d+)\.db", name) for name in os.listdir(directory))
    for pid in {int(match[1]) for match in found if match}:
        if not _is_alive(pid):
            mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    if os.name != "posix":
        # There, a signal of 0 isn't a question.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class MultiprocessMetrics:
    """All series of this process, in metrics of `prometheus_client`."""

    def __init__(self, namespace: str, registry: CollectorRegistry) -> None:
        self._options: Any = {"namespace": namespace, "subsystem": SUBSYSTEM, "registry": registry}
        self._live: Gauge | None = None
        self._infos = {each: self._make_info(each) for each in definitions.INFOS}
        self.after_fork()
        register_after_fork(self)

    def counter(self, definition: Definition) -> Mapping[tuple[str, ...], Counter]:
        """Return the series of a new counter by their label values."""
        return self._make(Counter, definition)

    def histogram(self, definition: Definition) -> Mapping[tuple[str, ...], Histogram]:
        """Return the series of a new histogram by their label values."""
        return self._make(Histogram, definition, buckets=definition.buckets)

    def gauge(self, definition: Definition) -> Gauge:
        """Return the only series of a new gauge, summed over the running processes."""
        return Gauge(definition.name, definition.help, multiprocess_mode="livesum", **self._options)

    def set_info(self, definition: Definition, values: tuple[str, ...]) -> None:
        """Export a series of an info from now on."""
        self._infos[definition].labels(*values).set(1)

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
        forget_dead_processes()

    def _make_info(self, definition: Definition) -> Gauge:
        named = definition.name, definition.help, tuple(definition.labels)
        return Gauge(*named, multiprocess_mode="livemax", **self._options)

    def _make(
        self, kind: type[Wrapper], definition: Definition, **options: Any
    ) -> dict[tuple[str, ...], Wrapper]:
        labels = tuple(definition.labels)
        metric = kind(definition.name, definition.help, labels, **options, **self._options)
        return {each: metric.labels(*each) if each else metric for each in definition.series}
