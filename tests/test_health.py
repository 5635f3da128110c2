"""The health check: what it says of each storage, well, away, slow or lying; and the plugin."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import AsyncRequestFactory
from django.utils.module_loading import import_string
from websockets.asyncio.client import connect

from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageUnavailable
from recovery_app.health import TTL_SECONDS, acheck_storage
from recovery_app.middleware import override_manager
from recovery_app.storages import MemoryStorage, Storage
from tests.clock import FakeClock
from tests.core.support import STORAGES, OwnStorage, make_manager
from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, TOP
from tests.support.redis import make_redis
from tests.test_metrics import samples


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[Storage]:
    """Return each storage in turn."""
    fixture = getattr(request.param, "fixture", None)
    if fixture is not None:
        request.getfixturevalue(fixture)
    storage: Storage = request.param(clock)
    yield storage
    storage.close()


class Spying(OwnStorage):
    """Know what it was told to keep, and list it as if it were a snapshot."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.saved: list[tuple[str, bytes, float]] = []
        self.deleted: list[str] = []

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self.saved.append((key, data, ttl))
        super().save(key, data, ttl)

    def delete(self, key: str) -> bool:
        self.deleted.append(key)
        return super().delete(key)


class Away(OwnStorage):
    def load(self, key: str) -> bytes | None:
        raise StorageUnavailable("Away", "load")


class Odd(OwnStorage):
    def load(self, key: str) -> bytes | None:
        raise ZeroDivisionError("with a secret in it")


class Forgetful(OwnStorage):
    def load(self, key: str) -> bytes | None:
        return None


class Lying(OwnStorage):
    def load(self, key: str) -> bytes | None:
        return b"something else"


class Keeping(OwnStorage):
    def delete(self, key: str) -> bool:
        return False


class Stuck(MemoryStorage):
    async def aload(self, key: str) -> bytes | None:
        await asyncio.Event().wait()
        return None


def test_each_storage_is_found_well_and_left_empty(storage: Storage) -> None:
    before = samples()
    manager = make_manager(storage=storage)
    found = asyncio.run(acheck_storage(manager, timeout=60))
    assert (found.storage, found.problem, found.is_good) == (type(storage).__name__, "", True)
    assert 0 < found.seconds < 60
    if storage.supports_listing:
        assert storage.count() == 0
    assert samples() == before


async def test_nothing_of_it_is_seen_while_it_lasts() -> None:
    seen: list[tuple[int, int]] = []

    class Watched(MemoryStorage):
        async def aload(self, key: str) -> bytes | None:
            seen.append((self.count(), len(manager.snapshots().items)))
            return await super().aload(key)

    manager = make_manager(storage=Watched())
    assert (await acheck_storage(manager)).is_good
    assert seen == [(0, 0)]


