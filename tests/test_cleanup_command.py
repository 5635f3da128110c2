"""``manage.py cleanup_recovery``: what it removes, its output and its exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, Info
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper, SystemCheckError

from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageUnavailable
from recovery_app.management.progress import ProgressBar
from recovery_app.middleware import override_manager
from recovery_app.models import StoredSnapshot
from recovery_app.storages import CacheStorage, DatabaseStorage, MemoryStorage, Storage
from recovery_app.storages.database import cleanup
from recovery_app.testing.contract.base import snapshot_bytes
from tests.clock import FakeClock
from tests.core.support import DownStorage, OwnStorage, make_manager
from tests.support import warm
from tests.support.databases import PARAMS
from tests.support.processes import TOP

TTL = 60
PATIENCE_SECONDS = 240


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=PARAMS)
def database(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[DatabaseStorage]:
    """Return a storage in each database in turn."""
    storage = DatabaseStorage(database=request.param, clock=clock)
    yield storage
    storage.close()


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def clean(storage: Storage, *arguments: str, **options: Any) -> str:
    """Run the command on a storage and return its output."""
    output = options.pop("stdout", None) or io.StringIO()
    with override_manager(make_manager(storage=storage)):
        call_command("cleanup_recovery", *arguments, stdout=output, **options)
    return str(output.getvalue())


def put(storage: DatabaseStorage, times_us: list[int], mark: str = "e") -> None:
    """Insert rows that expire at these times."""
    StoredSnapshot._default_manager.using(storage.database).bulk_create(
        StoredSnapshot(key=f"{mark}{number}", data=b"", expires_us=time_us)
        for number, time_us in enumerate(times_us)
    )


def keys_in(storage: DatabaseStorage) -> set[str]:
    return set(
        StoredSnapshot._default_manager.using(storage.database).values_list("key", flat=True)
    )


# What is removed


def test_expired_snapshots_are_removed_and_others_kept(
    database: DatabaseStorage, clock: FakeClock
) -> None:
    for number in range(25):
        database.save(f"old {number}", snapshot_bytes(1), TTL)
    clock.advance(seconds=TTL)
    for number in range(3):
        database.save(f"new {number}", snapshot_bytes(1), TTL)
    assert clean(database, "--batch-size", "10") == "Removed 25 expired snapshots.\n"
    assert keys_in(database) == {"new 0", "new 1", "new 2"}
    assert clean(database) == "Removed 0 expired snapshots.\n"


@pytest.mark.parametrize(
    "times_us",
    [
        pytest.param(list(range(1, 26)), id="each at its own time"),
        pytest.param([7] * 25, id="all at once"),
        pytest.param([1] * 3 + [7] * 19 + [9] * 3, id="most at once"),
        pytest.param([1, *([7] * 9), *([8] * 15)], id="a batch ends between"),
    ],
)
def test_no_batch_is_larger_than_requested(database: DatabaseStorage, times_us: list[int]) -> None:
    put(database, times_us)
    steps = list(database.cleanup_batches(10))
    assert sum(steps) == 25
    assert max(steps) <= 10
    assert keys_in(database) == set()


def test_a_snapshot_that_is_renewed_between_two_batches_is_kept(
    database: DatabaseStorage, clock: FakeClock
) -> None:
    put(database, list(range(1, 21)))
    steps = database.cleanup_batches(10)
    assert next(steps) == 10
    rows = StoredSnapshot._default_manager.using(database.database)
    assert rows.filter(key="e15").update(expires_us=(clock() + TTL) * 1_000_000) == 1
    assert sum(steps) == 9
    assert keys_in(database) == {"e15"}


def test_concurrent_clean_ups(database: DatabaseStorage) -> None:
    put(database, [7] * 12 + list(range(10, 30)))
    ours, theirs = database.cleanup_batches(5), database.cleanup_batches(3)
    removed = 0
    for one, other in zip(ours, theirs, strict=False):
        removed += one + other
    assert removed + sum(ours) + sum(theirs) == 32
    assert keys_in(database) == set()


@pytest.mark.django_db(transaction=True)
def test_memory_use_does_not_grow_with_the_number_removed(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    put(storage, list(range(1, 15_001)))
    tracemalloc.start()
    try:
        assert sum(storage.cleanup_batches(200)) == 15_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.django_db(transaction=True)
def test_other_writers_get_their_turn_on_sqlite(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DatabaseStorage(clock=clock)
    waited: list[float] = []
    monkeypatch.setattr(cleanup, "TURN_SECONDS", 0.0)
    monkeypatch.setattr("recovery_app.storages.database.cleanup.time.sleep", waited.append)
    put(storage, list(range(1, 31)))
    assert sum(storage.cleanup_batches(10)) == 30
    # Three times for the snapshots, and once for the messages of groups.
    assert waited == [0.0] * 4
    monkeypatch.setattr(cleanup, "TURN_SECONDS", 3600)
    assert sum(storage.cleanup_batches(10)) == 0
    assert len(waited) == 4


# Output


@pytest.mark.django_db(transaction=True)
def test_dry_run_removes_nothing(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    put(storage, [1])
    assert clean(storage, "--dry-run") == "1 expired snapshot would be removed.\n"
    assert keys_in(storage) == {"e0"}
    put(storage, [1, 2], mark="f")
    assert clean(storage, "--dry-run") == "3 expired snapshots would be removed.\n"


def test_the_journal_is_pruned(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    manager = make_manager(storage=storage, clock=clock, journal_max_age=TTL)
    with manager, override_manager(manager):
        for number in range(3):
            manager.journal.note("fork", "superseded", shown_hash=str(number))
        assert len(manager.incidents().items) == 3
        clock.advance(seconds=TTL + 1)
        for arguments, removed in ((["--dry-run"], 0), ([], 3), ([], 0)):
            output = io.StringIO()
            call_command("cleanup_recovery", "--json", *arguments, stdout=output)
            assert json.loads(output.getvalue())["journal_removed"] == removed
        manager.journal.note("fork", "superseded")
        assert manager.journal.flush()
        clock.advance(seconds=TTL + 1)
        output = io.StringIO()
        call_command("cleanup_recovery", stdout=output)
        assert "Removed 1 old entry of the journal." in output.getvalue()


@pytest.mark.django_db(transaction=True)
def test_json_is_a_single_line(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    put(storage, [1, 2, 3])
    common = {"storage": "DatabaseStorage", "complete": True, "note": "", "error": ""}
    common |= {"journal_removed": 0}
    for arguments, expected in (
        (["--dry-run"], {"dry_run": True, "expired": 3, "removed": 0}),
        ([], {"dry_run": False, "expired": None, "removed": 3}),
    ):
        (line,) = clean(storage, "--json", *arguments, stdout=Terminal()).splitlines()
        report = json.loads(line)
        assert report.pop("seconds") >= 0
        assert report == {**common, **expected}


def test_verbosity_0_prints_nothing(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    storage.save("key", b"data", TTL)
    clock.advance(seconds=TTL)
    assert clean(storage, "--verbosity", "0", stdout=Terminal()) == ""
    assert storage.count_expired() == 0


@contextmanager
def checked(message: CheckMessage) -> Iterator[None]:
    """Have a system check return the message."""

    def check(**_: object) -> list[CheckMessage]:
        return [message]

    registry.register(check)
    try:
        yield
    finally:
        registry.registered_checks.discard(check)


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize(("verbosity", "is_printed"), [("0", False), ("1", True)])
def test_verbosity_0_prints_no_warnings_of_checks(
    clock: FakeClock, verbosity: str, is_printed: bool
) -> None:
    stderr, storage = io.StringIO(), MemoryStorage(clock=clock)
    with checked(Info("Something to know.")):
        clean(storage, "--verbosity", verbosity, skip_checks=False, stderr=stderr)
    assert ("Something to know." in stderr.getvalue()) is is_printed


@pytest.mark.django_db(databases="__all__")
def test_verbosity_0_goes_no_further_than_an_error_of_checks() -> None:
    with checked(Error("Something is wrong.")), pytest.raises(SystemCheckError, match="is wrong"):
        call_command("cleanup_recovery", "--verbosity", "0", skip_checks=False)


def test_a_memory_storage_is_limited_to_this_process(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    storage.save("key", b"data", TTL)
    clock.advance(seconds=TTL)
    note = "MemoryStorage is limited to one process, so this command can't reach"
    printed = clean(storage, "--dry-run")
    assert note in printed
    assert "1 expired snapshot would be removed." in printed
    printed = clean(storage)
    assert note in printed
    assert "Removed 1 expired snapshot." in printed
    assert note in json.loads(clean(storage, "--json"))["note"]


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_a_storage_that_expires_by_itself_needs_no_clean_up(arguments: list[str]) -> None:
    printed = clean(CacheStorage(cache="default"), *arguments)
    assert (
        "CacheStorage removes expired snapshots automatically. There is nothing to do." in printed
    )


def test_a_storage_without_a_clean_up_is_reported(clock: FakeClock) -> None:
    printed = clean(OwnStorage(clock))
    assert "OwnStorage doesn't support removing expired snapshots." in printed


class ByOneStep(OwnStorage):
    """A custom storage that can remove expired snapshots but not count them."""

    def cleanup_expired(self) -> int:
        return 4


def test_a_storage_may_clean_up_in_one_batch(clock: FakeClock) -> None:
    assert clean(ByOneStep(clock)) == "Removed 4 expired snapshots.\n"
    assert "4" in clean(ByOneStep(clock), stdout=Terminal())
    with pytest.raises(CommandError, match="can't count"):
        clean(ByOneStep(clock), "--dry-run")


class FailsLater(DownStorage):
    """A storage that fails after the first batch."""

    def cleanup_batches(self, size: int) -> Iterator[int]:
        yield size
        raise StorageUnavailable("The storage", "clean-up")


def test_an_outage_is_an_error_that_reports_the_progress(clock: FakeClock) -> None:
    output = io.StringIO()
    with pytest.raises(CommandError, match="unavailable") as raised:
        clean(FailsLater(clock), "--batch-size", "7", stdout=output)
    assert raised.value.returncode == 1
    assert output.getvalue() == "Removed 7 expired snapshots. Stopped before the end.\n"
    output = io.StringIO()
    with pytest.raises(CommandError):
        clean(FailsLater(clock), "--batch-size", "7", "--json", stdout=output)
    report = json.loads(output.getvalue())
    assert (report["removed"], report["complete"]) == (7, False)
    assert "unavailable" in report["error"]


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", str(2**31), str(10**30), "9" * 5000])
def test_batch_sizes_are_validated(size: str) -> None:
    with pytest.raises(CommandError, match="isn't an integer from 1 to"):
        call_command("cleanup_recovery", f"--batch-size={size}")


# Progress bar


def test_bar_is_shown_only_on_terminals(clock: FakeClock) -> None:
    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        storage = MemoryStorage(clock=clock)
        storage.save("key", b"data", TTL)
        clock.advance(seconds=TTL)
        printed = clean(storage, stdout=stream)
        assert ("[####" in printed) is expected
        assert ("\r" in printed) is expected
        assert printed.endswith("\nRemoved 1 expired snapshot.\n") or not expected


@pytest.mark.parametrize(("columns", "has_bar"), [(80, True), (40, False), (5, False)])
def test_bar_fits_the_terminal(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, columns: int, has_bar: bool
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    bar = ProgressBar(OutputWrapper(stream), 1000, clock=clock)
    for done in (250, 260, 500, 1000, 1100):
        clock.advance(seconds=1)
        bar.show(done)
    bar.close()
    lines = stream.getvalue().removesuffix("\n").split("\r")[1:]
    assert {len(line) for line in lines} == {columns - 1}
    assert all(("[" in line) is has_bar for line in lines)
    if has_bar:
        assert "[##########.............................." in lines[0]
        assert lines[0].rstrip().endswith("25%  250 of 1,000  250/s  3 s left")
        assert lines[-1].rstrip().endswith("100%  1,100 of 1,000  220/s")


def test_bar_is_redrawn_at_a_limited_rate(clock: FakeClock) -> None:
    stream = Terminal()
    bar = ProgressBar(OutputWrapper(stream), None, clock=clock)
    for done in range(100):
        bar.show(done)
        clock.advance(seconds=0.03)
    bar.close()
    drawn = re.findall(r"\r(\d+) ", stream.getvalue())
    assert 20 <= len(drawn) <= 35
    assert (drawn[0], drawn[-1]) == ("0", "99")


class Interrupted(DownStorage):
    """A storage that is interrupted while it counts."""

    def count_expired(self) -> int:
        raise KeyboardInterrupt

    def cleanup_batches(self, size: int) -> Iterator[int]:
        raise NotImplementedError


def test_an_interrupted_dry_run_reports_no_count(clock: FakeClock) -> None:
    for arguments, printed in (
        ([], "Stopped before the end.\n"),
        (["--json"], '"complete": false'),
        (["--json"], '"expired": null'),
    ):
        output = io.StringIO()
        with pytest.raises(SystemExit) as raised:
            clean(Interrupted(clock), "--dry-run", *arguments, stdout=output)
        assert raised.value.code == 130
        assert printed in output.getvalue()
        assert "0 expired" not in output.getvalue()


# As a process

CODE = """
import sys, django, time
from django.conf import settings

