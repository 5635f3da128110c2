"""The reports of one process: bounded, never in the way, and of its own pages alone."""

from __future__ import annotations

import asyncio
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core import reports as reports_module
from recovery_app._core.journal import NODE
from recovery_app._core.persons import Person
from recovery_app._core.report_codec import decode_report, encode_report, latest_reports
from recovery_app._core.reports import KEPT_SECONDS, MAX_NAME_LENGTH, MAX_PAGES, Reporter
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.storages import DatabaseStorage, MemoryStorage, MigratingStorage, Storage
from recovery_app.values import LivePage, ProcessReport
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager, run_script

WAIT_SECONDS = 60
ADA = bytes(range(16))


class SharedStorage(MemoryStorage):
    """A memory storage whose reports others are said to read; it can be out of order."""

    is_shared = True

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.error: Exception | None = None
        self.attempts = 0
        self.writers: set[str] = set()
        self.changed = threading.Condition()

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        with self.changed:
            self.attempts += 1
            self.writers.add(threading.current_thread().name)
            self.changed.notify_all()
        if self.error is not None:
            raise self.error
        super().put_report(uid, data, ttl)

    def wait_for_more(self, attempts: int = 2) -> None:
        """Wait for some more attempts, of which the last but one has ended."""
        self.wait_for(self.attempts + attempts)

    def wait_for(self, attempts: int) -> None:
        """Wait until there were so many attempts."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.attempts >= attempts, WAIT_SECONDS)


class Page:
    """A page that is open."""

    def __init__(self, digest: bytes = ADA, topic: str = "room:1", log_name: str = "") -> None:
        self.person = Person(digest=digest)
        self.log_name = log_name
        self.names = ("shop", topic)
        self.socket_hash: str | None = "0123456789abcdef"


@pytest.fixture
def storage(clock: FakeClock) -> SharedStorage:
    return SharedStorage(clock)


@pytest.fixture
def reporter(storage: SharedStorage, clock: FakeClock) -> Iterator[Reporter]:
    made = Reporter(storage, is_on=True, clock=clock)
    yield made
    made.close()


def found(storage: Storage) -> list[ProcessReport]:
    """Return what is stored, the newest first."""
    return latest_reports(storage.list_reports())


def written(reporter: Reporter, storage: Storage) -> ProcessReport:
    reporter.write()
    (report,) = found(storage)
    return report


# What is reported.


def test_a_report_says_what_is_open_and_how_joins_went(
    reporter: Reporter, storage: SharedStorage, clock: FakeClock
) -> None:
    started_us = round(clock() * 1_000_000)
    clock.advance(seconds=3)
    page, other = Page(log_name="7"), Page(b"\0" * 16)
    other.socket_hash = None
    reporter.connected(1)
    for each in (page, other):
        reporter.opened(each)
        reporter.joined("new")
        clock.advance(seconds=60)
    report = written(reporter, storage)
    assert (report.node, report.process) == (NODE, os.getpid())
    assert (report.started_us, report.at_us) == (started_us, started_us + 123_000_000)
    assert (report.connections, report.topics, report.has_ended) == (1, 2, False)
    assert report.pages == (
        LivePage(
            socket_hash="", person="", user="", view="shop", topic="room:1",
            since_us=started_us + 63_000_000,
        ),
        LivePage(
            socket_hash="0123456789abcdef", person=ADA.hex(), user="7", view="shop",
            topic="room:1", since_us=started_us + 3_000_000,
        ),
    )  # fmt: skip
    assert sum(sum(counts.values()) for counts in report.joins.values()) == 2
    reporter.closed(page)
    reporter.closed(page)
    reporter.connected(-1)
    report = written(reporter, storage)
    assert (report.connections, report.topics, len(report.pages)) == (0, 1, 1)


def test_joins_are_counted_by_minute_for_an_hour(
    reporter: Reporter, storage: SharedStorage, clock: FakeClock
) -> None:
    first = int(clock() // 60)
    for outcome in ("new", "new", "recovered"):
        reporter.joined(outcome)
    clock.advance(seconds=59 * 60)
    assert written(reporter, storage).joins == {first: {"new": 2, "recovered": 1}}
    reporter.joined("expired")
    assert len(written(reporter, storage).joins) == 2
    clock.advance(seconds=60)
    assert written(reporter, storage).joins == {first + 59: {"expired": 1}}
    for _ in range(200):
        clock.advance(seconds=60)
        reporter.joined("new")
    assert len(reporter._joins) == 60


def test_what_is_sent_is_bounded(reporter: Reporter, storage: SharedStorage) -> None:
    pages = [Page(os.urandom(16), topic=f"{n}\ud800" + "ö" * 1000) for n in range(MAX_PAGES + 10)]
    for page in pages:
        reporter.opened(page)
    report = written(reporter, storage)
    assert (report.topics, len(report.pages)) == (MAX_PAGES + 10, MAX_PAGES)
    # The newest: those that somebody has just come back with.
    assert report.pages[0].person == pages[-1].person.digest.hex()
    assert {len(page.topic) for page in report.pages} == {MAX_NAME_LENGTH}
    assert "\ud800" not in report.pages[0].topic
    assert len(storage.list_reports()[0]) < 200_000


def test_a_process_without_pages_reports_nothing(
    reporter: Reporter, storage: SharedStorage
) -> None:
    reporter.write()
    reporter.close()
    assert storage.attempts == 0
    assert reporter._thread is None


@pytest.mark.parametrize("is_on", [True, False])
def test_it_is_off_where_it_is_unwanted_or_cant_be(clock: FakeClock, is_on: bool) -> None:
    storage = OwnStorage(clock) if is_on else SharedStorage(clock)
    reporter = Reporter(storage, is_on=is_on, clock=clock)
    reporter.connected(1)
    reporter.opened(Page())
    reporter.joined("new")
    reporter.write()
    assert not reporter.is_on
    assert reporter._thread is None
    assert not reporter._pages


# The thread.


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_module, "FIRST_SECONDS", 0)
    monkeypatch.setattr(reports_module, "INTERVAL_SECONDS", 0.001)


@pytest.mark.usefixtures("_hasty")
def test_a_thread_reports_until_the_process_ends(
    reporter: Reporter, storage: SharedStorage
) -> None:
    page = Page()
    reporter.opened(page)
    thread = reporter._thread
    storage.wait_for_more()
    (report,) = found(storage)
    assert (report.topics, report.has_ended) == (1, False)
    reporter.closed(page)
    # Also while there are no pages: it lives.
    storage.wait_for_more()
    reporter.close()
    assert thread is not None
    assert not thread.is_alive()
    (report,) = found(storage)
    assert (report.topics, report.has_ended) == (0, True)
    assert storage.writers == {"recovery_app-reports"}
    # A manager may be used again after it was closed.
    reporter.opened(page)
    storage.wait_for_more()
    assert not found(storage)[0].has_ended


def test_that_all_connections_have_ended_is_reported_at_once(
    reporter: Reporter,
    storage: SharedStorage,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it is when a server stops, which may not let the process come to its own end."""
    monkeypatch.setattr(reports_module, "FIRST_SECONDS", 10 * WAIT_SECONDS)
    reporter.connected(1)
    reporter.connected(1)
    reporter.write()
    # One is left, and then it was reported less than a second ago.
    reporter.connected(-1)
    reporter.connected(-1)
    thread = reporter._thread
    assert thread is not None
    assert not thread.wake.is_set()
    assert storage.attempts == 1
    reporter.connected(1)
    clock.advance(seconds=1)
    reporter.connected(-1)
    storage.wait_for(2)
    assert storage.writers == {threading.current_thread().name, "recovery_app-reports"}


