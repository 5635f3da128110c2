"""Appending messages to the log of a group on MariaDB: one compound statement, one round trip.

So the row of the group is locked only while the server works, and not while it waits for the
next statement of a client that may be far away.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.db import Error, connections, transaction

from recovery_app.storages.database.tables import model_of

_STEPS = """
    INSERT INTO `{groups}` (name, newest, used_us) VALUES (%s, LAST_INSERT_ID(%s), %s)
    ON DUPLICATE KEY UPDATE newest = LAST_INSERT_ID(newest + 1), used_us = VALUES(used_us);
    INSERT INTO `{messages}` (`group`, number, data, published_us)
    VALUES (%s, LAST_INSERT_ID(), %s, %s) RETURNING number;
"""
_PART_OF_A_TRANSACTION = f"BEGIN NOT ATOMIC {_STEPS} END"
_TRANSACTION = f"BEGIN NOT ATOMIC START TRANSACTION; {_STEPS} COMMIT; END"


def append(database: str, group: str, data: bytes, now_us: int) -> int:
    """Add a message with the next number of its group, and return the number."""
    connection: Any = connections[database]
    values = (group, now_us, now_us, group, connection.Database.Binary(data), now_us)
    if connection.in_atomic_block or not connection.get_autocommit():
        with transaction.atomic(using=database, savepoint=False):
            return _execute(connection, _PART_OF_A_TRANSACTION, values)
    try:
        return _execute(connection, _TRANSACTION, values)
    except BaseException:
        # If it was interrupted, its transaction is still open, and Django doesn't know about it.
        _end_transaction(connection)
        raise


def _execute(connection: Any, template: str, values: tuple[Any, ...]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_statement(template), values)
        number = int(cursor.fetchone()[0])
        # An error of the commit comes after the number.
        while cursor.nextset():
            pass
    return number


def _end_transaction(connection: Any) -> None:
    try:
        connection.rollback()
    except Error:
        with suppress(Error):
            connection.close()


@lru_cache
def _statement(template: str) -> str:
    groups, messages = (model_of(name)._meta.db_table for name in ("StoredGroup", "StoredMessage"))
    return template.format(groups=groups, messages=messages)
