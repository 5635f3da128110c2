"""A disk that is full under SQLite, and free again: pages go on, and are saved with room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.signals import connection_created

from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageError
from recovery_app.storages import DatabaseStorage
from tests.consumers.apps import Counter
from tests.consumers.wire import connected, recovery_of
from tests.core.support import make_manager

PLENTY = 1_000_000
BIG = "x" * 200_000

pytestmark = pytest.mark.django_db(transaction=True)


class Disk:
    """The pages that SQLite may have, on each of its connections."""

    def __init__(self) -> None:
        self.max_pages = PLENTY

    def fill(self) -> None:
        """Leave no page free."""
        with connections["default"].cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA page_count")
            self.max_pages = cursor.fetchone()[0]

    def free(self) -> None:
        """Give it room again."""
        self.max_pages = PLENTY

    def limit(self, *, connection: Any, **_: Any) -> None:
        """Have each statement of a new connection find the disk as it is then."""
        connection.execute_wrappers.append(self._execute)

    def _execute(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        raw = context["connection"].connection
        raw.execute(f"PRAGMA max_page_count={self.max_pages}").fetchone()
        return execute(sql, params, many, context)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    connections["default"].close()
    connection_created.connect(disk.limit)
    yield disk
    connection_created.disconnect(disk.limit)
    connections["default"].close()


@pytest.fixture
def manager(disk: Disk) -> Iterator[RecoveryManager]:
    with make_manager(storage=DatabaseStorage()) as manager:
        yield manager


def test_the_older_snapshot_stays_until_there_is_room_for_a_newer_one(
    manager: RecoveryManager, disk: Disk
) -> None:
    token = manager.create_token("socket")
    manager.save(token, {"count": 1})
    disk.fill()
    with pytest.raises(StorageError, match="full"):
        manager.save(token, {"count": 2, "text": BIG})
    assert manager.recover(token) == {"count": 1}
    disk.free()
    manager.save(token, {"count": 2, "text": BIG})
    assert manager.recover(token)["count"] == 2


async def test_pages_go_on_and_are_saved_once_there_is_room(
    manager: RecoveryManager, disk: Disk
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
        await sync_to_async(disk.fill)()
        assert (await client.push("keep", {"item": BIG}))["status"] == "ok"
        async with connected(Counter, manager) as other:
            reply = await other.join("room:1", start=BIG)
            assert recovery_of(reply)["outcome"] == "unavailable"
        disk.free()
        await client.push("add")
    async with connected(Counter, manager) as client:
        reply = await client.join(token=token)
        assert recovery_of(reply)["outcome"] == "recovered"
        assert reply["response"]["count"] == 2