@pytest.mark.usefixtures("_hasty")
def test_an_outage_is_logged_once_and_nothing_waits_for_it(
    reporter: Reporter, storage: SharedStorage, caplog: pytest.LogCaptureFixture
) -> None:
    def events() -> list[str]:
        return [vars(record)["event"] for record in caplog.records]

    storage.error = StorageUnavailable("SharedStorage", "a test")
    reporter.opened(Page())
    storage.wait_for_more(3)
    assert events() == ["report_failed"]
    storage.error = None
    storage.wait_for_more()
    assert found(storage)[0].topics == 1
    storage.error = ValueError("a state")
    storage.wait_for_more(3)
    assert events() == ["report_failed"] * 2
    assert "a state" not in caplog.text
    reporter.close()


def test_a_thread_that_cant_start_stops_no_page(
    reporter: Reporter, storage: SharedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reporter.opened(Page())
    assert written(reporter, storage).topics == 1


def test_in_memory_there_is_no_thread(clock: FakeClock) -> None:
    """Nobody else reads them, and whoever does has the latest stored first."""
    with make_manager(storage=MemoryStorage(clock=clock), clock=clock) as manager:
        manager.reporter.opened(Page())
        assert manager.reporter._thread is None
        assert [report.topics for report in manager.processes()] == [1]
        manager.reporter.opened(Page())
        assert [report.topics for report in asyncio.run(manager.aprocesses())] == [2]


def test_a_manager_that_nobody_uses_lets_its_thread_end(
    storage: SharedStorage, clock: FakeClock
) -> None:
    made = make_manager(storage=storage, clock=clock)
    made.reporter.joined("new")
    thread = made.reporter._thread
    assert thread is not None
    del made
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_has_pages_of_its_own() -> None:
    code = """
import os, warnings, django
django.setup()
from recovery_app import RecoveryManager
from recovery_app.storages import MemoryStorage
from tests.core.test_reports import Page
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")

manager = RecoveryManager(secret=b"x" * 32, storage=MemoryStorage(), cleanup_interval=None)
manager.reporter.opened(Page())
(parent,) = manager.processes()
with manager.reporter._lock:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert manager.processes() == []
            manager.reporter.joined("new")
            (child,) = manager.processes()
            assert (child.process, child.topics) == (os.getpid(), 0)
            assert child.uid != parent.uid
            code = 0
        finally:
            os._exit(code)
assert os.waitpid(pid, 0)[1] == 0
manager.close()
"""
    run_script(code)


# Several processes.


def test_two_processes_add_up_and_a_dead_one_is_gone_after_an_hour(clock: FakeClock) -> None:
    storage = SharedStorage(clock)
    living, dying = (Reporter(storage, is_on=True, clock=clock) for _ in range(2))
    for reporter in (living, dying, dying):
        reporter.opened(Page())
    for reporter in (dying, living):
        reporter.write()
        clock.advance(seconds=1)
    assert [report.topics for report in found(storage)] == [1, 2]
    clock.advance(seconds=KEPT_SECONDS - 3)
    living.write()
    assert [report.topics for report in found(storage)] == [1, 2]
    clock.advance(seconds=2)
    assert [report.topics for report in found(storage)] == [1]
    for reporter in (living, dying):
        reporter.close()


def test_during_a_move_the_reports_of_both_storages_are_read(clock: FakeClock) -> None:
    new, old = MemoryStorage(clock=clock), SharedStorage(clock)
    moving = MigratingStorage(new, old, clock=clock)
    reporter = Reporter(moving, is_on=True, clock=clock)
    reporter.joined("new")
    reporter.write()
    reporter._storage = old
    clock.advance(seconds=1)
    reporter.write()
    # It is one process.
    assert [report.at_us for report in found(moving)] == [round(clock() * 1_000_000)]
    assert len(new.list_reports()) == len(old.list_reports()) == 1
    lonely = MigratingStorage(new, OwnStorage(clock), clock=clock)
    assert len(lonely.list_reports()) == len(asyncio.run(lonely.alist_reports())) == 1
    lonely.close()
    assert not MigratingStorage(OwnStorage(clock), old, clock=clock).supports_reports


@pytest.mark.django_db
def test_a_database_keeps_a_row_for_each_process(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    reporters = [Reporter(storage, is_on=True, clock=clock) for _ in range(3)]
    for reporter in reporters:
        # Without a thread, which would write outside of this test's transaction.
        reporter._is_used = True
        for _ in range(2):
            reporter.write()
        clock.advance(seconds=KEPT_SECONDS / 2)
    # The first one has expired, and was removed when the third one came.
    assert storage._reports.count() == 2
    assert [report.uid for report in found(storage)] == [reporters[2]._uid]


# The manager.


def test_where_they_are_off_the_manager_says_so(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    with make_manager(storage=storage, clock=clock, journal_max_entries=0) as manager:
        manager.reporter.opened(Page())
        with pytest.raises(StorageError, match="JOURNAL_MAX_ENTRIES"):
            manager.processes()
    with (
        make_manager(storage=OwnStorage(clock), clock=clock) as manager,
        pytest.raises(StorageError, match="OwnStorage keeps no reports"),
    ):
        manager.processes()


def test_a_process_that_ends_says_so(tmp_path: Any) -> None:
    code = """
import sys, django
django.setup()
from recovery_app import RecoveryManager
from recovery_app._core.report_codec import decode_report
from recovery_app.conf import _singleton
from recovery_app.storages import MemoryStorage
from tests.core.test_reports import Page

class Written(MemoryStorage):
    is_shared = True
    def put_report(self, uid, data, ttl):
        with open(sys.argv[1], "a") as file:
            print(decode_report(data).has_ended, file=file)

manager = _singleton._manager = RecoveryManager(secret=b"x" * 32, storage=Written())
manager.reporter.opened(Page())
manager.reporter.write()
"""
    file = tmp_path / "written"
    run_script(code, str(file), fresh=True)
    assert file.read_text().split() == ["False", "True"]


# The bytes.


def full_report() -> ProcessReport:
    page = LivePage(socket_hash="0", person="a", user="7", view="v", topic="\x00ö😀", since_us=1)
    return ProcessReport(
        uid="0" * 16, at_us=2, started_us=1, node="n", process=3, has_ended=True, connections=4,
        topics=5, pages=(page, page), joins={7: {"new": 8}},
    )  # fmt: skip


def test_a_report_is_read_as_it_was_and_one_of_a_newer_version_too() -> None:
    report = full_report()
    assert decode_report(encode_report(report)) == report
    text = zlib.decompress(encode_report(report)).decode()
    newer = text.replace('{"uid"', '{"newer":1,"uid"').replace("[1,1]]", '[1,1],["x","x"]]')
    assert "newer" in newer
    assert '"x"' in newer
    assert decode_report(zlib.compress(newer.encode())) == report


def test_of_each_process_the_last_report_counts() -> None:
    report = full_report()
    later, other = replace(report, at_us=3), replace(report, uid="1" * 16, at_us=9)
    for order in ([report, later, other], [other, later, report]):
        assert latest_reports(map(encode_report, order)) == [other, later]


@pytest.mark.parametrize("data", [b"", b"rubbish", b"[]", b"{}", b'{"pages":7}', b"\xff"])
def test_what_is_no_report_is_passed_over(data: bytes) -> None:
    assert decode_report(data) is None
    assert decode_report(zlib.compress(data)) is None
    assert decode_report(encode_report(full_report())[:-9]) is None


def test_what_unfolds_without_end_isnt_read() -> None:
    assert decode_report(zlib.compress(b'{"a":"' + b"0" * 17_000_000 + b'"}')) is None


def test_a_manager_is_told_what_each_process_said_last(manager: RecoveryManager) -> None:
    assert manager.processes() == []
    manager.reporter.joined("new")
    (report,) = manager.processes()
    assert report.topics == 0