async def test_each_check_has_a_key_of_its_own_that_goes() -> None:
    storage = Spying()
    manager = make_manager(storage=storage)
    for _ in range(3):
        assert (await acheck_storage(manager)).is_good
    keys = [key for key, _, _ in storage.saved]
    assert len(set(keys)) == 3
    assert storage.deleted == keys
    assert len({data for _, data, _ in storage.saved}) == 3
    assert {ttl for _, _, ttl in storage.saved} == {TTL_SECONDS}
    manager.close()


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Away, "Away is unavailable (during load)."),
        (Odd, "It raised ZeroDivisionError."),
        (Forgetful, "The snapshot just saved wasn't found."),
        (Lying, "The snapshot just saved came back different."),
        (Keeping, "The snapshot just saved wasn't found."),
    ],
)
async def test_a_problem_is_told_and_never_raised(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, kind: type[OwnStorage], problem: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with make_manager(storage=kind(clock)) as manager:
        found = await acheck_storage(manager)
    assert (found.problem, found.is_good) == (problem, False)
    assert "secret" not in caplog.text


async def test_a_storage_that_does_not_answer_is_not_waited_for() -> None:
    found = await acheck_storage(make_manager(storage=Stuck()), timeout=0.05)
    assert found.problem == "No answer within 0.05 s."
    assert 0.05 <= found.seconds < 5


async def test_the_current_manager_is_checked_by_default() -> None:
    with override_manager(make_manager(storage=Stuck())):
        found = await acheck_storage(timeout=0.01)
    assert found.storage == "Stuck"


@pytest.mark.parametrize("recovery", [{"STORAGE": {"BACKEND": "no.such.Storage"}}, {"TTL": 0}])
async def test_settings_that_are_wrong_are_told_and_never_raised(
    settings: Any, recovery: dict[str, Any]
) -> None:
    settings.RECOVERY = recovery
    found = await acheck_storage()
    assert (found.is_good, found.storage) == (False, "")
    assert found.problem == "The setting RECOVERY is invalid: run manage.py check."


# The plugin


@pytest.fixture
def check() -> Callable[..., Any]:
    require("django-health-check", find_spec("health_check"))
    plugin: Callable[..., Any] = import_string("recovery_app.health_plugin.RecoveryStorage")
    return plugin


async def ask(manager: RecoveryManager, check: Any, **options: Any) -> tuple[int, str]:
    """Return what django-health-check's view answers."""
    view = import_string("health_check.views.HealthCheckView").as_view(checks=[(check, options)])
    with override_manager(manager):
        response = await view(AsyncRequestFactory().get("/health/?format=json"))
    return response.status_code, response.content.decode()


async def test_plugin_says_that_all_is_well(check: Callable[..., Any]) -> None:
    status, text = await ask(make_manager(), check)
    assert status == 200
    assert "RecoveryStorage" in text
    assert "OK" in text


async def test_plugin_says_what_is_wrong(check: Callable[..., Any], clock: FakeClock) -> None:
    async with make_manager(storage=Away(clock)) as manager:
        status, text = await ask(manager, check)
    assert status == 500
    assert "Away: Away is unavailable (during load)." in text


async def test_plugin_has_a_time_out(check: Callable[..., Any]) -> None:
    options = {"timeout": timedelta(seconds=0.05)}
    status, text = await ask(make_manager(storage=Stuck()), check, **options)
    assert status == 500
    assert "Stuck: No answer within 0.05 s." in text


# The endpoints


def documented_probes() -> dict[str, dict[str, Any]]:
    """Return the probes of the page on monitoring."""
    page = (TOP / "docs/monitoring.md").read_text()
    (block,) = re.findall(r"^```yaml\n(livenessProbe:.*?)^```", page, re.MULTILINE | re.DOTALL)
    probes: dict[str, dict[str, Any]] = yaml.safe_load(block)
    return probes


def probe(server: AsgiServer, name: str) -> int:
    """Ask as the kubelet does, and return the status."""
    asked = documented_probes()[f"{name}Probe"]["httpGet"]
    headers = {each["name"]: each["value"] for each in asked["httpHeaders"]}
    return status_of(server.url + asked["path"], headers)


def status_of(url: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_the_documented_probes_leave_a_node_alone_whose_storage_is_away(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path
) -> None:
    hosts = {"DEMO_HOSTS": "shop.example.com"}
    with make_redis(tmp_path) as redis:
        env = {"REDIS_URL": f"redis://{HOST}:{redis.port}/0", "DEMO_DEBUG": "0", **hosts}
        server = asgi_server(env=env)
        storage = f"{server.url}/health/storage/"
        assert (probe(server, "liveness"), probe(server, "readiness")) == (200, 200)
        assert status_of(storage, {}) == 200
        redis.stop()
        assert (probe(server, "liveness"), probe(server, "readiness")) == (200, 200)
        assert status_of(storage, {}) == 503
    async with (
        connect(f"{server.ws_url}/ws/websocket") as one,
        connect(f"{server.ws_url}/ws/websocket") as two,
    ):
        os.kill(server.pid, signal.SIGTERM)
        # One of the two is closed at once, and the other some seconds later.
        await asyncio.wait(
            [asyncio.ensure_future(each.wait_closed()) for each in (one, two)],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert await asyncio.to_thread(probe, server, "readiness") == 503
        assert await asyncio.to_thread(probe, server, "liveness") == 200
