"""The question before the kit uses a storage that may not be its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from redis import Redis

from recovery_app.chaos import consent, probe
from recovery_app.chaos.__main__ import main
from recovery_app.storages import (
    CacheStorage,
    DatabaseStorage,
    MemoryStorage,
    RedisStorage,
    Storage,
)
from tests.chaos.support import APPLICATION, Store, on_redis, storage_env
from tests.support import needs, redis
from tests.support.processes import HOST, TOP

NODE = f"{sys.executable} -m uvicorn --port {{port}} {APPLICATION}"
FAR = storage_env("RedisStorage", url="redis://203.0.113.5:6379/0")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    needs.require("redis-server", redis.find_redis_server())
    with on_redis(tmp_path) as store:
        yield store


def client_of(store: Store) -> Redis:
    return Redis.from_url(store.env["CHAOS_STORAGE"].partition('"url": "')[2].partition('"')[0])


def run(*arguments: str, env: dict[str, str], stdin: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recovery_app.chaos", "--node", NODE, "--for", "0.1", *arguments],
        cwd=TOP,
        env={**os.environ, **env},
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


def test_without_a_terminal_a_storage_elsewhere_is_refused(tmp_path: Path) -> None:
    done = run("--logs", str(tmp_path), env=dict(FAR), stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "RedisStorage is on 203.0.113.5" in done.stderr
    assert "--yes" in done.stderr
    # No node was started.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_on_a_terminal_it_asks(answer: str) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs, "rb") as terminal:
        keyboard.write(answer.encode())
        done = run(env=dict(FAR), stdin=terminal.fileno())
    assert done.returncode == 2
    assert "RedisStorage is on 203.0.113.5" in done.stdout
    assert "[y/N]" in done.stdout
    assert "Nothing was done." in done.stderr


def test_with_an_answer_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    consent.require_consent([NODE], FAR)


def test_yes_asks_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in FAR.items():
        monkeypatch.setenv(name, value)
    calm = ["--kills", "0", "--terms", "0", "--stalls", "0"]
    assert main(["--node", NODE, "--for", "0.1", "--yes", *calm]) == 0
    assert "[y/N]" not in capsys.readouterr().out


def test_a_redis_with_keys_of_others_is_asked_about(store: Store) -> None:
    assert list(consent.find_reasons([NODE, NODE], store.env)) == []
    with client_of(store) as client:
        client.set("cart:1", "somebody's")
    (reason,) = consent.find_reasons([NODE, NODE], store.env)
    assert reason == "the Redis of RedisStorage already holds 1 keys"


def test_a_storage_with_snapshots_is_asked_about(store: Store) -> None:
    with client_of(store) as client:
        storage = RedisStorage(url=f"redis://{HOST}:{client.get_connection_kwargs()['port']}/0")
    storage.save("0123456789abcdef", b"data", 60)
    assert probe.find_reasons(storage) == ["RedisStorage already holds 1 snapshots"]
    storage.close()


@pytest.mark.django_db
def test_a_database_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = DatabaseStorage()
    assert probe.find_reasons(storage) == []
    storage.save("0123456789abcdef", b"data", 60)
    assert probe.find_reasons(storage) == ["DatabaseStorage already holds 1 snapshots"]
    monkeypatch.setattr(connections["default"], "vendor", "postgresql")
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "db.example.com")
    assert probe.find_reasons(storage) == ["DatabaseStorage is on db.example.com"]
    monkeypatch.setitem(connections["default"].settings_dict, "HOST", "")
    monkeypatch.setenv("PGHOST", "other.example.com")
    assert probe.find_reasons(storage) == ["DatabaseStorage is on other.example.com"]
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"service": "shop"})
    assert "can't tell where" in probe.find_reasons(storage)[0]


def test_an_unknown_storage_is_asked_about() -> None:
    assert probe.find_reasons(MemoryStorage()) == []
    assert probe.find_reasons(Storage()) == ["the kit can't tell where Storage keeps snapshots"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("redis://cache.example.com:6379/1", "is on cache.example.com"),
        (["redis://127.0.0.1:1", "redis://10.0.0.5:1"], "is on 10.0.0.5"),
        ("10.0.0.6:11211", "is on 10.0.0.6"),
        ("unix:/run/memcached", "can't see what"),
    ],
)
def test_the_cache_s_servers_are_looked_at(settings: object, location: object, reason: str) -> None:
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}  # type: ignore[attr-defined]
    (found,) = probe.find_reasons(CacheStorage())
    assert reason in found


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("uvicorn shop.asgi:application --port {port}", "shop.asgi"),
        ("/venv/bin/daphne -b 127.0.0.1 -p {port} shop.asgi:application", "shop.asgi"),
        ("python3.12 -m uvicorn --host 127.0.0.1:1 --port {port} shop.asgi:app", "shop.asgi"),
        ("uvicorn shop.asgi:application --port {port} --env-file=.env.live", None),
        ("uvicorn --app-dir live shop.asgi:application --port {port}", None),
        ("env REDIS_URL=redis://live uvicorn shop.asgi:application --port {port}", None),
        ("sh -c 'uvicorn shop.asgi:application --port {port}'", None),
        ("python manage.py runserver {port}", None),
        ("uvicorn --port {port}", None),
        ("", None),
    ],
)
def test_only_a_plain_command_names_its_application(command: str, module: str | None) -> None:
    assert consent.module_of(command) == module


def test_a_command_or_a_module_that_can_not_be_read_is_asked_about() -> None:
    reasons = list(
        consent.find_reasons(["sh -c 'serve {port}'", "uvicorn no.such:app --port {port}"], {})
    )
    assert "sh -c 'serve {port}'" in reasons[0]
    assert "no.such" in reasons[1]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("", True),
        ("/var/run/postgresql", True),
        ("10.0.0.1", False),
        ("redis", False),
        ("localhost.example.com", False),
    ],
)
def test_what_this_machine_is(host: str, local: bool) -> None:
    assert probe.is_local(host) is local
