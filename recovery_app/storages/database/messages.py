"""The logs of durable groups in tables.

Each group has a row with the number of its newest message. A publisher raises it first, and so
holds the row's lock until the end of the transaction: messages of a group are numbered in the
order in which they are committed, without gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.models import QuerySet

from recovery_app.clock import MICROSECONDS
from recovery_app.storages.database import mariadb
from recovery_app.storages.database.appending import append, begin
from recovery_app.storages.database.postgresql import PostgreSQLLog
from recovery_app.storages.database.tables import model_of
from recovery_app.storages.messages import MAX_MESSAGES, MESSAGE_SECONDS, Messages, number_of

if TYPE_CHECKING:
    from recovery_app.models import StoredGroup, StoredMessage

    Rows = QuerySet[StoredMessage]

TRIM_EVERY = 256
"""After how many messages of a group those over the limit are removed."""
REMOVED_AT_ONCE = 500
MAX_NAMES = 500
"""How many groups one statement names."""
GROUP_SECONDS = 7 * 24 * 60 * 60
"""How long the row of a group without messages and pages is kept."""
USE_SECONDS = 24 * 60 * 60
"""How often it is noted that pages are in a group without messages."""
NOTED_AT_ONCE = 50
ROWS_EVERY_SECONDS = 60 * 60
"""How often a process looks for rows of unused groups."""


class DatabaseMessages:
    """The tables of `StoredGroup` and `StoredMessage` in one database; times in microseconds."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._postgresql = PostgreSQLLog(database)
        self._next_removal_us = 0

    @property
    def tables(self) -> tuple[QuerySet[StoredGroup], Rows]:
        """All groups, and all messages."""
        return self._groups, self._messages

    @property
    def _groups(self) -> QuerySet[StoredGroup]:
        model: type[StoredGroup] = model_of("StoredGroup")
        return model._default_manager.using(self._database)

    @property
    def _messages(self) -> Rows:
        model: type[StoredMessage] = model_of("StoredMessage")
        return model._default_manager.using(self._database)

    @property
    def is_in_transaction(self) -> bool:
        """Whether this thread's next query runs in a transaction that somebody else ends."""
        connection = connections[self._database]
        return connection.in_atomic_block or not connection.get_autocommit()

    def append(self, group: str, data: bytes, now_us: int, published: Callable[[], None]) -> None:
        """Publish a message, in the transaction if there is one."""
        connection = connections[self._database]
        number = self._append(group, data, now_us)
        if not connection.in_atomic_block and not connection.get_autocommit():
            # Django isn't told when this transaction ends: the next poll sees its message.
            return
        if number % TRIM_EVERY == 0:
            # Behind the transaction, which others wait for.
            trim = partial(self._trim, group, number)
            transaction.on_commit(trim, using=self._database, robust=True)
        transaction.on_commit(published, using=self._database)
        if connection.vendor == "postgresql":
            transaction.on_commit(self._postgresql.notify, using=self._database, robust=True)

    def _append(self, group: str, data: bytes, now_us: int) -> int:
        connection: Any = connections[self._database]
        if connection.vendor == "postgresql":
            return self._postgresql.append(group, data, now_us)
        if connection.vendor == "mysql" and connection.mysql_is_mariadb:
            return mariadb.append(self._database, group, data, now_us)
        return append(self._groups, self._messages, group, data, now_us)

    def newest(self, group: str, now_us: int) -> str:
        """Return the number of the newest message, and create the log if necessary."""
        number = self._number(group)
        if number is None:
            begin(self._groups, group, now_us)
            number = self._number(group)
        # A transaction that reads one state of the database sees no row that is newer. Before
        # the first message, it has missed whatever there is.
        return str(number or 0)

    def read(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages after a number."""
        position = number_of(after)
        found = self._read(group, position, limit)
        if found and found[0][0] == position + 1:
            return _messages_of(found, is_complete=True)
        newest = self._number(group)
        if newest == position:
            return Messages([])
        # The group began anew where it has fewer messages than the page has had.
        is_known = newest is not None and newest > position
        found = self._read(group, position if is_known else -1, limit)
        is_complete = is_known and bool(found) and found[0][0] == position + 1
        return _messages_of(found, is_complete=is_complete)

    def changed(self, positions: dict[str, str], now_us: int) -> list[str]:
        """Return which groups have another newest number than these, with a query for each 500."""
        names, newest, unnoted = list(positions), {}, []
        noted_us = now_us - USE_SECONDS * MICROSECONDS
        for start in range(0, len(names), MAX_NAMES):
            rows = self._groups.filter(name__in=names[start : start + MAX_NAMES])
            for name, number, used_us in rows.values_list("name", "newest", "used_us"):
                newest[name] = str(number)
                if used_us < noted_us:
                    unnoted.append(name)
        for name in unnoted[:NOTED_AT_ONCE]:
            # One by one: who locks two rows can wait for somebody who waits for the first.
            self._groups.filter(name=name, used_us__lt=noted_us).update(used_us=now_us)
        return [group for group, number in positions.items() if newest.get(group) != number]

    def cleanup(self, now_us: int, *, all_rows: bool = False) -> Iterator[int]:
        """Remove messages that are too old, and rows of unused groups, step by step.

        Such rows are looked for once an hour, unless ``all_rows`` asks for it now.
        """
        too_old = self._messages.filter(published_us__lt=now_us - MESSAGE_SECONDS * MICROSECONDS)
        while removed := self._remove(too_old.order_by("published_us")):
            yield removed
        if all_rows or now_us >= self._next_removal_us:
            self._next_removal_us = now_us + ROWS_EVERY_SECONDS * MICROSECONDS
            yield from self._remove_groups(now_us - GROUP_SECONDS * MICROSECONDS)

    def _remove_groups(self, limit_us: int) -> Iterator[int]:
        unused = self._groups.filter(used_us__lt=limit_us)
        while names := list(unused.values_list("name", flat=True)[:MAX_NAMES]):
            # One by one, as above; who has published meanwhile keeps the row.
            yield sum(unused.filter(name=name)._raw_delete(self._database) for name in names)

    def _trim(self, group: str, number: int) -> None:
        surplus = self._messages.filter(group=group, number__lte=number - MAX_MESSAGES)
        while self._remove(surplus.order_by("number")) == REMOVED_AT_ONCE:
            pass

    def _remove(self, rows: Rows) -> int:
        """Remove the first rows in the order of their keys, as every process does."""
        keys = sorted(rows.values_list("pk", flat=True)[:REMOVED_AT_ONCE])
        if not keys:
            return 0
        self._messages.filter(pk__in=keys)._raw_delete(self._database)
        return len(keys)

    def _number(self, group: str) -> int | None:
        return self._groups.filter(name=group).values_list("newest", flat=True).first()

    def _read(self, group: str, position: int, limit: int) -> list[tuple[int, bytes]]:
        """Return messages after a position, up to the first gap that a clean-up has left."""
        rows = self._messages.filter(group=group, number__gt=position).order_by("number")
        found = [
            (number, bytes(data)) for number, data in rows.values_list("number", "data")[:limit]
        ]
        first = found[0][0] if found else 0
        together = takewhile(lambda each: each[1][0] == first + each[0], enumerate(found))
        return [row for _, row in together]


def _messages_of(found: list[tuple[int, bytes]], *, is_complete: bool) -> Messages:
    return Messages([(str(number), data) for number, data in found], is_complete)
