"""How long the threads of `DatabaseStorage` wait for the lock of SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import DatabaseStorage
from recovery_app.testing.contract.base import snapshot_bytes

KEY = "0123456789abcdef"
LONG = 600

pytestmark = pytest.mark.django_db(transaction=True, databases=["default"])


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseStorage]:
    """Yield a storage whose calls take a second at most, on a database that waits for long."""
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "timeout", LONG)
    storage = DatabaseStorage(timeout=1)
    yield storage
    storage.close()


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of a writer."""
    name = connections["default"].settings_dict["NAME"]
    with closing(sqlite3.connect(name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def until_ended(storage: DatabaseStorage) -> None:
    while storage._deadlines._hanging:  # noqa: ASYNC110 (threads set no event of the loop)
        await asyncio.sleep(0.01)


async def test_no_thread_waits_longer_than_its_call(storage: DatabaseStorage) -> None:
    with locked():
        with pytest.raises(StorageUnavailable):
            await storage.asave_fenced(KEY, snapshot_bytes(1), 60)
        await asyncio.wait_for(until_ended(storage), 60)


def test_a_clean_up_waits_as_the_database_is_set_up_to(storage: DatabaseStorage) -> None:
    def waits_ms() -> Any:
        return connections["default"].connection.execute("PRAGMA busy_timeout").fetchone()[0]

    assert storage._patiently(1, waits_ms) == 1000
    assert storage._patiently(None, waits_ms) == LONG * 1000
    assert storage._patiently(LONG + 1, waits_ms) == LONG * 1000
