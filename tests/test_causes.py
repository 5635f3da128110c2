"""What an outage is called: its cause and its place, in the log too, and no secret."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.core.checks import run_checks
from django.db import connections
from django.test import override_settings

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.health import acheck_storage
from recovery_app.storages import CacheStorage, DatabaseStorage, RedisStorage, Storage
from recovery_app.storages.cache.connections import address_of
from recovery_app.storages.causes import describe_cause
from recovery_app.testing.contract.base import snapshot_bytes
from tests.core.databases import another_alias
from tests.core.support import make_manager
from tests.support.processes import HOST, Process, free_port
from tests.support.redis import ask, make_redis

KEY = "0123456789abcdef"
PASSWORD = "open-sesame"


@pytest.fixture
def server(redis_directory: Path) -> Iterator[Process]:
    """Run a Redis of the test's own."""
    with make_redis(redis_directory) as server:
        yield server


def stop(server: Process) -> None:
    server.kill()


def fill(server: Process) -> None:
    ask(server.port, "CONFIG", "SET", "maxmemory", "1")


def set_password(server: Process) -> None:
    ask(server.port, "CONFIG", "SET", "requirepass", "another")


def take_permission(server: Process) -> None:
    ask(server.port, "ACL", "SETUSER", "page", "-evalsha", "-eval")


def make_replica(server: Process) -> None:
    ask(server.port, "REPLICAOF", HOST, str(free_port()))


FAILURES: list[tuple[Callable[[Process], None], str]] = [
    (stop, "Connection refused"),
    (fill, "its memory is full (OOM): see maxmemory"),
    (set_password, "it asks for a password (NOAUTH)"),
    (make_replica, "it is a read-only replica (READONLY)"),
]


def save(storage: Storage) -> None:
    storage.save_fenced(KEY, snapshot_bytes(20), 60)


def asave(storage: Storage) -> None:
    asyncio.run(storage.asave_fenced(KEY, snapshot_bytes(20), 60))


def failure_of(storage: Storage, call: Callable[[Storage], object]) -> StorageError:
    try:
        with pytest.raises(StorageError) as raised:
            call(storage)
    finally:
        storage.close()
    return raised.value


@pytest.mark.parametrize("call", [save, asave])
@pytest.mark.parametrize(("fail", "cause"), FAILURES)
def test_redis_says_why(
    server: Process, fail: Callable[[Process], None], cause: str, call: Callable[[Storage], object]
) -> None:
    fail(server)
    error = failure_of(RedisStorage(url=f"redis://{HOST}:{server.port}/0", timeout=5), call)
    assert isinstance(error, StorageUnavailable)
    assert str(error) == (
        f"RedisStorage is unavailable (during save): {cause} ({HOST}:{server.port})."
    )


def losses_of(url: str) -> str:
    storage = RedisStorage(url=url)
    try:
        return asyncio.run(storage.aexplain_losses())
    finally:
        storage.close()


def test_redis_says_why_snapshots_may_be_gone(server: Process) -> None:
    place = f"{HOST}:{server.port}"
    assert re.fullmatch(
        rf"Redis was started \d+ seconds ago \({place}\)", losses_of(f"redis://{place}/0")
    )
    ask(server.port, "FLUSHALL")
    ask(server.port, "FLUSHDB")
    assert "and Redis was emptied 2 times since" in losses_of(f"redis://{place}/0")
    ask(server.port, "SET", "somebody's", "x" * 100_000)
    ask(server.port, "CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    ask(server.port, "CONFIG", "SET", "maxmemory", "1")
    # Redis makes room when the next command comes that needs some.
    with pytest.raises(redis.OutOfMemoryError):
        ask(server.port, "SET", "another", "y")
    found = losses_of(f"redis://{place}/0")
    assert "and Redis has evicted 1 keys (maxmemory-policy allkeys-random)" in found
    ask(server.port, "ACL", "SETUSER", "page", "on", f">{PASSWORD}", "~*", "+@all", "-info")
    assert losses_of(f"redis://page:{PASSWORD}@{place}/0") == ""


@pytest.mark.parametrize("call", [save, asave])
def test_redis_tells_credentials_and_permissions_from_outages(
    server: Process, call: Callable[[Storage], object]
) -> None:
    ask(server.port, "ACL", "SETUSER", "page", "on", f">{PASSWORD}", "~*", "+@all")
    place = f"{HOST}:{server.port}"
    wrong = RedisStorage(url=f"redis://page:not-{PASSWORD}@{place}/0")
    error = failure_of(wrong, call)
    assert error.cause == "the user or password is refused"
    assert error.address == place
    assert PASSWORD not in f"{error}{vars(error)}"
    take_permission(server)
    error = failure_of(RedisStorage(url=f"redis://page:{PASSWORD}@{place}/0"), call)
    assert str(error) == (
        "RedisStorage failed (during save): the user lacks a permission (NOPERM): see its ACL "
        f"({place})."
    )
    assert PASSWORD not in f"{error}{vars(error)}"


@pytest.mark.parametrize("call", [save, asave])
def test_a_server_that_does_not_answer_is_another_matter(
    server: Process, call: Callable[[Storage], object]
) -> None:
    storage = RedisStorage(url=f"redis://{HOST}:{server.port}/0", timeout=0.2)
    with server.stalled():
        assert failure_of(storage, call).cause == "no answer in time"


def test_sentinels_and_clusters_are_named_by_their_seeds() -> None:
    one, other = (HOST, 7000), (HOST, 7001)
    titles = [
        RedisStorage(**options)._topology.title
        for options in (
            {"url": f"redis://page:{PASSWORD}@{HOST}:7000/0"},
            {"url": f"unix://:{PASSWORD}@/run/redis.sock"},
            {"cluster": True, "startup_nodes": [one, other]},
            {"sentinels": [one, other], "service_name": "pages", "password": PASSWORD},
        )
    ]
    seeds = f"{HOST}:7000, {HOST}:7001"
    assert titles == [
        f"{HOST}:7000",
        "/run/redis.sock",
        f"Cluster of {seeds}",
        f"'pages' of the Sentinels {seeds}",
    ]


async def test_log_and_health_say_why_and_only_the_log_says_where(
    server: Process, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recovery_app")
    place = f"{HOST}:{server.port}"
    fill(server)
    storage = RedisStorage(url=f"redis://{place}/0")
    with make_manager(storage=storage) as manager:
        with pytest.raises(StorageUnavailable):
            await manager.asave(manager.create_token("socket"), {})
        health = await acheck_storage(manager)
    cause = "its memory is full (OOM): see maxmemory"
    assert caplog.messages == [
        (
            "RedisStorage is failing, and states aren't safe until it is back: "
            f"RedisStorage is unavailable (during save): {cause} ({place})."
        )
    ]
    assert health.problem == f"RedisStorage is unavailable (during save): {cause}."


# Databases.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", [save, asave])
def test_a_database_without_the_table_says_what_to_do(
    tmp_path: Path, call: Callable[[Storage], object]
) -> None:
    with another_alias("default", NAME=str(tmp_path / "empty")) as alias:
        error = failure_of(DatabaseStorage(database=alias), call)
    assert "no such table" in error.cause
    assert f"run manage.py migrate --database {alias}" in error.cause
    assert error.address == str(tmp_path / "empty")


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
def test_postgresql_says_why() -> None:
    server = settings.DATABASES["postgresql"]
    port = free_port()
    for changes, cause in (
        ({"PORT": port}, "Connection refused"),
        ({"NAME": "nowhere"}, '"nowhere" does not exist'),
        ({"NAME": "template1"}, "run manage.py migrate"),
    ):
        with another_alias("postgresql", **changes) as alias:
            error = failure_of(DatabaseStorage(database=alias), save)
            name = connections[alias].settings_dict["NAME"]
        assert cause in error.cause
        assert error.address.endswith(f":{changes.get('PORT', server['PORT'])}/{name}")


# Caches.


def test_a_cache_says_why_without_the_password_of_its_url() -> None:
    location = f"redis://page:{PASSWORD}@{HOST}:{free_port()}/0"
    backend = "django.core.cache.backends.redis.RedisCache"
    cache = {"BACKEND": backend, "LOCATION": location, "OPTIONS": {"socket_timeout": 5}}
    with override_settings(CACHES={**settings.CACHES, "away": cache}):
        error = failure_of(CacheStorage(cache="away"), lambda storage: storage.delete(KEY))
    assert error.cause == "Connection refused"
    assert f"redis://page:{PASSWORD}@{error.address}/0" == location
    assert PASSWORD not in f"{error}{vars(error)}"


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("", ""),
        ("10.0.0.1:11211", "10.0.0.1:11211"),
        (["10.0.0.1:11211", "10.0.0.2:11211"], "10.0.0.1:11211, 10.0.0.2:11211"),
        (f"redis://:{PASSWORD}@10.0.0.1,redis://10.0.0.2:7000/1", "10.0.0.1, 10.0.0.2:7000"),
        (f"unix://:{PASSWORD}@/run/redis.sock?db=1", "/run/redis.sock"),
        (f"page:{PASSWORD}@10.0.0.1:6379", ""),
        (f"redis://:{PASSWORD}@10.0.0.1:none/0", ""),
    ],
)
def test_the_place_of_a_cache_holds_no_password(
    monkeypatch: pytest.MonkeyPatch, location: Any, address: str
) -> None:
    monkeypatch.setitem(caches.settings, "somewhere", {"LOCATION": location})
    assert address_of("somewhere") == address


# Words.


def test_the_text_of_an_error_is_not_passed_on() -> None:
    assert describe_cause(ValueError(f"bad value {PASSWORD}")) == "ValueError"
    assert describe_cause(OSError(f"odd {PASSWORD}")) == "OSError"
    outer = ValueError(PASSWORD)
    outer.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert describe_cause(outer) == "Connection reset by peer"


def test_cause_and_address_survive_a_copy() -> None:
    error = StorageUnavailable("A storage", "save", cause="it is full", address="10.0.0.1:1")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert str(error) == "A storage is unavailable (during save): it is full (10.0.0.1:1)."
    assert error.summary == "A storage is unavailable (during save): it is full."
    assert str(StorageError("It failed.", address="here")) == "It failed (here)."


# Eviction.


@pytest.mark.parametrize(
    ("limit", "policy", "found"),
    [
        ("100mb", "allkeys-lru", ["recovery_app.W014"]),
        ("100mb", "volatile-ttl", ["recovery_app.W014"]),
        ("100mb", "noeviction", []),
        ("0", "allkeys-lru", []),
    ],
)
def test_a_check_sees_that_redis_evicts(
    server: Process, limit: str, policy: str, found: list[str]
) -> None:
    ask(server.port, "CONFIG", "SET", "maxmemory", limit, "maxmemory-policy", policy)
    assert deploy_checks(server) == found
    assert deploy_checks(server, deploy=False) == []


def test_a_check_of_a_server_that_is_away_is_silent(server: Process) -> None:
    server.kill()
    assert deploy_checks(server) == []


def test_a_check_that_may_not_look_is_silent(server: Process) -> None:
    ask(server.port, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    ask(server.port, "ACL", "SETUSER", "default", "-info")
    assert deploy_checks(server) == []


def deploy_checks(server: Process, *, deploy: bool = True) -> list[str | None]:
    """Return the ids of what the checks of our tag say of a server."""
    backend = "recovery_app.storages.RedisStorage"
    options = {"url": f"redis://{HOST}:{server.port}/0", "timeout": 5}
    with override_settings(RECOVERY={"STORAGE": {"BACKEND": backend, "OPTIONS": options}}):
        messages = run_checks(tags=["recovery_app"], include_deployment_checks=deploy)
    return [message.id for message in messages if message.id == "recovery_app.W014"]
