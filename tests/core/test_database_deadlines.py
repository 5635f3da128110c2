"""Asynchronous calls of a database that has gone silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import DatabaseStorage, Verdict
from recovery_app.testing.contract.base import snapshot_bytes

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
SOON = 1.0
"""Long enough for a thread to begin on a busy machine."""

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgresql"])


@contextmanager
def locked(*keys: str) -> Iterator[None]:
    """Keep rows locked, from a thread with a connection of its own."""
    is_locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        rows = DatabaseStorage(database="postgresql")._rows
        with transaction.atomic(using="postgresql"):
            list(rows.filter(key__in=keys).select_for_update())
            is_locked.set()
            release.wait(60)
        connections["postgresql"].close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert is_locked.wait(30)
    try:
        yield
    finally:
        release.set()
        thread.join()


def storage_with(seconds: float, threads: int = 16) -> DatabaseStorage:
    class Small(DatabaseStorage):
        pass

    Small.threads = threads
    return Small(database="postgresql", timeout=seconds)


async def until_ended(storage: DatabaseStorage) -> None:
    while storage._deadlines._hanging:  # noqa: ASYNC110 (threads set no event of the loop)
        await asyncio.sleep(0.01)


def count_waiting() -> int:
    """Return how many statements wait for a lock."""
    with connections["postgresql"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        count: int = cursor.fetchone()[0]
    return count


def numbered(number: int) -> Any:
    """Return the snapshot of a state with a number, saved with the same token as the others."""
    return snapshot_bytes(20, b'{"n":%d}' % number)


async def test_nothing_newer_is_saved_while_an_older_save_may_still_land() -> None:
    storage, patient = storage_with(SOON), storage_with(60)
    for key in (KEY, OTHER):
        assert await patient.asave_fenced(key, numbered(1), 60) is Verdict.DONE
    with locked(KEY):
        with pytest.raises(StorageUnavailable, match=r"no answer within 1 s"):
            await storage.asave_fenced(KEY, numbered(2), 60)
        with pytest.raises(StorageUnavailable, match="an earlier save is still unanswered"):
            await storage.asave_fenced(KEY, numbered(3), 60)
        # Others are served as before.
        assert await patient.asave_fenced(OTHER, numbered(2), 60) is Verdict.DONE
    await asyncio.wait_for(until_ended(storage), 30)
    assert (await patient.aload(KEY) or b"").endswith(b'{"n":2}')
    storage._deadlines._seconds = 60
    assert await storage.asave_fenced(KEY, numbered(3), 60) is Verdict.DONE
    storage.close()
    patient.close()


async def test_a_save_that_was_cancelled_may_still_land_too() -> None:
    storage, patient = storage_with(60), storage_with(60)
    await patient.asave_fenced(KEY, numbered(1), 60)
    with locked(KEY):
        saving = asyncio.create_task(storage.asave_fenced(KEY, numbered(2), 60))
        while not await patient.run(count_waiting):  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        with pytest.raises(StorageUnavailable, match="an earlier save is still unanswered"):
            await storage.asave_fenced(KEY, numbered(3), 60)
    await asyncio.wait_for(until_ended(storage), 30)
    storage.close()
    patient.close()


async def test_threads_that_hang_are_bounded_and_nothing_waits_for_them() -> None:
    storage, patient = storage_with(SOON, threads=2), storage_with(60)
    keys = [f"{number:016x}" for number in range(6)]
    for key in keys:
        await patient.asave_fenced(key, numbered(1), 60)
    with locked(*keys):
        calls = [storage.asave_fenced(key, numbered(2), 60) for key in keys]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all("no answer within" in str(error) for error in errors), errors
        with pytest.raises(StorageUnavailable, match="all threads wait for an answer"):
            await storage.aload(OTHER)
    await asyncio.wait_for(until_ended(storage), 30)
    # Those that were given up before they began were never made.
    states = [(await patient.aload(key) or b"")[-7:] for key in keys]
    assert sorted(states) == [b'{"n":1}'] * 4 + [b'{"n":2}'] * 2
    storage._deadlines._seconds = 60
    assert await storage.aload(OTHER) is None
    storage.close()
    patient.close()


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_timeout_is_a_time(timeout: float) -> None:
    with pytest.raises(ValueError, match="must be a number of seconds above 0"):
        DatabaseStorage(database="postgresql", timeout=timeout)
