"""Tallies: what is noted is written once, before anybody reads it, whoever noted it and when."""

from __future__ import annotations

import atexit
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from recovery_app.metrics.buffer import MOST_NOTES, Histogram, Maker, Tallies
from tests.test_metrics import PRINT_METRICS_OF_ALL, run

BUCKETS = (0.1, 1, 10)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def maker(registry: CollectorRegistry) -> Maker:
    return Maker(registry=registry)


def values(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_what_is_noted_is_written_when_somebody_looks(
    registry: CollectorRegistry, maker: Maker
) -> None:
    counter = maker.counter("tokens", "Tokens.")
    count = maker.tallies.counting(counter)
    for _ in range(3):
        count()
    assert counter._value.get() == 0
    for _ in range(2):
        assert registry.get_sample_value("tokens_total") == 3
    count()
    assert registry.get_sample_value("tokens_total") == 4


def test_a_look_at_one_metric_alone_has_all_of_it(
    registry: CollectorRegistry, maker: Maker
) -> None:
    """Prometheus may ask for names."""
    counter = maker.counter("tokens", "Tokens.", "kind")
    maker.tallies.counting(counter.labels("new"))()
    some = registry.restricted_registry(["tokens_total"])
    (family,) = some.collect()
    assert [sample.value for sample in family.samples] == [1]


def test_many_notes_are_written_without_a_look(maker: Maker) -> None:
    histogram = maker.histogram("seconds", "Seconds.", buckets=BUCKETS)
    note = maker.tallies.noting(histogram)
    for _ in range(MOST_NOTES - 1):
        note(1)
    assert histogram._sum.get() == 0
    note(1)
    assert histogram._sum.get() == MOST_NOTES


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 1.0, 5.0, 10.0, 11.0, math.inf])))
def test_many_notes_are_observed_as_one_after_the_other(amounts: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    maker = Maker(registry=ours)
    histogram = maker.histogram("seconds", "Seconds.", buckets=BUCKETS)
    reference = prometheus_client.Histogram("seconds", "Seconds.", buckets=BUCKETS, registry=theirs)
    note = maker.tallies.noting(histogram)
    for amount in amounts:
        note(amount)
        reference.observe(amount)
    assert values(ours) == pytest.approx(values(theirs))


def test_no_note_of_any_thread_is_lost(registry: CollectorRegistry, maker: Maker) -> None:
    count = maker.tallies.counting(maker.counter("tokens", "Tokens."))
    observe = maker.tallies.noting(maker.histogram("seconds", "Seconds.", buckets=BUCKETS))
    done = threading.Event()

    def note() -> None:
        for _ in range(5000):
            count()
            observe(1)

    def look() -> None:
        while not done.is_set():
            values(registry)

    looking = threading.Thread(target=look)
    noting = [threading.Thread(target=note) for _ in range(4)]
    for thread in (looking, *noting):
        thread.start()
    for thread in noting:
        thread.join()
    done.set()
    looking.join()
    assert registry.get_sample_value("tokens_total") == 20_000
    assert registry.get_sample_value("seconds_count") == 20_000


def test_a_note_may_come_while_notes_are_written(registry: CollectorRegistry, maker: Maker) -> None:
    class Noting(Histogram):
        """Note as a finalizer would that runs in the middle of it."""

        def take(self, amounts: Sequence[float]) -> None:
            if amounts:
                for _ in range(MOST_NOTES):
                    note(1)
            super().take(amounts)

    late = maker.tallies.noting(Noting("late", "Late.", buckets=BUCKETS, registry=registry))
    note = maker.tallies.noting(maker.histogram("seconds", "Seconds.", buckets=BUCKETS))
    late(1)
    maker.tallies.write()
    assert registry.get_sample_value("seconds_sum") == MOST_NOTES
    assert registry.get_sample_value("late_sum") == 1


def test_a_fork_leaves_the_parents_notes_to_the_parent(
    registry: CollectorRegistry, maker: Maker
) -> None:
    count = maker.tallies.counting(maker.counter("tokens", "Tokens."))
    note = maker.tallies.noting(maker.histogram("seconds", "Seconds.", buckets=BUCKETS))
    count()
    note(10)
    child = os.fork()
    if not child:
        count()
        count()
        note(2)
        totals = [registry.get_sample_value(name) or 0 for name in ("tokens_total", "seconds_sum")]
        os._exit(int(sum(totals)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert registry.get_sample_value("tokens_total") == 1
    assert registry.get_sample_value("seconds_sum") == 10


NOTING = """
import os, signal, time
from recovery_app import get_manager

token = get_manager().create_token("socket")
get_manager().save(token, {"count": 1})
"""
KILLED = "time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("code", [NOTING, NOTING + KILLED], ids=["exit", "killed"])
def test_with_several_processes_notes_are_written_in_a_moment(tmp_path: Path, code: str) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with pytest.raises(AssertionError) if KILLED in code else nullcontext():
        run(code, {}, **env)
    printed = run(PRINT_METRICS_OF_ALL, {}, **env)
    assert "golivekit_recovery_tokens_created_total 1.0" in printed
    assert "golivekit_recovery_state_size_bytes_count 1.0" in printed
    assert 'golivekit_recovery_storage_seconds_count{operation="save"} 1.0' in printed


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tallies]:
    """Give tallies as they are with several processes."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    tallies = Tallies()
    yield tallies
    atexit.unregister(tallies.write)


class Taker:
    """A metric that only remembers what it was given."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.is_there = threading.Event()

    def take(self, amounts: Any) -> None:
        if amounts:
            self.taken.append(amounts)
            self.is_there.set()

    inc = take


def end_of_alarms() -> None:
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()


def test_each_silence_ends_with_an_alarm_and_never_two(in_files: Tallies) -> None:
    taker: Any = Taker()
    note = in_files.noting(taker)
    for round_ in (1, 2):
        before = threading.active_count()
        for _ in range(MOST_NOTES + 10):
            note(1)
        assert threading.active_count() == before + 1
        assert [len(amounts) for amounts in taker.taken] == [MOST_NOTES, 10] * (round_ - 1) + [
            MOST_NOTES
        ]
        taker.is_there.clear()
        assert taker.is_there.wait(5)
        end_of_alarms()
    assert [len(amounts) for amounts in taker.taken] == [MOST_NOTES, 10] * 2


def test_what_is_counted_sets_the_alarm_too(in_files: Tallies) -> None:
    counter: Any = Taker()
    count = in_files.counting(counter)
    count()
    count()
    assert counter.is_there.wait(5)
    end_of_alarms()
    assert counter.taken == [2]


def test_without_threads_a_note_is_written_at_once(
    in_files: Tallies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_timer: threading.Timer) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Timer, "start", start)
    taker: Any = Taker()
    note = in_files.noting(taker)
    note(2)
    note(3)
    assert taker.taken == [[2], [3]]


def test_a_forked_child_has_an_alarm_of_its_own(in_files: Tallies) -> None:
    taker: Any = Taker()
    note = in_files.noting(taker)
    note(1)
    assert in_files._alarm is not None
    # Its thread is the parent's.
    in_files._alarm.cancel()
    in_files.after_fork()
    note(2)
    assert taker.is_there.wait(5)
    end_of_alarms()
    assert taker.taken == [[2]]
