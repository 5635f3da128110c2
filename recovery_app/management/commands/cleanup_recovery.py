"""The command ``manage.py cleanup_recovery``."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser

from recovery_app._core.manager import RecoveryManager
from recovery_app.exceptions import StorageError
from recovery_app.management.interruption import Interruption
from recovery_app.management.progress import ProgressBar
from recovery_app.management.reports import ReportingCommand
from recovery_app.middleware import current_manager
from recovery_app.storages import Storage

DEFAULT_BATCH_SIZE = 5000
MAX_BATCH_SIZE = 2**31 - 1
"""The highest row count that all supported databases accept."""
_NOT_NEEDED = "{storage} removes expired snapshots automatically. There is nothing to do."
_NOT_SUPPORTED = "{storage} doesn't support removing expired snapshots."
_NOT_SHARED = (
    "{storage} is limited to one process, so this command can't reach the snapshots of others. "
    "Each process removes its own every CLEANUP_INTERVAL."
)


@dataclass(kw_only=True)
class Report:
    """The result of the command; ``expired`` is counted only in a dry run."""

    storage: str
    dry_run: bool
    removed: int = 0
    expired: int | None = None
    complete: bool = True
    journal_removed: int = 0
    """How many entries of the journal were too old, or too many."""
    seconds: float = 0.0
    note: str = ""
    error: str = ""


class Command(ReportingCommand):
    """A command that removes expired snapshots in batches."""

    help = "Removes expired snapshots from the configured storage."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count the expired snapshots."
        )
        parser.add_argument(
            "--batch-size",
            type=_batch_size,
            default=DEFAULT_BATCH_SIZE,
            metavar="N",
            help="Number of snapshots to remove at a time (default: %(default)s).",
        )
        super().add_arguments(parser)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; have Ctrl-C and SIGTERM end it with its report."""
        self._interruption = Interruption()
        with self._interruption.handled():
            try:
                return super().execute(*args, **options)
            except KeyboardInterrupt:
                sys.exit(self._interruption.exit_status)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command; exit with 1 after an error, 130 after Ctrl-C and 143 after SIGTERM."""
        manager = current_manager()
        storage = manager.storage
        report = Report(storage=type(storage).__name__, dry_run=options["dry_run"])
        started_at = time.monotonic()
        failure: StorageError | None = None
        try:
            self._run(storage, report, options["batch_size"], with_bar=self.is_verbose(options))
            if report.complete and not report.dry_run and _has_journal_to_prune(manager):
                report.journal_removed = manager.prune_journal()
        except KeyboardInterrupt:
            report.complete = False
        except StorageError as error:
            failure = error
            report.complete = False
        report.seconds = round(time.monotonic() - started_at, 3)
        self.finish(report, options, failure)
        if not report.complete:
            sys.exit(self._interruption.exit_status)

    def _run(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        note = _note_for(storage)
        report.note = note.format(storage=report.storage)
        if note in (_NOT_NEEDED, _NOT_SUPPORTED):
            report.expired = 0 if report.dry_run else None
        elif report.dry_run:
            report.expired = storage.count_expired()
        else:
            self._clean_up(storage, report, size, with_bar=with_bar)

    def _clean_up(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        interruption = self._interruption
        with interruption.deferred(), self._progress_bar(storage, with_bar) as bar:
            batches = storage.cleanup_batches(size)
            while not interruption.requested:
                removed = next(batches, None)
                if removed is None:
                    return
                report.removed += removed
                if bar is not None:
                    bar.show(report.removed)
        report.complete = False

    @contextmanager
    def _progress_bar(self, storage: Storage, with_bar: bool) -> Iterator[ProgressBar | None]:
        if not with_bar or not self.stdout.isatty():
            yield None
            return
        bar = ProgressBar(self.stdout, _total(storage))
        try:
            yield bar
        finally:
            bar.close()

    def print_report(self, report: Report) -> None:
        """Print a report as sentences."""
        if report.note:
            self.stdout.write(report.note)
        sentences = []
        if report.expired is not None:
            sentences.append(f"{_snapshots(report.expired)} would be removed.")
        elif not report.dry_run:
            sentences.append(f"Removed {_snapshots(report.removed)}.")
        if report.journal_removed:
            sentences.append(f"Removed {_entries(report.journal_removed)} of the journal.")
        if not report.complete:
            sentences.append("Stopped before the end.")
        self.stdout.write(" ".join(sentences))


def _note_for(storage: Storage) -> str:
    """Return why the command does nothing with this storage, or what it can't do."""
    kind = type(storage)
    if storage.expires_by_itself:
        return _NOT_NEEDED
    if (kind.cleanup_expired, kind.cleanup_batches) == (
        Storage.cleanup_expired,
        Storage.cleanup_batches,
    ):
        return _NOT_SUPPORTED
    return "" if storage.is_shared else _NOT_SHARED


def _has_journal_to_prune(manager: RecoveryManager) -> bool:
    return manager.journal.is_on and not manager.storage.expires_by_itself


def _total(storage: Storage) -> int | None:
    try:
        return storage.count_expired()
    except StorageError:
        return None  # Removing may still work.


def _snapshots(count: int) -> str:
    return f"{count} expired snapshot{'' if count == 1 else 's'}"


def _entries(count: int) -> str:
    return f"{count} old {'entry' if count == 1 else 'entries'}"


def _batch_size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not 1 <= size <= MAX_BATCH_SIZE:
        raise ArgumentTypeError(f"{text!r} isn't an integer from 1 to {MAX_BATCH_SIZE}")
    return size
