"""The metrics: what real managers do, as it shows in the registry."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.apps import apps
from prometheus_client import REGISTRY, CollectorRegistry

from recovery_app import RecoveryManager, metrics
from recovery_app._core.tokens import hash_socket_id
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.exceptions import RecoveryError, StorageError, StorageUnavailable
from recovery_app.metrics.definitions import SIZE_BUCKETS
from recovery_app.metrics.observer import Metrics
from recovery_app.signals import observers
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.support.processes import TOP

PREFIX = "golivekit_recovery_"
SECRET = "a secret of thirty-two bytes or more"
FIVE = ("tokens_", "state_size_")
"""How the metrics begin that this file is about; ``test_operator_metrics`` has the others."""
TTL = 300
MAX_AGE = 3600
Call = Callable[..., Any]


def samples(registry: CollectorRegistry = REGISTRY, prefix: str = PREFIX) -> dict[str, float]:
    """Return each sample of ours, named as in ``tokens_failed_total{signature}``."""
    found = {}
    for family in registry.collect():
        for sample in family.samples:
            # Prometheus adds the time at which each series began.
            if sample.name.startswith(prefix) and sample.name != f"{family.name}_created":
                labels = f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""
                found[sample.name.removeprefix(prefix) + labels] = sample.value
    return found


@contextmanager
def counting(*names: str) -> Iterator[dict[str, float]]:
    """Return what changed, and by how much, once the block has ended; buckets left out.

    ``names`` are how those begin that count.
    """
    before = samples()
    changes: dict[str, float] = {}
    yield changes
    after = samples()
    for name in sorted(after.keys() | before.keys()):
        change = after.get(name, 0) - before.get(name, 0)
        if change and "_bucket" not in name and name.startswith(names or FIVE):
            changes[name] = change


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Return a function that makes a manager's call, or its asynchronous twin."""

    def call_sync(manager: RecoveryManager, name: str, *args: Any, **options: Any) -> Any:
        return getattr(manager, name)(*args, **options)

    def call_async(manager: RecoveryManager, name: str, *args: Any, **options: Any) -> Any:
        return asyncio.run(getattr(manager, f"a{name}")(*args, **options))

    return call_sync if request.param == "sync" else call_async


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Iterator[RecoveryManager]:
    with RecoveryManager(
        secret=SECRET,
        ttl=TTL,
        token_max_age=MAX_AGE,
        storage=MemoryStorage(clock=clock),
        cleanup_interval=None,
        clock=clock,
    ) as manager:
        yield manager


