"""What the tests of the core share: storages to run over, and both kinds of calls."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import pytest

from recovery_app import RecoveryManager
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import DatabaseStorage, MemoryStorage, MigratingStorage, Storage
from tests.core.caches import CACHES
from tests.core.redis_storages import REDIS
from tests.support.databases import SERVERS
from tests.support.processes import TOP

SECRET = b"the secret of the tests of the core"
OTHER_SECRET = b"a secret that nobody here knows of!"
SOMEBODY = b"somebody else"
SCRIPT_SECONDS = 300

Target = TypeVar("Target")
MakeStorage = Callable[[Clock], Storage]


class OwnStorage(Storage):
    """The least that a storage of an application's own has."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._stored: dict[str, tuple[bytes, float]] = {}

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._stored[key] = data, self.clock() + ttl

    def load(self, key: str) -> bytes | None:
        data, expires_at = self._stored.get(key, (None, 0))
        return data if expires_at > self.clock() else None

    def delete(self, key: str) -> bool:
        there = self.load(key) is not None
        self._stored.pop(key, None)
        return there


class DownStorage(OwnStorage):
    """A storage that can be out of order."""

    down = False

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._check("save")
        super().save(key, data, ttl)

    def load(self, key: str) -> bytes | None:
        self._check("load")
        return super().load(key)

    def _check(self, operation: str) -> None:
        if self.down:
            raise StorageUnavailable("DownStorage", operation)


def _database(alias: str, name: str) -> Any:
    def make(clock: Clock) -> Storage:
        return DatabaseStorage(database=alias, clock=clock)

    mark = pytest.mark.django_db(transaction=True, databases=[alias])
    return pytest.param(make, id=name, marks=mark)


MEMORY = pytest.param(lambda clock: MemoryStorage(clock=clock), id="memory")
MIGRATING = pytest.param(
    lambda clock: MigratingStorage(
        MemoryStorage(clock=clock), MemoryStorage(clock=clock), clock=clock
    ),
    id="migrating",
)
SQLITE = _database("default", "sqlite")
DATABASES = [SQLITE, *(_database(alias, alias) for alias in SERVERS)]
STORAGES = [
    MEMORY,
    *DATABASES,
    *CACHES,
    *REDIS,
    pytest.param(OwnStorage, id="own"),
    MIGRATING,
]
"""A new storage joins the contract suite by one line here."""


def calls_as_they_are(target: Target) -> Target:
    """Return an object whose blocking methods are called."""
    return target


def calls_of_async_variants(target: Target) -> Target:
    """Return an object that makes each call by its async variant, on a new event loop."""
    return cast("Target", _AsyncVariants(target))


class _AsyncVariants:
    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        twin = getattr(self._target, f"a{name}", None)
        if twin is None:
            return getattr(self._target, name)
        return lambda *args, **options: asyncio.run(twin(*args, **options))


CALLS = [
    pytest.param(calls_as_they_are, id="sync"),
    pytest.param(calls_of_async_variants, id="async"),
]


def make_manager(**options: Any) -> RecoveryManager:
    """Build a manager without a thread for the clean-up, nor one that writes to a database.

    That would have a connection of its own, outside of the test's transaction.
    """
    if isinstance(options.get("storage"), DatabaseStorage):
        options.setdefault("journal_max_entries", 0)
    return RecoveryManager(**{"secret": SECRET, "cleanup_interval": None, **options})


def now_us(clock: Clock) -> int:
    """Return the clock's time as it is stored."""
    return to_us(clock())


def run_script(code: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run Python code in a process of its own, warnings as errors, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=TOP,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **(env or {})},
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout
