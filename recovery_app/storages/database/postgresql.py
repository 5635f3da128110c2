"""Appending a message to the log of a group on PostgreSQL, in one statement and round trip.

It takes longer to plan than to run. So a connection that publishes often prepares it.
"""

from __future__ import annotations

import math
import sys
import time
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections, transaction

from recovery_app.storages.database.listening import CHANNEL, QUIET_SECONDS
from recovery_app.storages.database.tables import model_of

PREPARE_AFTER = 5
"""How often a connection publishes before the statement is prepared on it."""
MOST_QUIET = 12
"""How many times as long a process is quiet at most: less than until others look again."""
_STATEMENT = """
WITH numbered AS (
    INSERT INTO "{groups}" AS known (name, newest, used_us) VALUES (%s, %s, %s)
    ON CONFLICT (name) DO UPDATE SET newest = known.newest + 1, used_us = EXCLUDED.used_us
    RETURNING name, newest
)
INSERT INTO "{messages}" ("group", number, data, published_us)
SELECT name, newest, %s::bytea, %s::bigint FROM numbered
RETURNING number, id
"""
# A commit with a notification lets no other one go on, in any database of the server. So it isn't
# that of the message, and this one doesn't wait for the disk.
_NOTIFY = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{CHANNEL}', '')"


class PostgreSQLLog:
    """Adds messages to the tables in one database, and notifies listeners."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._notified_at = -math.inf
        self._newest_id: int | None = None
        self._one_in = 1.0
        """Of how many messages one was ours lately: ids count those of all processes."""
        self._cursors = _Cursors()

    def append(self, group: str, data: bytes, now_us: int) -> int:
        """Add a message with the next number of its group, and return the number."""
        connection: Any = connections[self._database]
        values = (group, now_us, now_us, connection.Database.Binary(data), now_us)
        with (
            transaction.mark_for_rollback_on_error(self._database),
            self._cursors.open(connection) as cursor,
        ):
            cursor.execute(_statement(), values)
            number, id_ = cursor.fetchone()
        self._note_id(id_)
        return int(number)

    def _note_id(self, newest: int) -> None:
        # Another thread may have published a newer one.
        since = 1 if self._newest_id is None else max(1, newest - self._newest_id)
        self._one_in = (self._one_in + min(since, MOST_QUIET)) / 2
        self._newest_id = newest

    def notify(self) -> None:
        """Notify listeners, unless this process has a moment ago.

        The fewer of all messages are its own, the longer that moment is: the other processes
        notify as well, and listeners look again after the end of it.
        """
        now = time.monotonic()
        if now < self._notified_at + QUIET_SECONDS * self._one_in:
            return
        self._notified_at = now
        with self._cursors.open(connections[self._database]) as cursor:
            cursor.execute(_NOTIFY)


class _Cursors:
    """Opens cursors, which prepare their statements on connections that publish often.

    Django prepares no statements, because a pooler may pass the next one to another session. A
    connection without a pooler is recognized by the number of its server process.
    """

    def __init__(self) -> None:
        self._published: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """How often each connection has, up to the limit; from there on, whether it is direct."""

    def open(self, connection: Any) -> Any:
        """Return a cursor of Django's."""
        connection.ensure_connection()
        session = connection.connection
        if not hasattr(connection.Database, "AsyncConnection"):
            # psycopg2 prepares nothing.
            return connection.cursor()
        published = self._published.get(session, 0)
        if published < PREPARE_AFTER:
            self._published[session] = published + 1
        elif published == PREPARE_AFTER:
            published = self._published[session] = published + (1 if _is_direct(connection) else 2)
        if published != PREPARE_AFTER + 1:
            return connection.cursor()
        if session.prepare_threshold is None:
            # That would forbid it to all; so it is left to those that ask for it.
            session.prepare_threshold = sys.maxsize
        cursor = _prepared_cursor_of(connection.Database)(session)
        is_logged = connection.queries_logged
        wrap = connection.make_debug_cursor if is_logged else connection.make_cursor
        return wrap(cursor)


def _is_direct(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] == connection.connection.info.backend_pid)


@lru_cache
def _prepared_cursor_of(driver: Any) -> Any:
    """Return psycopg's own kind of cursor, which prepares whatever it executes."""

    class PreparedCursor(driver.Cursor):  # type: ignore[misc]
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            return super().execute(query, params, **{**options, "prepare": True})

    return PreparedCursor


@lru_cache
def _statement() -> str:
    groups, messages = (model_of(name)._meta.db_table for name in ("StoredGroup", "StoredMessage"))
    return _STATEMENT.format(groups=groups, messages=messages)
