"""Durable groups on databases: transactions, order, conflicts, and what a clean-up removes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.core.management import call_command
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from recovery_app import RecoveryManager, groups
from recovery_app.exceptions import StorageUnavailable, TransactionConflict
from recovery_app.middleware import override_manager
from recovery_app.models import StoredGroup, StoredMessage
from recovery_app.storages import DatabaseStorage
from recovery_app.storages.database import listening, postgresql
from recovery_app.storages.database import messages as database_messages
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import ROOM, page_of, publish
from tests.support.databases import PARAMS

SECONDS = 60
DAY = 24 * 60 * 60
SERVERS = [each for each in PARAMS if each.id != "sqlite"]


class Undone(Exception):
    """What rolls a transaction back."""


def undone() -> suppress:
    return suppress(Undone)


@pytest.fixture(params=PARAMS)
def alias(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def storage(alias: str, clock: FakeClock) -> DatabaseStorage:
    return DatabaseStorage(database=alias, clock=clock)


@pytest.fixture
def manager(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, storage: DatabaseStorage
) -> Iterator[RecoveryManager]:
    manager = make_manager(clock=clock, storage=storage)
    with override_manager(manager):
        yield manager


def say(number: int, group: str = ROOM) -> None:
    groups.publish(group, {"type": "chat.message", "number": number})


def read(storage: DatabaseStorage, after: str, group: str = ROOM) -> list[bytes]:
    found = storage.read_messages(group, after, 1000)
    assert found.is_complete
    return [data for _, data in found.items]


def numbers_in(storage: DatabaseStorage, after: str, group: str = ROOM) -> list[int]:
    return [int(data.rpartition(b":")[2].rstrip(b"}")) for data in read(storage, after, group)]


@contextmanager
def threads(manager: RecoveryManager) -> Iterator[Callable[..., Any]]:
    """Run functions on threads of their own, each with its own connections."""

    def run(work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with override_manager(manager):
                return work(*arguments)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        yield lambda work, *arguments: pool.submit(run, work, *arguments)


@contextmanager
def statements(alias: str) -> Iterator[list[str]]:
    """Note what this thread sends to a database."""
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: Any, *rest: Any) -> Any:
        seen.append(str(sql))
        return execute(sql, *rest)

    with connections[alias].execute_wrapper(note):
        yield seen


# Order.


def test_readers_see_no_message_before_the_one_in_front_of_it(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    is_over = threading.Event()
    published: list[int] = []
    lock = threading.Lock()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for each in range(15):
            number = 100 * seed + each
            is_kept = chance.random() < 0.7
            with undone(), transaction.atomic(using=alias):
                say(number)
                if not is_kept:
                    raise Undone
            if is_kept:
                with lock:
                    published.append(number)

    def follow() -> list[int]:
        seen: list[int] = []
        position = place
        while True:
            was_over = is_over.is_set()
            found = storage.read_messages(ROOM, position, 7)
            assert found.is_complete, "a gap"
            for position, data in found.items:  # noqa: B007 - the last is where to go on
                seen.append(int(data.rpartition(b":")[2].rstrip(b"}")))
            if was_over and not found.items:
                return seen

    with threads(manager) as run:
        reader = run(follow)
        for writer in [run(write, seed) for seed in range(1, 5)]:
            writer.result(SECONDS)
        is_over.set()
        seen = reader.result(SECONDS)
    assert sorted(seen) == sorted(published)
    for seed in range(1, 5):
        own = [number for number in seen if number // 100 == seed]
        assert own == sorted(own)


# Transactions.


def test_a_savepoint_that_is_rolled_back_takes_its_messages_along(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    with transaction.atomic(using=alias, durable=True):
        say(1)
        with undone(), transaction.atomic(using=alias):
            say(2)
            raise Undone
        with transaction.atomic(using=alias):
            say(3)
        say(4, "room:new")
    assert numbers_in(storage, place) == [1, 3]


def test_without_autocommit_a_message_is_part_of_the_transaction(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    transaction.set_autocommit(False, using=alias)
    try:
        say(1)
        transaction.rollback(using=alias)
        say(2)
        transaction.commit(using=alias)
    finally:
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)
    assert numbers_in(storage, place) == [2]


class Elsewhere:
    """A router that would have every model in another database."""

    def db_for_read(self, model: Any, **_hints: Any) -> str:
        return "default" if "postgresql" in str(_hints) else "nowhere"

    db_for_write = db_for_read


def test_a_router_has_no_say(
    manager: RecoveryManager, storage: DatabaseStorage, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere()]
    place = storage.newest_position(ROOM)
    say(1)
    assert numbers_in(storage, place) == [1]
    storage.cleanup_expired()


def view(request: HttpRequest) -> HttpResponse:
    say(int(request.GET["number"]))
    if "fails" in request.GET:
        raise Undone
    return HttpResponse()


urlpatterns = [path("say/", view)]


def test_a_request_is_one_transaction(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__
    place = storage.newest_position(ROOM)
    with atomic_requests(alias):
        browser = Client()
        with pytest.raises(Undone):
            browser.get("/say/?number=1&fails")
        assert browser.get("/say/?number=2").status_code == 200
    assert numbers_in(storage, place) == [2]


@contextmanager
def atomic_requests(alias: str) -> Iterator[None]:
    configured = connections[alias].settings_dict
    before = configured["ATOMIC_REQUESTS"]
    configured["ATOMIC_REQUESTS"] = True
    try:
        yield
    finally:
        configured["ATOMIC_REQUESTS"] = before


async def test_a_transaction_of_a_consumer(manager: RecoveryManager, alias: str) -> None:
    def work(number: int, *, fails: bool) -> None:
        with transaction.atomic(using=alias):
            say(number)
            if fails:
                raise Undone

    async with page_of(manager) as page:
        await page.join(group=ROOM)
        with pytest.raises(Undone):
            await database_sync_to_async(work)(1, fails=True)
        await database_sync_to_async(work)(2, fails=False)
        await page.hear(2)
    await sync_to_async(connections.close_all)()


# Conflicts.


@pytest.mark.parametrize("alias", SERVERS, indirect=True)
def test_a_deadlock_is_told_to_one_of_the_two_and_goes_well_again(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    rooms = "room:1", "room:2"
    places = [storage.newest_position(room) for room in rooms]
    together = threading.Barrier(2)
    errors: list[TransactionConflict] = []

    def work(first: str, second: str, number: int) -> None:
        with transaction.atomic(using=alias):
            say(number, first)
            if not errors:
                together.wait(SECONDS)
            say(number, second)

    def insist(*arguments: Any) -> None:
        while True:
            try:
                return work(*arguments)
            except TransactionConflict as error:
                errors.append(error)

    with threads(manager) as run:
        for each in (run(insist, *rooms, 1), run(insist, *reversed(rooms), 2)):
            each.result(SECONDS)
    assert errors
    assert "run it again" in str(errors[0])
    found = [numbers_in(storage, place, room) for room, place in zip(rooms, places, strict=True)]
    assert found[0] == found[1], "both in the same order"
    assert sorted(found[0]) == [1, 2]


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_a_conflict_of_a_publish_on_its_own_is_nobodys_business(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)

    def work(pid: list[int], is_ready: threading.Event) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"
            )
            cursor.execute("SELECT pg_backend_pid()")
            pid.extend(cursor.fetchone())
        is_ready.set()
        say(2)

    pid: list[int] = []
    is_ready = threading.Event()
    with threads(manager) as run:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            say(1)
            other = run(work, pid, is_ready)
            assert is_ready.wait(SECONDS)
            waits = False
            while not waits:
                assert not other.done()
                cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", pid)
                (waits,) = cursor.fetchone()
        other.result(SECONDS)
    assert numbers_in(storage, place) == [1, 2]


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_who_publishes_often_has_the_statement_prepared(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    with connections[alias].cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        for number in range(10):
            say(number)
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        # And the notification, which is sent less often.
        assert cursor.fetchone()[0] in (1, 2)
    assert numbers_in(storage, place) == list(range(10))


@pytest.mark.django_db(transaction=True, databases=["postgresql"])
@pytest.mark.parametrize("alias", ["postgresql"], indirect=True)
def test_who_publishes_beside_others_notifies_as_much_less(
    manager: RecoveryManager, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(postgresql, "time", SimpleNamespace(monotonic=lambda: now[0]))
    others = StoredMessage._default_manager.using(alias)
    numbers = count()

    def notifies(*, after: float, among: int = 0) -> bool:
        """Return whether a publish does, so long after the last and among those of others."""
        now[0] += after
        others.bulk_create(
            StoredMessage(group="other", number=next(numbers), data=b"{}", published_us=0)
            for _ in range(among)
        )
        with statements(alias) as seen:
            say(1)
        return any("pg_notify" in each for each in seen)

    quiet = listening.QUIET_SECONDS
    assert [notifies(after=quiet * each) for each in (0, 0.6, 0.6, 0.3, 1)] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert not any(notifies(after=quiet / 2, among=7) for _ in range(10))
    assert sum(notifies(after=quiet, among=7) for _ in range(80)) == pytest.approx(10, abs=1)
    # Nobody is quiet until those that listen look no more.
    most = quiet * postgresql.MOST_QUIET
    assert most < listening.LOOK_AGAIN_SECONDS[-1]
    assert all(notifies(after=most, among=100) for _ in range(3))
    assert notifies(after=quiet * 7)


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
@pytest.mark.parametrize("alias", ["mariadb"], indirect=True)
def test_a_publish_on_mariadb_is_one_statement(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    with statements(alias) as seen:
        say(1)
        say(2, "another room")
        with transaction.atomic(using=alias):
            say(3)
    # Some numbers have what is too old removed behind them.
    assert len([each for each in seen if not each.startswith("SELECT")]) == 3
    assert numbers_in(storage, place) == [1, 3]


@pytest.mark.django_db(transaction=True, databases=["mariadb"])
@pytest.mark.parametrize("alias", ["mariadb"], indirect=True)
def test_a_publish_that_is_interrupted_leaves_no_transaction(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str
) -> None:
    place = storage.newest_position(ROOM)
    is_ready = threading.Event()
    ids: list[int] = []

    def work() -> int:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID()")
            ids.extend(cursor.fetchone())
            is_ready.set()
            with pytest.raises(StorageUnavailable):
                say(2)
            cursor.execute("SELECT @@in_transaction")
            in_transaction: int = cursor.fetchone()[0]
            return in_transaction

    with (
        threads(manager) as run,
        transaction.atomic(using=alias),
        connections[alias].cursor() as cursor,
    ):
        say(1)
        other = run(work)
        assert is_ready.wait(SECONDS)
        waits = False
        while not waits:
            assert not other.done()
            # By then it waits for the row of the group.
            cursor.execute(
                "SELECT 1 FROM information_schema.processlist "
                "WHERE id = %s AND command = 'Query' AND time_ms > 100",
                ids,
            )
            waits = cursor.fetchone() is not None
        cursor.execute("KILL QUERY %s", ids)
        assert other.result(SECONDS) == 0
    say(3)
    assert numbers_in(storage, place) == [1, 3]


# What a clean-up removes.


async def test_a_group_that_begins_anew_is_told(
    make_manager: Callable[..., RecoveryManager], storage: DatabaseStorage, clock: FakeClock
) -> None:
    manager = make_manager(clock=clock, storage=storage, ttl=30 * DAY, token_max_age=None)
    with override_manager(manager):
        async with page_of(manager) as page:
            await page.join(group=ROOM)
            await publish(1, 2)
            await page.hear(1, 2)
        clock.advance(seconds=8 * DAY)
        await sync_to_async(forget_everything)(storage)
        await publish(3)
        async with page_of(manager) as again:
            await again.join(page.token)
            found = await again.ask()
            while not found["missed"]:
                found = await again.ask()
            assert found == {"seen": [1, 2], "missed": [ROOM]}
            await publish(4)
            await again.hear(4)


def forget_everything(storage: DatabaseStorage) -> None:
    for _ in storage.cleanup_batches(100):
        pass
    assert not StoredGroup.objects.using(storage.database).exists()
    assert not StoredMessage.objects.using(storage.database).exists()
    connections.close_all()


def test_pages_that_are_in_a_group_keep_it(
    manager: RecoveryManager, storage: DatabaseStorage, clock: FakeClock
) -> None:
    say(1)
    place = storage.newest_position(ROOM)
    for _ in range(10):
        clock.advance(seconds=DAY + 1)
        assert storage.changed_groups({ROOM: place}) == []
        storage.cleanup_expired()
    assert numbers_in(storage, place) == []
    say(2)
    assert numbers_in(storage, place) == [2]


def test_messages_keep_their_group_without_pages(
    manager: RecoveryManager, storage: DatabaseStorage, clock: FakeClock
) -> None:
    for number in range(9):
        say(number)
        storage.cleanup_expired()
        clock.advance(seconds=DAY - 1)
    place = storage.newest_position(ROOM)
    storage.cleanup_expired()
    assert storage.read_messages(ROOM, place, 10).is_complete
    say(9)
    assert numbers_in(storage, place) == [9]


def test_a_group_that_is_used_again_at_the_last_moment_is_kept(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str, clock: FakeClock
) -> None:
    say(1)
    clock.advance(seconds=8 * DAY)
    rows, is_used = StoredGroup.objects.using(alias), False

    def use(execute: Any, sql: str, *rest: Any) -> Any:
        nonlocal is_used
        if not is_used and sql.startswith("DELETE") and StoredGroup._meta.db_table in sql:
            is_used = True
            rows.update(used_us=round(clock() * 1_000_000))
        return execute(sql, *rest)

    with connections[alias].execute_wrapper(use):
        storage.cleanup_expired()
    assert (is_used, rows.count()) == (True, 1)


def test_the_command_removes_them_too(
    manager: RecoveryManager, storage: DatabaseStorage, clock: FakeClock
) -> None:
    for number in range(5):
        say(number)
    storage.cleanup_expired()
    clock.advance(seconds=DAY + 1)
    call_command("cleanup_recovery", "--batch-size", "2", stdout=StringIO())
    rows = StoredMessage.objects.using(storage.database)
    assert (rows.count(), StoredGroup.objects.using(storage.database).count()) == (0, 1)
    clock.advance(seconds=7 * DAY)
    call_command("cleanup_recovery", stdout=StringIO())
    assert StoredGroup.objects.using(storage.database).count() == 0


def test_a_hole_in_the_log_is_no_reason_to_skip_it(
    manager: RecoveryManager, storage: DatabaseStorage
) -> None:
    place = storage.newest_position(ROOM)
    for number in range(5):
        say(number)
    # The clock of who published it was slow, so it has gone before those in front of it.
    rows = StoredMessage.objects.using(storage.database)
    rows.filter(group=ROOM, number=int(place) + 3).delete()
    found = storage.read_messages(ROOM, place, 10)
    assert ([each for each, _ in found.items], found.is_complete) == (
        [str(int(place) + 1), str(int(place) + 2)],
        True,
    )
    assert not storage.read_messages(ROOM, found.items[-1][0], 10).is_complete


def test_messages_that_are_too_many_are_removed_behind_the_transaction(
    manager: RecoveryManager, storage: DatabaseStorage, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_messages, "MAX_MESSAGES", 10)
    monkeypatch.setattr(database_messages, "TRIM_EVERY", 4)
    monkeypatch.setattr(database_messages, "REMOVED_AT_ONCE", 3)
    rows = StoredMessage.objects.using(storage.database)
    numbers = count()
    for _ in range(4):
        with transaction.atomic(using=alias):
            for _ in range(8):
                say(next(numbers))
            within = rows.count()
    assert within >= 18, "not before"
    assert 10 <= rows.count() <= 13


def test_a_transaction_that_sees_no_row_gets_a_place_before_everything(
    manager: RecoveryManager, storage: DatabaseStorage
) -> None:
    assert storage._messages.newest(ROOM, 5) == "5"
    say(1)
    assert not storage.read_messages(ROOM, "0", 10).is_complete
