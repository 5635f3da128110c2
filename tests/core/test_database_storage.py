"""Tests of `DatabaseStorage`: what only a database can get wrong: transactions, races, threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier
from time import monotonic, sleep
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections, transaction
from django.db.models import signals

from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Decision, Verdict
from recovery_app.models import StoredSnapshot
from recovery_app.signals import Observer, observers
from recovery_app.snapshots import Snapshot
from recovery_app.storages import DatabaseStorage
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from recovery_app.values import IncidentQuery, Query
from tests.clock import FakeClock
from tests.core.databases import another_alias
from tests.core.support import make_manager

KEY = "0123456789abcdef"
TTL = 60
THREADS = 8


@pytest.fixture
def database(database_alias: str) -> DatabaseStorage:
    """Return a storage in each database in turn."""
    return DatabaseStorage(database=database_alias)


@pytest.fixture
def utf8mb3() -> Iterator[None]:
    """Have a table of a site that was set up long ago."""
    convert = "ALTER TABLE recovery_app_storedsnapshot CONVERT TO CHARACTER SET"
    with connections["mariadb"].cursor() as cursor:
        cursor.execute(f"{convert} utf8mb3")
        yield
        cursor.execute(f"{convert} utf8mb4")


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_an_emoji_in_a_topic_is_no_outage(utf8mb3: None) -> None:
    storage = DatabaseStorage(database="mariadb")
    for fence in (1, 2):
        data = snapshot_bytes(fence, view="a \U0001f600 view", socket_id="\U0001f600")
        assert storage.save_fenced(KEY, data, TTL) is Verdict.DONE
        stored = storage.load(KEY)
        assert stored is not None
        assert Snapshot.from_bytes(stored).view == "a \U0001f600 view"
        (info,) = storage.browse(Query()).items
        assert (info.view, info.socket_id) == ("a \ufffd view", "\ufffd")


# Transactions.


def test_every_step_works_inside_an_open_transaction(database: DatabaseStorage) -> None:
    clock = database.clock = FakeClock()
    with transaction.atomic(using=database.database):
        assert database.save_fenced(KEY, snapshot_bytes(20), TTL) is Verdict.DONE
        # Its INSERT fails, and must not take the transaction with it.
        assert database.save_fenced(KEY, snapshot_bytes(10), TTL) is Verdict.FENCED
        assert database.touch_fenced(KEY, claim_of(20), TTL) is Verdict.DONE
        taken = database.take_over(KEY, claim_of(20), TTL, now_us=30, newest_version=None)
        assert taken == Decision(verdict=Verdict.DONE, data=snapshot_bytes(30, floor=20))
        database.revoke(KEY, claim_of(30), TTL, now_us=40)
        assert database.save_fenced(KEY, snapshot_bytes(30), TTL) is Verdict.REVOKED
        clock.advance(seconds=TTL)
        assert database.save_fenced(KEY, snapshot_bytes(50), TTL) is Verdict.DONE
        database.save("other", b"data", TTL)
        assert database.delete("other") is True
    assert database.load(KEY) == snapshot_bytes(50)


def test_a_transaction_that_is_rolled_back_takes_the_save_with_it(
    database: DatabaseStorage,
) -> None:
    database.save_fenced(KEY, snapshot_bytes(10), TTL)
    with transaction.atomic(using=database.database):
        assert database.save_fenced(KEY, snapshot_bytes(20), TTL) is Verdict.DONE
        transaction.set_rollback(True, using=database.database)
    assert database.load(KEY) == snapshot_bytes(10)


def test_no_model_signals_are_sent(database: DatabaseStorage) -> None:
    heard: list[object] = []

    def listen(sender: object, **_facts: object) -> None:
        heard.append(sender)

    kinds = (signals.pre_save, signals.post_save, signals.pre_delete, signals.post_delete)
    for kind in kinds:
        kind.connect(listen)
    try:
        database.save("other", b"data", TTL)
        database.save_fenced(KEY, snapshot_bytes(20), TTL)
        database.save_fenced(KEY, snapshot_bytes(30), TTL)
        database.delete(KEY)
        database.clock = lambda: 2**32
        assert database.cleanup_expired() == 1
    finally:
        for kind in kinds:
            kind.disconnect(listen)
    assert StoredSnapshot not in heard


# Races, each made to happen: between two statements somebody else comes in.


@contextmanager
def in_between(
    database: DatabaseStorage, statement: str, come_in: Callable[[], object], *, times: int = 1
) -> Iterator[None]:
    """Have ``come_in`` called, on a connection of its own, before statements of the kind."""
    calls = iter(range(times))

    def wrapper(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith(statement) and next(calls, None) is not None:
            others.submit(database.on_thread, come_in).result()
        return execute(sql, *rest)

    wrapped = connections[database.database].execute_wrapper(wrapper)
    with ThreadPoolExecutor(1) as others, wrapped:
        yield


@pytest.mark.parametrize(
    ("other", "verdict", "winner"), [(10, Verdict.DONE, 20), (30, Verdict.FENCED, 30)]
)
def test_of_two_first_saves_the_newer_token_wins(
    database: DatabaseStorage, other: int, verdict: Verdict, winner: int
) -> None:
    come_in = partial(database.save_fenced, KEY, snapshot_bytes(other, floor=5), TTL)
    with in_between(database, "INSERT", come_in):
        assert database.save_fenced(KEY, snapshot_bytes(20, floor=5), TTL) is verdict
    assert database.load(KEY) == snapshot_bytes(winner, floor=5)


def test_a_takeover_that_meets_the_first_save_is_decided_by_the_rules(
    database: DatabaseStorage,
) -> None:
    come_in = partial(database.save_fenced, KEY, snapshot_bytes(20), TTL)
    with in_between(database, "SELECT", come_in):
        decision = database.take_over(KEY, claim_of(20), TTL, now_us=30, newest_version=0)
    assert decision == Decision(verdict=Verdict.DONE, data=snapshot_bytes(30, floor=20))


def test_a_race_without_end_is_an_outage(database: DatabaseStorage) -> None:
    appear = partial(database.save, KEY, snapshot_bytes(20), TTL)
    vanish = partial(database.delete, KEY)
    claim = claim_of(20)
    for call in (
        lambda: database.touch_fenced(KEY, claim, TTL),
        lambda: database.take_over(KEY, claim, TTL, now_us=30, newest_version=None),
        lambda: database.renew(KEY, claim, TTL, now_us=30, binding=claim.binding),
    ):
        with (
            in_between(database, "UPDATE", vanish, times=99),
            in_between(database, "SELECT", appear, times=99),
            pytest.raises(StorageUnavailable, match="in a race"),
        ):
            call()


def test_a_clean_up_spares_what_comes_back_to_life(database: DatabaseStorage) -> None:
    database.clock = clock = FakeClock()
    for key in (KEY, "another"):
        database.save(key, b"old", TTL)
    clock.advance(seconds=TTL)
    with in_between(database, "DELETE", partial(database.save, KEY, b"new", TTL)):
        assert database.cleanup_expired() == 1
    assert database.load(KEY) == b"new"
    clock.advance(seconds=-1)
    assert database.load("another") is None


# Threads.


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_of_many_first_saves_at_once_the_newest_token_wins(
    database: DatabaseStorage, order: str
) -> None:
    together = Barrier(THREADS)

    def save(number: int) -> Verdict:
        together.wait()
        fence = number if order == "rising" else THREADS - number + 1
        data = snapshot_bytes(fence, f"{fence}".encode())
        return database.on_thread(lambda: database.save_fenced(KEY, data, TTL))

    with ThreadPoolExecutor(THREADS) as threads:
        for round_ in range(3):
            verdicts = list(threads.map(save, range(1, THREADS + 1)))
            assert set(verdicts) <= {Verdict.DONE, Verdict.FENCED}, round_
            newest = verdicts[-1 if order == "rising" else 0]
            assert newest is Verdict.DONE
            assert database.load(KEY) == snapshot_bytes(THREADS, str(THREADS).encode())
            database.delete(KEY)


async def test_many_asynchronous_takeovers_get_a_fence_each(database: DatabaseStorage) -> None:
    await database.asave_fenced(KEY, snapshot_bytes(20), TTL)
    take_over = partial(database.atake_over, KEY, claim_of(20), TTL, now_us=0, newest_version=None)
    decisions = await asyncio.gather(*(take_over() for _ in range(10)))
    stored = [decision.data for decision in decisions]
    assert set(stored) == {snapshot_bytes(fence, floor=20) for fence in range(21, 31)}
    await asyncio.to_thread(database.close)


async def test_a_blocking_call_on_the_event_loop_is_refused_by_django(
    database: DatabaseStorage,
) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        database.load(KEY)


async def test_a_blocking_call_of_a_manager_says_what_to_call_instead(
    database: DatabaseStorage, caplog: pytest.LogCaptureFixture
) -> None:
    down: list[Exception | None] = []

    class Listening(Observer):
        def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
            down.append(error)

    listening = Listening()
    observers.add(listening)
    try:
        with make_manager(storage=database) as manager:
            token = manager.create_token("a socket")
            with pytest.raises(SynchronousOnlyOperation, match=r"asave\(\) for save\(\)"):
                manager.save(token, {"n": 1})
            await manager.asave(token, {"n": 1})
    finally:
        observers.remove(listening)
    # It is a mistake in somebody's code, and no outage.
    assert down == [None, None]
    assert [each for each in caplog.records if each.name == "recovery_app"] == []


# Connections.


def has_connections(name: str) -> bool:
    """Return whether some client that goes by the name is connected to PostgreSQL."""
    with connections["postgresql"].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [name])
        return cursor.fetchone() is not None


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
@pytest.mark.parametrize("max_age", [0, 60])
def test_closing_closes_the_connections_of_its_threads(max_age: int) -> None:
    name = f"test of {max_age}"
    changes = {"CONN_MAX_AGE": max_age, "OPTIONS": {"application_name": name}}
    with another_alias("postgresql", **changes) as alias:
        database = DatabaseStorage(database=alias)

        async def load_at_once() -> None:
            await asyncio.gather(*(database.aload(KEY) for _ in range(5)))

        asyncio.run(load_at_once())
        if max_age:
            assert has_connections(name)
        database.close()
        # A server notices that a client has left when it comes to it.
        deadline = monotonic() + 10
        while has_connections(name):
            assert monotonic() < deadline
            sleep(0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.load("key"),
        lambda storage: storage.newest_position("group"),
        lambda storage: storage.list_incidents(IncidentQuery()),
    ],
    ids=["snapshots", "groups", "journal"],
)
def test_without_the_app_it_says_what_to_install(
    call: Callable[[DatabaseStorage], object], settings: Any
) -> None:
    settings.INSTALLED_APPS = ["django.contrib.contenttypes"]
    with pytest.raises(ImproperlyConfigured, match="add 'recovery_app' to INSTALLED_APPS"):
        call(DatabaseStorage())
