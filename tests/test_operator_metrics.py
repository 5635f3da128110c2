"""The operator's metrics: outcomes, the storage's calls, what is live, in one process and many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from prometheus_client import CollectorRegistry

from recovery_app import RecoveryManager, __version__, metrics
from recovery_app._core.cleanup import CleanupThread
from recovery_app._core.telemetry import OPERATIONS
from recovery_app._live.outcomes import Outcome
from recovery_app.exceptions import SnapshotCorrupt, StorageError, StorageUnavailable
from recovery_app.metrics.observer import Metrics
from recovery_app.signals import Observer, observers
from recovery_app.storages import MemoryStorage, Storage
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import connected, recovery_of
from tests.core.support import CALLS, OwnStorage, make_manager
from tests.test_metrics import FIVE, PREFIX, PRINT_METRICS, PRINT_METRICS_OF_ALL, run, samples

SOCKET = "the socket"
STATE = {"count": 1}
PATIENCE_SECONDS = 120


@contextmanager
def counting() -> Iterator[dict[str, float]]:
    """Return what changed once the block has ended: outcomes, calls and errors."""
    before = samples()
    changes: dict[str, float] = {}
    yield changes
    for name, value in samples().items():
        change = value - before.get(name, 0)
        counts = (
            "outcomes_total",
            "events_repeated_total",
            "connections_fenced_total",
            "storage_seconds_count",
            "storage_errors_total",
        )
        if change and name.startswith(counts):
            changes[name] = change


@pytest.fixture(params=CALLS)
def calls(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = request.param
    return made


@pytest.fixture
def manager() -> Iterator[RecoveryManager]:
    with make_manager(storage=FlakyStorage()) as manager:
        yield manager


def seconds(operation: str) -> str:
    return f"storage_seconds_count{{{operation}}}"


def outcome(word: str) -> str:
    return f"outcomes_total{{{word}}}"


# Names


def test_names_labels_and_kinds() -> None:
    registry = CollectorRegistry()
    own = Metrics("shop", registry)
    own.counted(7, shared=True)
    own.topic_opened("Counter", 3)
    families = {
        family.name: family
        for family in registry.collect()
        if not family.name.removeprefix("shop_recovery_").startswith(FIVE)
    }
    assert {name: family.type for name, family in families.items()} == {
        "shop_recovery_outcomes": "counter",
        "shop_recovery_joins_limited": "counter",
        "shop_recovery_events_repeated": "counter",
        "shop_recovery_connections_fenced": "counter",
        "shop_recovery_messages_published": "counter",
        "shop_recovery_messages_handled": "counter",
        "shop_recovery_messages_replayed": "counter",
        "shop_recovery_messages_missed": "counter",
        "shop_recovery_pushes_sent": "counter",
        "shop_recovery_pushes_repeated": "counter",
        "shop_recovery_pushes_dropped": "counter",
        "shop_recovery_storage_seconds": "histogram",
        "shop_recovery_storage_errors": "counter",
        "shop_recovery_snapshots_live": "gauge",
        "shop_recovery_connections_unjoined": "counter",
        "shop_recovery_application_errors": "counter",
        "shop_recovery_drains": "counter",
        "shop_recovery_connections_drained": "counter",
        "shop_recovery_away_seconds": "histogram",
        "shop_recovery_joins_pending": "gauge",
        "shop_recovery_connections_open": "gauge",
        "shop_recovery_topics_open": "gauge",
        "shop_recovery_topics_unsafe": "gauge",
        "shop_recovery_draining": "gauge",
        "shop_recovery_storage_down": "gauge",
        "shop_recovery_info": "gauge",
        "shop_recovery_consumer_info": "gauge",
    }
    labels = {name: set(f.samples[0].labels) - {"le"} for name, f in families.items()}
    assert {name.removeprefix("shop_recovery_"): found for name, found in labels.items()} == {
        "outcomes": {"outcome"},
        "joins_limited": set(),
        "events_repeated": set(),
        "connections_fenced": set(),
        "messages_published": set(),
        "messages_handled": set(),
        "messages_replayed": set(),
        "messages_missed": set(),
        "pushes_sent": set(),
        "pushes_repeated": set(),
        "pushes_dropped": set(),
        "storage_seconds": {"operation"},
        "storage_errors": {"operation", "reason"},
        "snapshots_live": set(),
        "connections_unjoined": {"cause"},
        "application_errors": {"event"},
        "drains": set(),
        "connections_drained": set(),
        "away_seconds": set(),
        "joins_pending": set(),
        "connections_open": set(),
        "topics_open": set(),
        "topics_unsafe": set(),
        "draining": set(),
        "storage_down": set(),
        "info": {"version"},
        "consumer_info": {"consumer", "state_version"},
    }


def test_each_series_is_there_from_the_start_but_what_nobody_counts() -> None:
    registry = CollectorRegistry()
    Metrics("shop", registry)
    found = samples(registry, "shop_recovery_")
    assert found.pop(f"info{{{__version__}}}") == 1
    assert set(found.values()) == {0}
    assert {name for name in found if name.startswith("outcomes")} == {
        outcome(each.value) for each in Outcome
    }
    assert {name for name in found if name.startswith("storage_seconds_count")} == {
        seconds(each) for each in OPERATIONS
    }
    assert {name for name in found if name.startswith("storage_errors")} == {
        f"storage_errors_total{{{operation},{reason}}}"
        for operation in OPERATIONS
        for reason in ("unavailable", "storage", "error")
    }
    assert "snapshots_live" not in found


# Outcomes


async def test_each_join_is_counted_by_what_the_client_is_told(manager: RecoveryManager) -> None:
    storage = manager.storage
    assert isinstance(storage, FlakyStorage)
    told = []
    with counting() as changes:
        async with connected(Counter, manager) as client:
            told.append(recovery_of(await client.join()))
        token = told[0]["token"]
        for shown in (token, "rubbish", token):
            async with connected(Counter, manager) as client:
                told.append(recovery_of(await client.join(token=shown)))
                await client.push("add")
        storage.stop()
        async with connected(Counter, manager) as client:
            told.append(recovery_of(await client.join(token=token)))
    words = [each["outcome"] for each in told]
    assert words == ["new", "recovered", "rejected", "copied", "unavailable"]
    assert {name: n for name, n in changes.items() if name.startswith("outcomes")} == {
        outcome(word): words.count(word) for word in words
    }


async def test_events_that_come_again_and_connections_that_are_fenced_are_counted(
    manager: RecoveryManager,
) -> None:
    with counting() as changes:
        async with connected(Counter, manager) as old, connected(Counter, manager) as new:
            token = recovery_of(await old.join())["token"]
            for seq in (1, 1, 1, 2):
                await old.push("add", {"_seq": seq})
            await new.join(token=token)
            await new.push("add", {"_seq": 2})
            await old.cast("add", {"_seq": 3})
            assert (await old.hear())["event"] == "recovery:token"
            await old.reply()
    assert changes["events_repeated_total"] == 3
    assert changes["connections_fenced_total"] == 1


async def test_a_join_that_is_refused_has_no_outcome(manager: RecoveryManager) -> None:
    with counting() as changes:
        async with connected(Counter, manager) as client:
            assert (await client.join(refuse=True))["status"] == "error"
    assert changes == {}


async def test_a_fresh_state_that_cannot_be_kept_is_unavailable(manager: RecoveryManager) -> None:
    storage = manager.storage
    assert isinstance(storage, FlakyStorage)
    storage.stop()
    with counting() as changes:
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join())["outcome"] == "unavailable"
    assert changes[outcome("unavailable")] == 1
    assert changes["storage_errors_total{save,unavailable}"] == 1


# The storage


def test_each_call_is_timed_once(calls: Callable[[Any], Any]) -> None:
    manager = calls(make_manager())
    token = manager.create_token(SOCKET)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("save", lambda: manager.save(token, STATE)),
        ("load", lambda: manager.recover(token)),
        ("touch", lambda: manager.touch(token)),
        ("renewal", lambda: manager.renew(token)),
        ("takeover", lambda: manager.take_over(token)),
        ("listing", manager.snapshots),
        ("count", manager.count),
        ("cleanup", manager.cleanup_expired),
        ("revocation", lambda: manager.revoke(token)),
    ]
    # Those of durable groups, which aren't calls of the manager.
    others = {"publish", "group"}
    assert {operation for operation, _ in steps} == set(OPERATIONS) - others
    for operation, step in steps:
        with counting() as changes:
            step()
        assert changes == {seconds(operation): 1}


class Slow(OwnStorage):
    """A storage that takes its time, by the clock on the wall."""

    def load(self, key: str) -> bytes | None:
        threading.Event().wait(0.02)
        return super().load(key)


def test_the_time_is_that_of_the_call(calls: Callable[[Any], Any]) -> None:
    with make_manager(storage=Slow(lambda: 0.0)) as manager:
        token = manager.create_token(SOCKET)
        manager.save(token, STATE)
        before = samples()["storage_seconds_sum{load}"]
        calls(manager).recover(token)
        assert 0.02 <= samples()["storage_seconds_sum{load}"] - before < PATIENCE_SECONDS


class Failing(MemoryStorage):
    """A storage that fails in one way or another."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def load(self, key: str) -> bytes | None:
        raise self.error


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("unavailable", StorageUnavailable("The storage", "load")),
        ("storage", StorageError("The storage failed.")),
        ("error", ZeroDivisionError()),
    ],
)
def test_a_call_that_fails_is_timed_and_counted(
    calls: Callable[[Any], Any], reason: str, error: Exception
) -> None:
    manager = calls(make_manager(storage=Failing(error)))
    token = manager.create_token(SOCKET)
    with counting() as changes, pytest.raises(type(error)):
        manager.recover(token)
    assert changes == {seconds("load"): 1, f"storage_errors_total{{load,{reason}}}": 1}


