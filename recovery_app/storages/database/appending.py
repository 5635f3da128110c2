"""Appending messages to the log of a group on any database, and creating a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections, transaction
from django.db.models import F, QuerySet

if TYPE_CHECKING:
    from recovery_app.models import StoredGroup, StoredMessage

    Groups = QuerySet[StoredGroup]
    Rows = QuerySet[StoredMessage]

_RAISE = "UPDATE {groups} SET newest = LAST_INSERT_ID(newest + 1), used_us = %s WHERE name = %s"


def append(groups: Groups, messages: Rows, group: str, data: bytes, now_us: int) -> int:
    """Add a message with the next number of its group, and return the number."""
    with transaction.atomic(using=groups.db, savepoint=False):
        number = _next_number(groups, group, now_us)
        row = messages.model(group=group, number=number, data=data, published_us=now_us)
        messages.bulk_create([row])
    return number


def begin(groups: Groups, group: str, now_us: int) -> None:
    """Create the row of a group, with a number above all earlier ones, unless there is one."""
    row = groups.model(name=group, newest=now_us, used_us=now_us)
    features = connections[groups.db].features
    if features.supports_update_conflicts:
        target = ["name"] if features.supports_update_conflicts_with_target else None
        # An INSERT that only ignores the row of somebody else would share its lock on MariaDB,
        # and two of those can't raise it any more.
        groups.bulk_create(
            [row], update_conflicts=True, update_fields=["used_us"], unique_fields=target
        )
        return
    try:
        with transaction.atomic(using=groups.db):
            groups.bulk_create([row])
    except IntegrityError:
        # Somebody else has.
        return


def _next_number(groups: Groups, group: str, now_us: int) -> int:
    number = _raise_number(groups, group, now_us)
    if number is None:
        begin(groups, group, now_us)
        number = _raise_number(groups, group, now_us)
    if number is None:
        raise IntegrityError("The row of a group was removed as soon as it was made.")
    return number


def _raise_number(groups: Groups, group: str, now_us: int) -> int | None:
    """Return the next number of a group; ``None`` if the group has no row."""
    connection: Any = connections[groups.db]
    if connection.vendor == "mysql":
        table = connection.ops.quote_name(groups.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(_RAISE.format(groups=table), (now_us, group))
            return int(cursor.lastrowid) if cursor.rowcount else None
    row = groups.filter(name=group)
    if not row.update(newest=F("newest") + 1, used_us=now_us):
        return None
    return row.values_list("newest", flat=True).get()
