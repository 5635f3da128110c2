"""Prove, with databases that really fail, that each failure is told as what it is."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction

from recovery_app.exceptions import RecoveryError, StorageError, StorageUnavailable
from recovery_app.storages import DatabaseStorage, Verdict
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.core.databases import ALIAS, another_alias
from tests.support.processes import free_port

KEY = "0123456789abcdef"
CLAIM = claim_of(20)
NAME = f"DatabaseStorage on {ALIAS!r}"

CALLS: dict[str, Callable[[Any], object]] = {
    "save": lambda storage: storage.save(KEY, b"data", 60),
    "load": lambda storage: storage.load(KEY),
    "delete": lambda storage: storage.delete(KEY),
    "save fenced": lambda storage: storage.save_fenced(KEY, snapshot_bytes(20), 60),
    "touch": lambda storage: storage.touch_fenced(KEY, CLAIM, 60),
    "takeover": lambda storage: storage.take_over(KEY, CLAIM, 60, now_us=30, newest_version=None),
    "renewal": lambda storage: storage.renew(KEY, CLAIM, 60, now_us=30, binding=CLAIM.binding),
    "revocation": lambda storage: storage.revoke(KEY, CLAIM, 60, now_us=30),
    "clean-up": lambda storage: storage.cleanup_expired(),
    "listing": lambda storage: storage.list_entries(),
    "count": lambda storage: storage.count(),
}

# A command at the start fails before Django knows of the connection, and leaves it open: those of
# ``OPTIONS``, and with a newer SQLite one of Django's own.
left_open = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def error_of(call: Callable[[], object], cause: type[DatabaseError | InterfaceError]) -> Any:
    with pytest.raises(StorageError) as raised:
        call()
    assert isinstance(raised.value.__cause__, cause)
    assert NAME in str(raised.value)
    return raised.value


@each_call
@pytest.mark.django_db(transaction=True, databases=["postgresql"])
def test_a_server_that_is_not_there(call: Callable[[Any], object]) -> None:
    with another_alias("postgresql", PORT=free_port()) as alias:
        storage = DatabaseStorage(database=alias)
        error = error_of(lambda: call(storage), OperationalError)
        assert type(error) is StorageUnavailable
        assert error.storage == NAME
        assert f"(during {error.operation})" in str(error)


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_a_server_that_is_not_there_without_blocking() -> None:
    with another_alias("mariadb", PORT=free_port()) as alias:
        storage = DatabaseStorage(database=alias)
        error = error_of(lambda: asyncio.run(storage.aload(KEY)), OperationalError)
        assert type(error) is StorageUnavailable
        storage.close()


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
def test_a_connection_that_the_server_ended() -> None:
    with another_alias("postgresql") as alias:
        storage = DatabaseStorage(database=alias)
        assert storage.load(KEY) is None
        with connections["postgresql"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(%s)",
                [connections[alias].connection.info.backend_pid],
            )
        error = error_of(lambda: storage.load(KEY), OperationalError)
        assert type(error) is StorageUnavailable
        # Django drops such a connection between two requests; then all is well again.
        assert storage.on_thread(lambda: storage.load(KEY)) is None


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_a_connection_that_was_closed() -> None:
    with another_alias("mariadb") as alias:
        storage = DatabaseStorage(database=alias)
        assert storage.load(KEY) is None
        connections[alias].connection.close()
        error = error_of(lambda: storage.load(KEY), InterfaceError)
        assert type(error) is StorageUnavailable
        connections[alias].connection = None


@each_call
@pytest.mark.django_db(transaction=True)
def test_a_database_without_the_table(call: Callable[[Any], object], tmp_path: Path) -> None:
    with another_alias("default", NAME=str(tmp_path / "empty")) as alias:
        storage = DatabaseStorage(database=alias)
        error_of(lambda: call(storage), DatabaseError)


@each_call
@pytest.mark.django_db(transaction=True)
@left_open
def test_a_file_that_is_no_database(call: Callable[[Any], object], tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(b"rubbish" * 1000)
    with another_alias("default", NAME=str(path), OPTIONS={}) as alias:
        storage = DatabaseStorage(database=alias)
        assert type(error_of(lambda: call(storage), DatabaseError)) is StorageError
    gc.collect()


@pytest.mark.django_db(transaction=True)
@left_open
def test_a_database_that_somebody_keeps_locked() -> None:
    with another_alias("default", OPTIONS={"timeout": 0}) as alias:
        storage = DatabaseStorage(database=alias)
        other = sqlite3.connect(connections[alias].settings_dict["NAME"])
        other.execute("BEGIN EXCLUSIVE")
        error = error_of(lambda: CALLS["save fenced"](storage), OperationalError)
        other.close()
        assert type(error) is StorageUnavailable
        CALLS["save fenced"](storage)
        assert storage.load(KEY) == snapshot_bytes(20)
    del error
    gc.collect()


@each_call
@pytest.mark.django_db(transaction=True, databases=["postgresql"])
def test_a_transaction_that_is_broken_already(call: Callable[[Any], object]) -> None:
    with another_alias("postgresql") as alias, transaction.atomic(using=alias):
        transaction.set_rollback(True, using=alias)
        storage = DatabaseStorage(database=alias)
        error = error_of(lambda: call(storage), DatabaseError)
        assert not isinstance(error, StorageUnavailable)


def test_an_alias_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="DATABASES has no alias 'nowhere'"):
        DatabaseStorage(database="nowhere")


def test_storage_errors_are_told_apart_from_all_others() -> None:
    assert issubclass(StorageUnavailable, StorageError)
    assert issubclass(StorageError, RecoveryError)


@pytest.mark.parametrize(
    ("database", "demote"),
    [
        pytest.param(
            "postgresql",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            marks=pytest.mark.django_db(transaction=True, databases=["postgresql"]),
        ),
        pytest.param(
            "mariadb",
            "SET SESSION TRANSACTION READ ONLY",
            marks=pytest.mark.django_db(transaction=True, databases=["mariadb"]),
        ),
    ],
)
def test_a_server_that_has_become_read_only_is_left(database: str, demote: str) -> None:
    with another_alias(database, CONN_MAX_AGE=None) as alias:
        storage = DatabaseStorage(database=alias)
        assert storage.save_fenced(KEY, snapshot_bytes(20), 60) is Verdict.DONE
        with connections[alias].cursor() as cursor:
            cursor.execute(demote)
        with pytest.raises(StorageUnavailable, match="read-only"):
            storage.save_fenced(KEY, snapshot_bytes(20), 60)
        # The next call goes to whichever server the address leads to now.
        assert storage.save_fenced(KEY, snapshot_bytes(20), 60) is Verdict.DONE
