"""The collector exports what the classes of `prometheus_client` would, whoever counts and when."""

from __future__ import annotations

import math
import os
import random
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from recovery_app._core.telemetry import OPERATIONS
from recovery_app._live.outcomes import Outcome
from recovery_app._live.record import CRASHED, REFUSED, SILENT
from recovery_app.exceptions import MalformedToken, StorageError, StorageUnavailable, TokenExpired
from recovery_app.metrics.definitions import APPLICATION_EVENTS, COUNTERS, GAUGES, HISTOGRAMS, INFOS
from recovery_app.metrics.in_process import Histogram
from recovery_app.metrics.observer import Metrics
from recovery_app.signals import Observer
from tests.test_metrics import PRINT_METRICS_OF_ALL, run

BUCKETS = (0.1, 1.0, 10.0)
COUNTER_INFO = {"consumer": "Counter", "state_version": "1"}
LASTING = (
    ("join_begun", "join_answered"),
    ("connection_opened", "connection_closed"),
    ("state_unsafe", "state_safe"),
    ("drain_begun", "drain_ended"),
    ("storage_down", "storage_back"),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics("shop", registry)


def live_through(observer: Observer) -> None:
    """Announce a history in which everything happens."""
    dice = random.Random(7)
    errors = [None, ZeroDivisionError(), StorageError("broken"), StorageUnavailable("X", "load")]
    for number in range(500):
        observer.token_created()
        observer.state_saved(dice.choice([0, 1, 127, 128, 129, 4096, 2**20, 2**20 + 1]))
        seconds = dice.choice([0, 0.0005, 0.003, 0.1, 1, 5, 5.1, math.inf])
        observer.storage_called(dice.choice(OPERATIONS), seconds, dice.choice(errors))
        observer.joined(dice.choice(list(Outcome)).value)
        if number % 3 == 0:
            observer.recovered()
            observer.failed(TokenExpired(age_seconds=2, limit_seconds=1))
        if number % 5 == 0:
            observer.failed(MalformedToken("it is too short"))
            observer.event_repeated()
            observer.connection_unjoined(dice.choice([CRASHED, REFUSED, SILENT]))
            observer.application_failed(dice.choice([*APPLICATION_EVENTS, "unheard_of"]))
            observer.connection_fenced()
        for opens, closes in LASTING:
            getattr(observer, opens)()
            if number % 7:
                getattr(observer, closes)()
        observer.was_away(dice.choice([0, 0.05, 0.3, 90, 10_000]))
        observer.topic_opened("Counter", number % 3)
    observer.connection_drained()
    observer.counted(7, shared=True)
    observer.counted(5, shared=True)


def exported(registry: CollectorRegistry, generate: Callable[[Any], bytes]) -> list[str]:
    """Return the sorted lines of the metrics page, without the times of ``_created``."""
    text = generate(registry).decode()
    return sorted(
        re.sub(r"(_created({\S+})?) [\d.e+]+$", r"\1", line) for line in text.splitlines()
    )


@pytest.fixture(params=[True, False], ids=["created", "not created"])
def with_created(request: pytest.FixtureRequest) -> Any:
    if not request.param:
        prometheus_client.disable_created_metrics()
    yield request.param
    prometheus_client.enable_created_metrics()


@pytest.mark.parametrize("generate", [generate_latest, openmetrics.generate_latest])
@pytest.mark.parametrize("lives", [0, 1, 2])
def test_the_page_is_that_of_prometheus_clients_own_classes(
    monkeypatch: pytest.MonkeyPatch,
    metrics: Metrics,
    registry: CollectorRegistry,
    with_created: bool,
    generate: Callable[[Any], bytes],
    lives: int,
) -> None:
    # The value class was chosen at import: here these classes are in memory too.
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "unused")
    reference = CollectorRegistry()
    for observer in (metrics, Metrics("shop", reference)):
        for _ in range(lives):
            live_through(observer)
    page = exported(registry, generate)
    assert page == exported(reference, generate)
    assert ("shop_recovery_state_size_bytes_created" in page) is with_created


def test_a_registry_refuses_the_same_names_twice(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Metrics("shop", registry)
    for name in ("outcomes_total", "storage_seconds_bucket", "snapshots_live"):
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            prometheus_client.Gauge(f"shop_recovery_{name}", "Taken.", registry=registry)


def test_one_metric_can_be_asked_for_alone(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.token_created()
    some = registry.restricted_registry(["shop_recovery_tokens_created_total"])
    (family,) = some.collect()
    assert [sample.value for sample in family.samples] == [1]


def test_a_definition_is_either_a_counter_or_a_histogram() -> None:
    assert not any(each.buckets for each in (*COUNTERS, *GAUGES, *INFOS))
    assert all(each.buckets for each in HISTOGRAMS)


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 1.0, 5.0, 10.0, 11.0, math.inf])))
def test_a_histogram_counts_as_prometheus_clients_does(amounts: list[float]) -> None:
    registry = CollectorRegistry()
    reference = prometheus_client.Histogram("s", "S.", buckets=BUCKETS, registry=registry)
    histogram = Histogram(BUCKETS)
    for amount in amounts:
        histogram.observe(amount)
        reference.observe(amount)
    counts, total = histogram.read()
    limits = ("0.1", "1.0", "10.0", "+Inf")
    assert counts == [registry.get_sample_value("s_bucket", {"le": limit}) for limit in limits]
    assert total == registry.get_sample_value("s_sum")


def test_nothing_that_any_thread_counts_is_lost(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    done = threading.Event()

    def count() -> None:
        for _ in range(5000):
            metrics.token_created()
            metrics.state_saved(300)

    def look() -> None:
        while not done.is_set():
            generate_latest(registry)

    looking = threading.Thread(target=look)
    counting = [threading.Thread(target=count) for _ in range(4)]
    for thread in (looking, *counting):
        thread.start()
    for thread in counting:
        thread.join()
    done.set()
    looking.join()
    size = "shop_recovery_state_size_bytes"
    assert registry.get_sample_value("shop_recovery_tokens_created_total") == 20_000
    assert registry.get_sample_value(f"{size}_bucket", {"le": "512.0"}) == 20_000
    assert registry.get_sample_value(f"{size}_sum") == 20_000 * 300


def test_a_finalizer_may_count_while_its_thread_counts() -> None:
    histogram = Histogram(BUCKETS)

    class Amount(float):
        """An amount that is observed once more while it is added."""

        def __radd__(self, other: float) -> float:
            histogram.observe(2)
            return other + float(self)

    histogram.observe(Amount(1))
    assert histogram.read()[0] == [0, 1, 2, 2]


def test_a_forked_child_starts_at_zero(metrics: Metrics, registry: CollectorRegistry) -> None:
    def total() -> int:
        names = ("tokens_created_total", "state_size_bytes_sum", "snapshots_live", "topics_open")
        return sum(int(registry.get_sample_value(f"shop_recovery_{each}") or 0) for each in names)

    metrics.token_created()
    metrics.state_saved(10)
    metrics.counted(100, shared=False)
    metrics.topic_opened("Counter", 1)
    assert total() == 112
    child = os.fork()
    if not child:
        metrics.topic_opened("Counter", 1)
        is_told = registry.get_sample_value("shop_recovery_consumer_info", COUNTER_INFO)
        metrics.topic_closed()
        metrics.token_created()
        metrics.token_created()
        metrics.state_saved(2)
        os._exit(total() if is_told else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert total() == 112


def test_a_child_can_count_though_another_thread_held_a_lock(metrics: Metrics) -> None:
    lock = metrics._tokens_created._lock
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        metrics.token_created()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    forked.set()
    thread.join()


# Several processes

SAVE = """
import os, signal
from recovery_app import get_manager

token = get_manager().create_token("socket")
get_manager().save(token, {"count": 1})
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("code", [SAVE, SAVE + KILLED], ids=["exit", "killed"])
def test_with_several_processes_all_is_in_the_files_at_once(tmp_path: Path, code: str) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with pytest.raises(AssertionError) if KILLED in code else nullcontext():
        run(code, {}, **env)
    printed = run(PRINT_METRICS_OF_ALL, {}, **env)
    assert "golivekit_recovery_tokens_created_total 1.0" in printed
    assert "golivekit_recovery_state_size_bytes_count 1.0" in printed
    assert 'golivekit_recovery_storage_seconds_count{operation="save"} 1.0' in printed
