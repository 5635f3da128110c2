"""The journal of one process: never in the way, bounded, and written late rather than never."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import QuerySet

from recovery_app import RecoveryManager
from recovery_app._core import journal as journal_module
from recovery_app._core.journal import MAX_QUEUED, NODE, PERSON_RATE, Journal
from recovery_app.exceptions import MalformedToken, StorageError, StorageUnavailable
from recovery_app.storages import DatabaseStorage, MemoryStorage, MigratingStorage
from recovery_app.storages.journal import decode_incident, encode_incident
from recovery_app.values import Incident, IncidentQuery, JournalLimits
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager, run_script
from tests.support.processes import HOST
from tests.support.redis import client
from tests.support.redis_fixtures import Manage

WAIT_SECONDS = 60
WEEK_SECONDS = 7 * 86_400
ADA = "a" * 32


class JournalStorage(MemoryStorage):
    """A memory storage whose journal can be out of order."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.error: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()
        self.writers: set[str] = set()

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        self.hangs.wait(WAIT_SECONDS)
        self.writers.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        super().add_incidents(incidents, limits)

    def stop(self) -> None:
        self.error = StorageUnavailable("JournalStorage", "a test")


@pytest.fixture
def storage(clock: FakeClock) -> JournalStorage:
    return JournalStorage(clock)


@pytest.fixture
def journal(storage: JournalStorage, clock: FakeClock) -> Iterator[Journal]:
    made = Journal(storage, max_entries=100, max_age=WEEK_SECONDS, clock=clock)
    yield made
    storage.error = None
    storage.hangs.set()
    made.close()


def found(storage: MemoryStorage, **query: Any) -> list[Incident]:
    """Return what is stored, the oldest first."""
    return storage.list_incidents(IncidentQuery(limit=10_000, **query)).items[::-1]


def flush(journal: Journal) -> None:
    assert journal.flush(WAIT_SECONDS)


def test_an_incident_is_stored_by_a_thread_of_its_own(
    journal: Journal, storage: JournalStorage, clock: FakeClock
) -> None:
    journal.note("recovery", "not_found", person=ADA, view="shop")
    flush(journal)
    (incident,) = found(storage)
    assert (incident.kind, incident.reason, incident.person) == ("recovery", "not_found", ADA)
    assert (incident.node, incident.process) == (NODE, os.getpid())
    assert incident.at_us == clock() * 1_000_000
    assert storage.writers == {"recovery_app-journal"}


def test_the_thread_ends_when_nothing_is_left(journal: Journal, storage: JournalStorage) -> None:
    for _ in range(2):
        journal.record(kind="fork", reason="superseded")
        flush(journal)
        assert journal._thread is None
    assert len(found(storage)) == 2


def test_whoever_has_an_incident_never_waits(journal: Journal, storage: JournalStorage) -> None:
    """Not even while the storage hangs, and whatever it raises."""
    storage.hangs.clear()
    for number in range(5):
        journal.record(kind="event", reason="crashed", topic=str(number))
    assert not journal.flush(0.01)
    storage.hangs.set()
    flush(journal)
    assert sorted(each.topic for each in found(storage)) == list("01234")