def test_an_error_that_is_not_the_storages_is_timed_and_not_counted(
    calls: Callable[[Any], Any],
) -> None:
    manager = calls(make_manager(storage=Failing(SnapshotCorrupt("rubbish"))))
    token = manager.create_token(SOCKET)
    with counting() as changes, pytest.raises(SnapshotCorrupt):
        manager.recover(token)
    assert changes == {seconds("load"): 1}


async def test_a_call_that_is_cancelled_is_not_told() -> None:
    class Endless(MemoryStorage):
        async def aload(self, key: str) -> bytes | None:
            await asyncio.Event().wait()
            return None

    manager = make_manager(storage=Endless())
    task = asyncio.ensure_future(manager.arecover(manager.create_token(SOCKET)))
    await asyncio.sleep(0)
    with counting() as changes:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert changes == {}


# What is live


class Uncountable(OwnStorage):
    """A storage in which nobody counts."""


@pytest.mark.parametrize(
    ("storage", "expected"),
    [(MemoryStorage(), 3), (Uncountable(lambda: 0.0), None)],
    ids=["memory", "own"],
)
def test_live_snapshots_are_counted_by_the_clean_up_where_that_is_cheap(
    storage: Storage, expected: int | None
) -> None:
    registry = CollectorRegistry()
    own = Metrics("shop", registry)
    for number in range(3):
        storage.save(f"key {number}", b"data", 60)
    counted = threading.Event()

    class Hearing(Observer):
        def storage_called(self, operation: str, *_: Any) -> None:
            if operation != "cleanup":
                return
            if heard_once.is_set():
                counted.set()  # The second clean-up is done, so the first has been told.
            heard_once.set()

    heard_once = threading.Event()
    hearing = Hearing()
    observers.add(own)
    observers.add(hearing)
    cleaner = CleanupThread(storage, 0.001)
    try:
        cleaner.start()
        assert counted.wait(PATIENCE_SECONDS)
    finally:
        cleaner.stop()
        observers.remove(own)
        observers.remove(hearing)
    assert samples(registry, "shop_recovery_").get("snapshots_live") == expected