class FailingStorage(MemoryStorage):
    """A storage that fails in one way or another."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def load(self, key: str) -> bytes | None:
        raise self.error


class ErrorOfSomebodyElse(StorageError):
    """An error with as many reasons as there are rows."""

    reason = "row 17"


# Names


def test_names_are_exactly_these() -> None:
    names = {name.partition("{")[0] for name in samples() if name.startswith(FIVE)}
    assert names == {
        "tokens_created_total",
        "tokens_recovered_total",
        "tokens_expired_total",
        "tokens_failed_total",
        "state_size_bytes_bucket",
        "state_size_bytes_count",
        "state_size_bytes_sum",
    }


def test_kinds_and_labels() -> None:
    families = {
        family.name.removeprefix(PREFIX): family
        for family in REGISTRY.collect()
        if family.name.removeprefix(PREFIX).startswith(FIVE)
    }
    assert {name: family.type for name, family in families.items()} == {
        "tokens_created": "counter",
        "tokens_recovered": "counter",
        "tokens_expired": "counter",
        "tokens_failed": "counter",
        "state_size_bytes": "histogram",
    }
    labels = {(name, *sample.labels) for name, f in families.items() for sample in f.samples}
    assert labels - {(name,) for name in families} == {
        ("tokens_failed", "reason"),
        ("state_size_bytes", "le"),
    }


def test_each_reason_is_there_from_the_start() -> None:
    registry = CollectorRegistry()
    Metrics("shop", registry)
    prefix = "shop_recovery_tokens_failed_total"
    assert samples(registry, prefix) == dict.fromkeys(
        [
            "{malformed}",
            "{signature}",
            "{superseded}",
            "{token}",
            "{not_found}",
            "{corrupt}",
            "{version}",
            "{unavailable}",
            "{storage}",
            "{error}",
        ],
        0,
    )


# What is counted


def test_created_counts_takeovers_and_renewals(manager: RecoveryManager, call: Call) -> None:
    with counting() as changes:
        token = manager.create_token("socket")
    assert changes == {"tokens_created_total": 1}
    call(manager, "save", token, {"count": 1})
    with counting() as changes:
        taken = call(manager, "take_over", token).token
    assert changes == {"tokens_created_total": 1, "tokens_recovered_total": 1}
    with counting() as changes:
        call(manager, "renew", taken)
    assert changes == {"tokens_created_total": 1}


def test_recovered_counts_each_state_given_back(manager: RecoveryManager, call: Call) -> None:
    token = manager.create_token("socket")
    call(manager, "save", token, {"count": 1})
    with counting() as changes:
        call(manager, "recover", token)
        call(manager, "recover", token)
    assert changes == {"tokens_recovered_total": 2}


def test_size_is_that_of_the_stored_state(manager: RecoveryManager, call: Call) -> None:
    token = manager.create_token("socket")
    states: list[dict[str, Any]] = [{"count": 1}, {"text": "x" * 5000}]
    sizes = [len(manager.codec.encode(state)) for state in states]
    with counting() as changes:
        for state in states:
            call(manager, "save", token, state)
    assert changes == {"state_size_bytes_count": 2, "state_size_bytes_sum": sum(sizes)}


def test_size_of_what_was_refused_is_not_counted(manager: RecoveryManager, call: Call) -> None:
    token = manager.create_token("socket")
    call(manager, "save", token, {"count": 1})
    call(manager, "take_over", token)
    with counting() as changes, pytest.raises(RecoveryError):
        call(manager, "save", token, {"count": 2})
    assert changes == {}


def test_largest_state_has_a_bucket() -> None:
    assert max(SIZE_BUCKETS) >= 1_048_576


@pytest.mark.parametrize("name", ["recover", "take_over"])
def test_expired_is_not_failed(
    manager: RecoveryManager, clock: FakeClock, call: Call, name: str
) -> None:
    gone, old = manager.create_token("gone"), manager.create_token("old")
    call(manager, "save", gone, {"count": 1})
    clock.advance(seconds=TTL + 1)
    with counting() as changes, pytest.raises(RecoveryError):
        call(manager, name, gone)
    assert changes == {"tokens_expired_total": 1}
    clock.advance(seconds=MAX_AGE)
    with counting() as changes, pytest.raises(RecoveryError):
        call(manager, name, old)
    assert changes == {"tokens_expired_total": 1}


def show_malformed(manager: RecoveryManager) -> str:
    return "rubbish"


def show_forged(manager: RecoveryManager) -> str:
    return "A" * 64


def show_foreign(manager: RecoveryManager) -> str:
    return manager.create_token("socket", binding=b"somebody else")


def show_superseded(manager: RecoveryManager) -> str:
    token = manager.create_token("socket")
    manager.save(token, {"count": 1})
    manager.save(manager.take_over(token).token, {"count": 2})
    return token


def show_early(manager: RecoveryManager) -> str:
    def two_days_ahead() -> float:
        return manager.clock() + 2 * 86400

    with RecoveryManager(secret=SECRET, clock=two_days_ahead, cleanup_interval=None) as ahead:
        return ahead.create_token("socket")


def show_revoked(manager: RecoveryManager) -> str:
    token = manager.create_token("socket")
    manager.save(token, {"count": 1})
    manager.revoke(token)
    return token


def show_unknown(manager: RecoveryManager) -> str:
    return manager.create_token("socket")


def show_corrupt(manager: RecoveryManager) -> str:
    manager.storage.save(hash_socket_id("socket").hex(), b"rubbish", TTL)
    return manager.create_token("socket")


@pytest.mark.parametrize("name", ["recover", "take_over"])
@pytest.mark.parametrize(
    ("reason", "show"),
    [
        ("malformed", show_malformed),
        ("signature", show_forged),
        ("signature", show_foreign),
        ("superseded", show_superseded),
        ("token", show_early),
        ("not_found", show_revoked),
        ("not_found", show_unknown),
        ("corrupt", show_corrupt),
    ],
)
def test_failed_has_the_reason(
    manager: RecoveryManager,
    call: Call,
    name: str,
    reason: str,
    show: Callable[[RecoveryManager], str],
) -> None:
    token = show(manager)
    with counting() as changes, pytest.raises(RecoveryError):
        call(manager, name, token)
    assert changes == {f"tokens_failed_total{{{reason}}}": 1}


def test_newer_version_is_a_reason(manager: RecoveryManager, call: Call) -> None:
    token = manager.create_token("socket")
    call(manager, "save", token, {"count": 1}, version=2)
    with counting() as changes, pytest.raises(RecoveryError):
        call(manager, "take_over", token, newest_version=1)
    assert changes == {"tokens_failed_total{version}": 1}


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("unavailable", StorageUnavailable("The storage", "load")),
        ("storage", StorageError("The storage failed.")),
        ("error", ErrorOfSomebodyElse("Row 17 is locked.")),
    ],
)
def test_failing_storage_is_a_reason(call: Call, reason: str, error: RecoveryError) -> None:
    with RecoveryManager(secret=SECRET, storage=FailingStorage(error)) as manager:
        token = manager.create_token("socket")
        with counting() as changes, pytest.raises(RecoveryError):
            call(manager, "recover", token)
    assert changes == {f"tokens_failed_total{{{reason}}}": 1}


class Counter(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 1


async def test_what_a_consumer_does_is_counted(manager: RecoveryManager) -> None:
    async def join(token: str | None) -> dict[str, Any]:
        communicator = WebsocketCommunicator(Counter.as_asgi(), "/")
        communicator.scope["recovery"] = manager  # type: ignore[typeddict-unknown-key]
        await communicator.connect()
        await communicator.send_json_to({"event": "phx_join", "payload": {"_recovery": token}})
        reply: dict[str, Any] = await communicator.receive_json_from()
        await communicator.disconnect()
        recovery: dict[str, Any] = reply["payload"]["response"]["_recovery"]
        return recovery

    with counting() as changes:
        first = await join(None)
    size = changes.pop("state_size_bytes_sum")
    assert changes == {"tokens_created_total": 1, "state_size_bytes_count": 1}
    assert size == len(manager.codec.encode({"count": 1}))
    with counting() as changes:
        await join(first["token"])
    assert changes == {"tokens_created_total": 1, "tokens_recovered_total": 1}
    with counting() as changes:
        await join("rubbish")
    assert changes["tokens_failed_total{malformed}"] == 1


# Starting


def test_starting_again_counts_nothing_twice(manager: RecoveryManager) -> None:
    apps.get_app_config("recovery_app").ready()
    metrics.start()
    with counting() as changes:
        manager.create_token("socket")
    assert changes == {"tokens_created_total": 1}


def test_namespace_is_read_once(settings: Any, manager: RecoveryManager) -> None:
    settings.RECOVERY = {"METRICS_NAMESPACE": "shop"}
    metrics.start()
    with counting() as changes:
        manager.create_token("socket")
    assert changes == {"tokens_created_total": 1}
    assert samples(prefix="shop_") == {}


def test_metrics_in_a_registry_of_their_own(manager: RecoveryManager) -> None:
    registry = CollectorRegistry()
    own = Metrics("shop", registry)
    observers.add(own)
    manager.create_token("socket")
    observers.remove(own)
    manager.create_token("socket")
    assert samples(registry, "shop_recovery_")["tokens_created_total"] == 1


PROCESS = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="0123456789" * 5, INSTALLED_APPS=["recovery_app"], RECOVERY={recovery!r}
)
django.setup()
"""
CREATE_TOKEN_HERE_AND_IN_A_FORK = """
import os, threading
from recovery_app import get_manager

get_manager().create_token("socket")
for thread in threading.enumerate()[1:]:
    thread.join()
child = os.fork()
get_manager().create_token("socket")
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
PRINT_METRICS = """
from prometheus_client import REGISTRY, generate_latest

print(generate_latest(REGISTRY).decode())
"""
PRINT_METRICS_OF_ALL = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def run(code: str, recovery: dict[str, Any], **env: str) -> list[str]:
    """Run code in a process with these settings; give the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROCESS.format(recovery=recovery) + code],
        cwd=TOP,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "recovery"),
    [
        ("golivekit", {}),
        ("shop", {"METRICS_NAMESPACE": "shop"}),
        ("shop", {"METRICS_NAMESPACE": "shop", "TTL": "bad"}),
        ("golivekit", {"METRICS_NAMESPACE": "two words"}),
    ],
)
def test_namespace_is_that_of_the_settings(name: str, recovery: dict[str, Any]) -> None:
    assert f"{name}_recovery_tokens_created_total 0.0" in run(PRINT_METRICS, recovery)


def test_processes_are_added_up_where_prometheus_is_told_to(tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        run(CREATE_TOKEN_HERE_AND_IN_A_FORK, {}, **env)
    printed = run(PRINT_METRICS_OF_ALL, {}, **env)
    assert f"{PREFIX}tokens_created_total 6.0" in printed
    assert f'{PREFIX}tokens_failed_total{{reason="unavailable"}} 0.0' in printed
