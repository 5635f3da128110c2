"""``manage.py migrate_recovery``: what it moves, its output and its exit status."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import EntryPage, MemoryStorage, MigratingStorage, Storage
from recovery_app.storages.migrating import Migrated
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.clock import FakeClock
from tests.core.support import OwnStorage, make_manager

TTL = 60
MAY_GO = (
    "Once every process has run with this setting for 300 seconds, the old storage is no "
    "longer needed: set RECOVERY['STORAGE'] to the new one alone.\n"
)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storage(clock: FakeClock) -> MigratingStorage:
    """Return a storage with 25 snapshots and two markers in the old one, one snapshot expired."""
    storage = MigratingStorage(MemoryStorage(clock=clock), MemoryStorage(clock=clock), clock=clock)
    storage.old.save_fenced(f"{99:016x}", snapshot_bytes(1), TTL)
    clock.advance(seconds=TTL)
    for number in range(27):
        storage.old.save_fenced(f"{number:016x}", snapshot_bytes(5, b"%d" % number), TTL)
    for number in (25, 26):
        storage.old.revoke(f"{number:016x}", claim_of(5), TTL, now_us=6)
    return storage


def migrate(storage: Storage, *arguments: str, **options: Any) -> str:
    """Run the command on a storage and return its output."""
    output = options.pop("stdout", None) or io.StringIO()
    with override_manager(make_manager(storage=storage)):
        call_command("migrate_recovery", *arguments, stdout=output, **options)
    return str(output.getvalue())


def test_all_snapshots_are_moved_as_they_are(storage: MigratingStorage, clock: FakeClock) -> None:
    clock.advance(seconds=TTL / 2)
    printed = migrate(storage, "--batch-size", "10")
    assert printed == (
        f"Moved 25 snapshots to MemoryStorage.\nNothing is left in MemoryStorage.\n{MAY_GO}"
    )
    for number in range(25):
        entry = storage.new.look_up(f"{number:016x}")
        assert entry is not None
        assert entry.data == snapshot_bytes(5, b"%d" % number)
        assert entry.expires_in == TTL / 2
    assert storage.new.count() == storage.count() == 25
    assert migrate(storage).startswith("Moved 0 snapshots to MemoryStorage.\nNothing is left")


def test_dry_run_moves_nothing(storage: MigratingStorage) -> None:
    printed = migrate(storage, "--dry-run")
    assert printed == "25 snapshots would be moved; the last expires in 60 seconds.\n"
    assert storage.new.count() == 0
    migrate(storage)
    assert migrate(storage, "--dry-run") == f"Nothing is left in MemoryStorage.\n{MAY_GO}"


def test_json_is_a_single_line(storage: MigratingStorage) -> None:
    both = {"new": "MemoryStorage", "old": "MemoryStorage", "storage": "MigratingStorage"}
    common = {**both, "complete": True, "note": "", "error": ""}
    for arguments, expected in (
        (["--dry-run"], {"dry_run": True, "moved": 0, "remaining": 25, "expires_in_seconds": 60}),
        ([], {"dry_run": False, "moved": 25, "remaining": 0, "expires_in_seconds": 0}),
    ):
        (line,) = migrate(storage, "--json", *arguments, stdout=Terminal()).splitlines()
        report = json.loads(line)
        assert report.pop("seconds") >= 0
        assert report == {**common, **expected}


def test_bar_is_shown_on_terminals(storage: MigratingStorage) -> None:
    printed = migrate(storage, "--batch-size", "10", stdout=Terminal())
    assert "[####" in printed
    assert "25 of 25" in printed
    assert migrate(storage, "--verbosity", "0", stdout=Terminal()) == ""


def test_what_cannot_be_moved_is_an_error(storage: MigratingStorage) -> None:
    storage.old.save("unreadable", b"RS\x03" + snapshot_bytes(1)[3:], TTL)
    output = io.StringIO()
    with pytest.raises(
        CommandError, match="1 snapshot can't be read here, or were saved"
    ) as raised:
        migrate(storage, stdout=output)
    assert raised.value.returncode == 1
    assert output.getvalue() == "Moved 25 snapshots to MemoryStorage.\n"
    assert storage.load("unreadable") is not None


def test_a_storage_that_cannot_list_says_so(clock: FakeClock) -> None:
    storage = MigratingStorage(MemoryStorage(clock=clock), OwnStorage(clock), clock=clock)
    storage.old.save_fenced("key", snapshot_bytes(5), TTL)
    for arguments in ([], ["--dry-run"]):
        printed = migrate(storage, *arguments)
        assert printed.startswith("OwnStorage can't list its snapshots, so they can't all be moved")
        assert printed.endswith(MAY_GO)
    assert json.loads(migrate(storage, "--json"))["remaining"] is None


def test_any_other_storage_is_an_error(clock: FakeClock) -> None:
    with pytest.raises(CommandError, match="is MemoryStorage, not a MigratingStorage"):
        migrate(MemoryStorage(clock=clock))


class FailsLater(MemoryStorage):
    """A storage that fails after the first page."""

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        if cursor is not None:
            raise StorageUnavailable("The old storage", "listing")
        return super().list_entries(prefix=prefix, cursor=cursor, limit=limit)


def test_an_outage_is_an_error_that_reports_the_progress(clock: FakeClock) -> None:
    old = FailsLater(clock=clock)
    storage = MigratingStorage(MemoryStorage(clock=clock), old, clock=clock)
    for number in range(20):
        old.save_fenced(f"{number:016x}", snapshot_bytes(5), TTL)
    output = io.StringIO()
    with pytest.raises(CommandError, match="The old storage is unavailable"):
        migrate(storage, "--batch-size", "7", stdout=output)
    assert output.getvalue() == "Moved 7 snapshots to MemoryStorage.\nStopped before the end.\n"


class Interrupted(MigratingStorage):
    """A storage during whose first batch the process is told to end."""

    def migrate_batches(self, size: int, *, ttl: float) -> Iterator[Migrated]:
        for batch in super().migrate_batches(size, ttl=ttl):
            os.kill(os.getpid(), signal.SIGTERM)
            yield batch


def test_sigterm_ends_it_with_its_report(clock: FakeClock) -> None:
    storage = Interrupted(MemoryStorage(clock=clock), MemoryStorage(clock=clock), clock=clock)
    for number in range(20):
        storage.old.save_fenced(f"{number:016x}", snapshot_bytes(5), TTL)
    output = io.StringIO()
    with pytest.raises(SystemExit) as raised:
        migrate(storage, "--batch-size", "7", stdout=output)
    assert raised.value.code == 143
    assert output.getvalue() == "Moved 7 snapshots to MemoryStorage.\nStopped before the end.\n"
    assert storage.new.count() == 7