def test_an_outage_is_written_when_it_is_over(
    journal: Journal, storage: JournalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.stop()
    for number in range(3):
        journal.record(kind="recovery", reason="unavailable", topic=str(number))
        assert not journal.flush(WAIT_SECONDS)
    assert [vars(record)["event"] for record in caplog.records] == ["journal_failed"]
    storage.error = None
    flush(journal)
    assert sorted(each.topic for each in found(storage)) == list("012")


def test_what_doesnt_fit_is_counted(journal: Journal, storage: JournalStorage) -> None:
    storage.stop()
    for number in range(MAX_QUEUED + 7):
        journal.record(kind="recovery", reason="unavailable", topic=str(number))
    storage.error = None
    journal._max_entries = 10_000
    flush(journal)
    assert len(found(storage, kind="recovery")) == MAX_QUEUED
    (counted,) = found(storage, kind="journal")
    assert (counted.reason, counted.left_out) == ("left_out", 7)


def test_what_can_never_be_stored_is_counted_too(journal: Journal, storage: JournalStorage) -> None:
    storage.error = ValueError("a batch that no attempt would store")
    journal.record(kind="recovery", reason="expired")
    assert not journal.flush(WAIT_SECONDS)
    storage.error = None
    flush(journal)
    (counted,) = found(storage)
    assert (counted.kind, counted.left_out) == ("journal", 1)


def test_a_repeated_incident_is_recorded_once_a_minute(
    journal: Journal, storage: JournalStorage, clock: FakeClock
) -> None:
    for _ in range(2):
        for _ in range(3):
            journal.note("recovery", "unavailable", person=ADA, shown_hash="0" * 16)
        clock.advance(seconds=60)
    journal.note("recovery", "unavailable", person=ADA, shown_hash="1" * 16)
    flush(journal)
    assert [each.left_out for each in found(storage)] == [0, 2, 0]


def test_a_clock_that_is_set_back_silences_nothing(
    journal: Journal, storage: JournalStorage, clock: FakeClock
) -> None:
    journal.note("event", "crashed", person=ADA)
    clock.advance(seconds=-3600)
    journal.note("event", "crashed", person=ADA)
    flush(journal)
    assert len(found(storage)) == 2


def test_one_person_cant_push_out_everybody_else(journal: Journal, storage: JournalStorage) -> None:
    journal._max_entries = 10_000
    for number in range(1000):
        journal.note("recovery", "rejected", person=ADA, shown_hash=str(number))
    journal.note("recovery", "not_found", person="b" * 32)
    flush(journal)
    stored = found(storage)
    assert sum(each.person == ADA for each in stored) == PERSON_RATE.burst
    assert sum(each.person == "b" * 32 for each in stored) == 1
    assert sum(each.left_out for each in stored) == 1000 - PERSON_RATE.burst


def test_what_a_client_chooses_is_shortened(journal: Journal, storage: JournalStorage) -> None:
    journal.record(kind="event", reason="crashed", handling="\ud800" + "x" * 1000)
    flush(journal)
    (incident,) = found(storage)
    assert len(incident.handling) == journal_module.MAX_NAME_LENGTH
    assert incident.handling.startswith("?x")


def test_the_names_of_events_are_remembered_shortened(journal: Journal) -> None:
    """A client may send a thousand of them, each as long as a frame may be."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            journal.note("event", "crashed", person=ADA, handling=f"{number}{'x' * 100_000}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000


def test_closing_stores_what_is_queued(journal: Journal, storage: JournalStorage) -> None:
    journal.record(kind="recovery", reason="expired")
    journal.close()
    assert len(found(storage)) == 1
    assert journal._thread is None


def test_closing_stores_it_even_where_no_thread_can_start(
    journal: Journal, storage: JournalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is when the process ends."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    journal.record(kind="recovery", reason="expired")
    assert found(storage) == []
    journal.close()
    assert len(found(storage)) == 1


def test_a_json_of_a_newer_version_can_be_read() -> None:
    incident = Incident(uid="0" * 16, at_us=1, kind="a new kind", reason="x", topic="\x00ö")
    text = encode_incident(incident)
    assert text.isascii()
    assert "process" not in text
    assert decode_incident(text[:-1] + ', "new": 1}') == incident
    assert [decode_incident(bad) for bad in ("", "[]", "{}", "7", b"\xff")] == [None] * 5


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_during_a_move_both_journals_are_read_as_one(clock: FakeClock, limit: int) -> None:
    new, old = MemoryStorage(clock=clock), JournalStorage(clock)
    moving = MigratingStorage(new, old, clock=clock)
    limits = JournalLimits(max_entries=100, max_age_seconds=WEEK_SECONDS, oldest_us=0)
    made = [Incident(uid=f"{n:016x}", at_us=n, kind="fork", reason="x") for n in range(1, 7)]
    old.add_incidents(made[:4], limits)
    moving.add_incidents(made[3:], limits)
    found: list[Incident] = []
    cursor: str | None = None
    while True:
        page = moving.list_incidents(IncidentQuery(limit=limit, cursor=cursor))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == made[::-1]
    assert asyncio.run(moving.alist_incidents(IncidentQuery(limit=100))).items == made[::-1]
    only_new = MigratingStorage(new, OwnStorage(clock), clock=clock)
    assert only_new.list_incidents(IncidentQuery()).items == made[:2:-1]
    assert not MigratingStorage(OwnStorage(clock), old, clock=clock).supports_journal


class UnreadableJournal(JournalStorage):
    def list_incidents(self, query: IncidentQuery) -> Any:
        raise StorageUnavailable("UnreadableJournal", "listing")


def test_an_old_journal_that_cant_be_reached_is_left_out(clock: FakeClock) -> None:
    moving = MigratingStorage(MemoryStorage(clock=clock), UnreadableJournal(clock), clock=clock)
    with make_manager(storage=moving, clock=clock) as made:
        made.journal.note("fork", "superseded")
        assert len(made.incidents().items) == 1


# The manager.


def test_a_call_that_recovers_nothing_is_an_incident(manager: RecoveryManager) -> None:
    token = manager.create_token("socket")
    for call in (manager.recover, manager.take_over):
        with pytest.raises(MalformedToken):
            call("rubbish")
    manager.save(token, {})
    manager.recover(token)
    manager.take_over(token)
    items = manager.incidents().items
    assert [(each.kind, each.reason, each.left_out) for each in items] == [
        ("recovery", "malformed", 0)
    ]


def test_revocations_by_operators_are_incidents(manager: RecoveryManager) -> None:
    token = manager.create_token("socket")
    manager.save(token, {})
    (info,) = manager.snapshots().items
    assert manager.revoke_socket(info.socket_hash)
    assert not manager.revoke_socket(info.socket_hash)
    manager.revoke_user(7)
    by_reason = {each.reason: each for each in manager.incidents().items}
    assert by_reason.keys() == {"socket_revoked", "user_revoked"}
    assert by_reason["socket_revoked"].shown_hash == info.socket_hash
    (person,) = manager.digests_of_user(7)
    assert by_reason["user_revoked"].person == person
    assert by_reason["user_revoked"].user == ""


def test_a_revocation_is_one_though_the_journal_fails(
    storage: JournalStorage, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    storage.stop()
    with make_manager(storage=storage, clock=clock) as made:
        made.revoke_user(7)
    assert [vars(record)["event"] for record in caplog.records] == ["journal_failed"]


@pytest.mark.django_db(databases=["postgresql"])
def test_in_a_transaction_a_revocation_is_undone_with_it() -> None:
    """And an error of the journal, such as a missing table, leaves the transaction usable."""
    storage = DatabaseStorage(database="postgresql")
    with make_manager(storage=storage, journal_max_entries=100) as made:
        with suppress(InterruptedError), transaction.atomic(using="postgresql"):
            made.revoke_user(7)
            assert len(made.incidents().items) == 1
            raise InterruptedError
        with transaction.atomic(using="postgresql"):
            made.journal.write("fork", "longer than its column " * 10)
            assert made.incidents().items == []


@pytest.mark.django_db(databases=["postgresql"])
def test_an_error_while_the_journal_is_pruned_leaves_a_transaction_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such as a lock that another process holds for longer than ``lock_timeout``."""

    def fail(rows: QuerySet[Any], using: str) -> int:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM recovery_app_journalentry")
        return 0

    monkeypatch.setattr(QuerySet, "_raw_delete", fail)
    storage = DatabaseStorage(database="postgresql")
    with make_manager(storage=storage, journal_max_entries=100) as made:
        with transaction.atomic(using="postgresql"):
            made.revoke_user(7)
            (incident,) = made.incidents().items
        assert incident.reason == "user_revoked"


def test_nothing_that_is_too_old_is_shown_or_kept(clock: FakeClock) -> None:
    with make_manager(storage=MemoryStorage(clock=clock), clock=clock, journal_max_age=60) as made:
        made.journal.note("fork", "superseded")
        assert len(made.incidents().items) == 1
        clock.advance(seconds=61)
        assert made.incidents().items == []
        assert made.prune_journal() == 1


def test_only_so_many_are_kept(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    with make_manager(storage=storage, clock=clock, journal_max_entries=5) as made:
        for number in range(20):
            made.journal.note("fork", "superseded", person=f"{number:032x}")
            clock.advance(seconds=1)
        assert len(made.incidents().items) == 5


def test_none_is_kept_where_it_is_off(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    with make_manager(storage=storage, clock=clock, journal_max_entries=0) as made:
        made.journal.note("fork", "superseded")
        with pytest.raises(StorageError, match="JOURNAL_MAX_ENTRIES"):
            made.incidents()
    assert found(storage) == []


@pytest.mark.parametrize(
    "options",
    [{"journal_max_entries": -1}, {"journal_max_entries": 1.5}, {"journal_max_age": 0}],
)
def test_limits_that_cant_be_meant(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        make_manager(**options)


def test_a_storage_that_keeps_none_says_so(clock: FakeClock) -> None:
    with make_manager(storage=OwnStorage(clock), clock=clock) as made:
        made.journal.note("fork", "superseded")
        assert made.journal._thread is None
        for call in (made.incidents, made.prune_journal):
            with pytest.raises(StorageError, match="OwnStorage keeps no journal"):
                call()


def test_a_usual_life_writes_nothing(manager: RecoveryManager) -> None:
    token = manager.create_token("socket")
    for number in range(3):
        manager.save(token, {"n": number})
        manager.touch(token)
        token = manager.take_over(token).token
    manager.revoke(token)
    assert manager.incidents().items == []


def test_it_reads_without_blocking_the_loop(clock: FakeClock) -> None:
    with make_manager(storage=MemoryStorage(clock=clock), clock=clock) as made:
        made.journal.note("fork", "superseded")

        async def read() -> int:
            assert await made.aprune_journal() == 0
            return len((await made.aincidents()).items)

        assert asyncio.run(read()) == 1


def test_redis_keeps_it_no_longer_than_the_oldest_may_be(manage: Manage, redis_server: Any) -> None:
    manager = manage(url=f"redis://{HOST}:{redis_server.port}/0", prefix="journal:test:")
    manager.journal.note("fork", "superseded")
    assert len(manager.incidents().items) == 1
    with client(redis_server.port) as server:
        left = server.pttl("journal:test:journal")
        assert WEEK_SECONDS * 1000 - 60_000 < left <= WEEK_SECONDS * 1000
    assert manager.browse().items == []
    assert manager.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_database_gets_it_on_a_connection_that_is_closed_afterwards() -> None:
    storage = DatabaseStorage()
    with make_manager(storage=storage, journal_max_entries=4) as made:
        for round_ in range(3):
            for number in range(3):
                made.journal.note("fork", "superseded", shown_hash=f"{round_}{number}")
            assert made.journal.flush(WAIT_SECONDS)
        # The table is cut back once so many were added.
        assert len(made.incidents().items) <= 4 + 1
        made.prune_journal()
        assert len(made.incidents().items) <= 4


def test_a_process_that_ends_stores_what_is_queued(tmp_path: Any) -> None:
    code = """
import sys, django
django.setup()
from recovery_app import RecoveryManager
from recovery_app.conf import _singleton
from recovery_app.storages import MemoryStorage

class Written(MemoryStorage):
    def add_incidents(self, incidents, limits):
        with open(sys.argv[1], "a") as file:
            file.write(incidents[0].reason)

_singleton._manager = RecoveryManager(secret=b"x" * 32, storage=Written())
_singleton._manager.journal.note("fork", "superseded")
"""
    file = tmp_path / "written"
    run_script(code, str(file))
    assert file.read_text() == "superseded"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_has_a_queue_and_a_thread_of_its_own() -> None:
    code = """
import os, threading, warnings, django
django.setup()
from recovery_app import RecoveryManager
from recovery_app.storages import MemoryStorage
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")

class Gated(MemoryStorage):
    gate = threading.Event()
    def add_incidents(self, incidents, limits):
        self.gate.wait(60)
        super().add_incidents(incidents, limits)

manager = RecoveryManager(secret=b"x" * 32, storage=Gated(), cleanup_interval=None)
manager.journal.note("fork", "parent")
with manager.journal._changed:
    pid = os.fork()
    if not pid:
        Gated.gate.set()
        code = 1
        try:
            manager.journal.note("fork", "child")
            found = [(each.reason, each.process) for each in manager.incidents().items]
            assert found == [("child", os.getpid())], found
            code = 0
        finally:
            os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
Gated.gate.set()
assert [each.reason for each in manager.incidents().items] == ["parent"]
manager.close()
"""
    run_script(code)


def test_a_manager_that_nobody_uses_lets_its_thread_end(
    storage: JournalStorage, clock: FakeClock
) -> None:
    made = make_manager(storage=storage, clock=clock)
    storage.stop()
    made.journal.note("fork", "superseded")
    assert not made.journal.flush(WAIT_SECONDS)
    thread = made.journal._thread
    assert thread is not None
    del made
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def test_its_log_line_names_no_value(
    journal: Journal, storage: JournalStorage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "recovery_app")
    storage.error = ValueError("INSERT … VALUES ('a secret')")
    journal.record(kind="recovery", reason="expired")
    journal.flush(WAIT_SECONDS)
    assert "secret" not in caplog.text
    assert "ValueError" in caplog.text