def test_a_failed_clean_up_is_counted() -> None:
    class Broken(MemoryStorage):
        def cleanup_expired(self) -> int:
            failed.set()
            raise StorageUnavailable("The storage", "clean-up")

    failed = threading.Event()
    cleaner = CleanupThread(Broken(), 0.001)
    with counting() as changes:
        cleaner.start()
        assert failed.wait(PATIENCE_SECONDS)
        cleaner.stop()
    assert changes["storage_errors_total{cleanup,unavailable}"] >= 1


def test_many_may_count_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # With several processes the gauge is made when somebody counts.
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "unused")
    own = Metrics("shop", CollectorRegistry())
    barrier = threading.Barrier(8)
    problems: list[Exception] = []

    def count() -> None:
        barrier.wait()
        try:
            own.counted(1, shared=True)
        except ValueError as error:
            problems.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


# Starting


def test_starting_again_counts_nothing_twice(manager: RecoveryManager) -> None:
    apps.get_app_config("recovery_app").ready()
    metrics.start()
    token = manager.create_token(SOCKET)
    with counting() as changes:
        manager.save(token, STATE)
    assert changes == {seconds("save"): 1}


RELOAD = """
import importlib
from recovery_app import get_manager
from recovery_app import metrics
from recovery_app.metrics import definitions, in_process, multiprocess, observer
from django.apps import apps

apps.get_app_config("recovery_app").ready()
for module in (definitions, in_process, multiprocess, observer, metrics):
    importlib.reload(module)
metrics.start()
get_manager().create_token("socket")
"""


def test_a_reload_of_the_modules_collects_nothing_twice() -> None:
    printed = run(RELOAD + PRINT_METRICS, {})
    assert printed.count(f"{PREFIX}tokens_created_total 1.0") == 1


# Several processes

COUNT = """
import sys
from recovery_app.signals import observers
for number in {numbers}:
    observers.counted(number, shared={shared})
observers.joined("new")
observers.storage_called("save", 0.003, None)
"""


@pytest.mark.parametrize("shared", [True, False])
def test_processes_are_made_one(tmp_path: Path, shared: bool) -> None:
    """What all see is told by who counted last; what one had that has ended is gone."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for numbers in ([9, 3], [5]):
        run(COUNT.format(numbers=numbers, shared=shared), {}, **env)
    printed = run(PRINT_METRICS_OF_ALL, {}, **env)
    assert (f"{PREFIX}snapshots_live 5.0" in printed) is shared
    assert f'{PREFIX}outcomes_total{{outcome="new"}} 2.0' in printed
    assert f'{PREFIX}storage_seconds_count{{operation="save"}} 2.0' in printed
    assert f'{PREFIX}storage_seconds_bucket{{le="0.005",operation="save"}} 2.0' in printed
    assert f'{PREFIX}storage_seconds_bucket{{le="0.0025",operation="save"}} 0.0' in printed


def test_registry_has_no_live_snapshots_that_nobody_counted() -> None:
    assert not any("snapshots_live" in line for line in run(PRINT_METRICS, {}))