settings.configure(
    SECRET_KEY="0123456789" * 5,
    INSTALLED_APPS=["recovery_app"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    RECOVERY={"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}},
)
django.setup()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", CODE, str(path), *arguments]


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run("-c", CODE, str(path), *arguments, env=os.environ, strict=True)


def make_database(path: Path, rows: int) -> None:
    assert run(path, "migrate", "--verbosity", "0").returncode == 0
    with sqlite(path) as connection:
        connection.executemany(
            "INSERT INTO recovery_app_storedsnapshot VALUES "
            "(?, '', ?, 0, 0, '', 0, 0, 0, 0, '', '', '', 0, '')",
            ((str(number), number) for number in range(1, rows + 1)),
        )


@contextmanager
def sqlite(path: Path) -> Iterator[Any]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def count(path: Path) -> int:
    with sqlite(path) as connection:
        number: int = connection.execute(
            "SELECT count(*) FROM recovery_app_storedsnapshot"
        ).fetchone()[0]
        return number


def test_exit_status_after_an_error(tmp_path: Path) -> None:
    done = run(tmp_path / "empty", "cleanup_recovery")
    assert done.returncode == 1
    assert "DatabaseStorage on 'default' is unavailable" in done.stderr
    assert "Traceback" not in done.stderr
    traced = run(tmp_path / "empty", "cleanup_recovery", "--traceback")
    assert "no such table: recovery_app_storedsnapshot" in traced.stderr


def test_no_bar_in_a_pipe(tmp_path: Path) -> None:
    make_database(tmp_path / "db", 30)
    done = run(tmp_path / "db", "cleanup_recovery", "--batch-size", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Removed 30 expired snapshots.\n"


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Have child processes heed SIGINT, also where whoever started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_report_what_was_removed(
    tmp_path: Path, number: signal.Signals, times: int
) -> None:
    rows = 20_000
    make_database(tmp_path / "db", rows)
    terminal, inside = pty.openpty()
    with heeding_ctrl_c():
        process = subprocess.Popen(
            command(tmp_path / "db", "cleanup_recovery", "--batch-size", "1"),
            cwd=TOP,
            stdout=inside,
            stderr=inside,
            env={**os.environ, "COLUMNS": "80"},
        )
    os.close(inside)
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    printed = ""
    while "%" not in printed:
        printed += os.read(terminal, 4096).decode()
    for _ in range(times):
        process.send_signal(number)
    with os.fdopen(terminal, "rb", closefd=True) as stream:
        while True:
            try:
                part = stream.read1(4096)
            except OSError:  # The other side is closed.
                break
            printed += part.decode()
    assert process.wait() == 128 + number
    watchdog.cancel()
    assert "Traceback" not in printed
    report = re.search(r"Removed (\d+) expired snapshots?\. Stopped before the end\.", printed)
    assert report, printed
    left = count(tmp_path / "db")
    assert 0 < left < rows
    # The second signal may come after a batch was removed and before it was counted.
    assert rows - left - int(report[1]) in ([0] if times == 1 else [0, 1])


def test_an_ignored_ctrl_c_stops_nothing(tmp_path: Path) -> None:
    """Shell scripts ignore SIGINT for background processes."""
    rows = 200
    make_database(tmp_path / "db", rows)
    cleanup = command(tmp_path / "db", "cleanup_recovery", "--batch-size", "1")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *cleanup],
        cwd=TOP,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    while count(tmp_path / "db") == rows:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    watchdog.cancel()
    assert (process.returncode, printed) == (0, f"Removed {rows} expired snapshots.\n")


def test_each_database_accepts_the_largest_batch_size(database: DatabaseStorage) -> None:
    put(database, [1, 2, 3])
    assert "Removed 3 expired snapshots." in clean(database, "--batch-size", str(2**31 - 1))


def test_the_command_can_run_in_another_thread(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    storage.save("key", b"data", TTL)
    clock.advance(seconds=TTL)
    printed: list[str] = []
    thread = threading.Thread(target=lambda: printed.append(clean(storage)))
    thread.start()
    thread.join()
    assert "Removed 1 expired snapshot." in printed[0]


def test_the_manager_is_that_of_the_settings(settings: Any) -> None:
    settings.RECOVERY = {"STORAGE": {"BACKEND": "tests.test_cleanup_command.Configured"}}
    output = io.StringIO()
    call_command("cleanup_recovery", stdout=output)
    assert "Configured" in output.getvalue()


class Configured(OwnStorage):
    """A storage for use in settings."""

    def __init__(self) -> None:
        super().__init__(FakeClock())


def test_manager_is_not_started(clock: FakeClock) -> None:
    manager = RecoveryManager(secret="s" * 32, storage=MemoryStorage(clock=clock))
    with manager, override_manager(manager):
        before = threading.active_count()
        call_command("cleanup_recovery", stdout=io.StringIO())
        assert threading.active_count() == before
