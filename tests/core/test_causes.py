"""Each error of a storage says its cause, and nothing that a state holds."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connections,
)

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.models import StoredSnapshot
from recovery_app.storages import CacheStorage, DatabaseStorage, RedisStorage
from recovery_app.storages.causes import describe_cause, describe_database_error, first_line
from tests.clock import FakeClock
from tests.core.databases import another_alias
from tests.core.support import OwnStorage, make_manager
from tests.support.processes import free_port

SECRET = "what somebody wrote"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class Undefined(Exception):
    """psycopg's error for a table that isn't there, as far as it is looked at."""

    sqlstate = "42P01"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationalError("no such table: snapshots"), "no such table: snapshots; run {}"),
        (
            OperationalError("table snapshots has no column named floor"),
            "table snapshots has no column named floor; run {}",
        ),
        (
            caused(ProgrammingError(f'relation "s" does not exist\nLINE 1: {SECRET}'), Undefined()),
            'relation "s" does not exist; run {}',
        ),
        (
            ProgrammingError(1146, "Table 'db.s' doesn't exist"),
            "Table 'db.s' doesn't exist; run {}",
        ),
        (OperationalError("database is locked"), "database is locked"),
        (OperationalError(2003, "Can't connect to server"), "Can't connect to server"),
        (OperationalError(1213, "Deadlock found. Try again."), "Deadlock found. Try again"),
        (OperationalError(1366, f"Incorrect value: '{SECRET}'"), "OperationalError 1366"),
        (OperationalError(f"server closed\nthe connection, {SECRET}"), "server closed"),
        (OperationalError(), "OperationalError"),
        (InterfaceError("connection already closed"), "connection already closed"),
        (IntegrityError(f"Failing row contains ({SECRET})"), "IntegrityError"),
        (DataError(f"invalid input: {SECRET}"), "DataError"),
        (ProgrammingError(f"syntax error near {SECRET}"), "ProgrammingError"),
    ],
)
def test_what_a_database_says(error: Any, said: str) -> None:
    assert describe_database_error(error) == said.format("manage.py migrate")
    assert describe_database_error(error, "other") == said.format(
        "manage.py migrate --database other"
    )
    assert describe_cause(caused(RuntimeError(SECRET), error)) == said.format("manage.py migrate")


def test_what_a_connection_says() -> None:
    refused = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    assert describe_cause(refused) == "Connection refused"
    assert describe_cause(caused(RuntimeError(SECRET), refused)) == "Connection refused"
    assert describe_cause(RuntimeError(SECRET)) == "RuntimeError"
    assert describe_cause(ConnectionResetError(SECRET)) == "ConnectionResetError"
    circle = RuntimeError(SECRET)
    assert describe_cause(caused(circle, circle)) == "RuntimeError"


def test_a_text_is_cut() -> None:
    assert first_line("x" * 1000) == "x" * 200
    assert first_line("") == ""
    assert first_line("\n one.\ntwo") == "one"


@pytest.mark.django_db(databases=["default"], transaction=True)
@pytest.mark.parametrize("is_async", [False, True])
def test_no_migration(tmp_path: Path, is_async: bool) -> None:
    with another_alias("default", NAME=str(tmp_path / "empty.sqlite3")) as alias:
        storage = DatabaseStorage(database=alias)
        with pytest.raises(StorageUnavailable) as raised:
            asyncio.run(storage.aload("key")) if is_async else storage.load("key")
        storage.close()
    assert "(during load): no such table: recovery_app_" in str(raised.value)
    assert raised.value.cause.endswith(f"; run manage.py migrate --database {alias}")


@pytest.mark.django_db(databases=["postgresql", "mariadb"], transaction=True)
@pytest.mark.parametrize("alias", ["postgresql", "mariadb"])
def test_no_migration_of_a_server(alias: str) -> None:
    storage = DatabaseStorage(database=alias)
    table = StoredSnapshot._meta.db_table
    with connections[alias].schema_editor() as editor:
        editor.alter_db_table(StoredSnapshot, table, f"{table}_away")
    try:
        with pytest.raises(StorageError) as raised:
            storage.load("key")
    finally:
        with connections[alias].schema_editor() as editor:
            editor.alter_db_table(StoredSnapshot, f"{table}_away", table)
    assert table in str(raised.value)
    assert raised.value.cause.endswith(f"; run manage.py migrate --database {alias}")


def test_a_server_that_isnt_there() -> None:
    password = "hunter2"
    storage = RedisStorage(url=f"redis://:{password}@127.0.0.1:{free_port()}")
    with pytest.raises(StorageUnavailable, match="Connection refused") as raised:
        storage.load("key")
    assert password not in str(raised.value)
    storage.close()


def test_a_cache_that_isnt_there(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": f"127.0.0.1:{free_port()}",
        }
    }
    storage = CacheStorage()
    with pytest.raises(StorageUnavailable, match="Connection refused"):
        storage.load("key")
    storage.close()


def test_the_outage_in_the_log_has_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    class Away(OwnStorage):
        def load(self, key: str) -> bytes | None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    with (
        make_manager(storage=Away(FakeClock())) as manager,
        pytest.raises(OSError, match="refused"),
    ):
        manager.recover(manager.create_token("the socket"))
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "storage_down"]
    assert "Connection refused" in record.getMessage()
