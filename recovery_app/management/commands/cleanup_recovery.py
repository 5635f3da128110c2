"""The command ``manage.py cleanup_recovery``."""

from __future__ import annotations

from dataclasses import dataclass

from recovery_app.management.batches import BatchCommand, BatchReport
from recovery_app.middleware import current_manager
from recovery_app.storages import Storage

_NOT_NEEDED = "{storage} removes expired snapshots automatically. There is nothing to do."
_NOT_SUPPORTED = "{storage} doesn't support removing expired snapshots."
_NOT_SHARED = (
    "{storage} is limited to one process, so this command can't reach the snapshots of others. "
    "Each process removes its own every CLEANUP_INTERVAL."
)


@dataclass(kw_only=True)
class Report(BatchReport):
    """The result of the command; ``expired`` is counted only in a dry run."""

    removed: int = 0
    expired: int | None = None
    journal_removed: int = 0
    """How many entries of the journal were too old, or too many."""


class Command(BatchCommand[Report]):
    """A command that removes expired snapshots in batches."""

    help = "Removes expired snapshots from the configured storage."
    report_class = Report
    default_batch_size = 5000
    dry_run_help = "Only count the expired snapshots."
    batch_size_help = "Number of snapshots to remove at a time"

    def work(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        """Remove what has expired, or count it."""
        note = _note_for(storage)
        report.note = note.format(storage=report.storage)
        if note in (_NOT_NEEDED, _NOT_SUPPORTED):
            report.expired = 0 if report.dry_run else None
        elif report.dry_run:
            report.expired = storage.count_expired()
        else:
            self._clean_up(storage, report, size, with_bar=with_bar)
        if report.complete and not report.dry_run:
            report.journal_removed = _prune_journal(storage)

    def _clean_up(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        with self.progress_bar(storage.count_expired, with_bar=with_bar) as bar:
            for removed in self.batches(storage.cleanup_batches(size), report):
                report.removed += removed
                if bar is not None:
                    bar.show(report.removed)

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


def _prune_journal(storage: Storage) -> int:
    # Those that expire by themselves are cut back with each write.
    manager = current_manager()
    if storage.expires_by_itself or not manager.journal.is_on:
        return 0
    return manager.prune_journal()


def _entries(count: int) -> str:
    return f"{count} old {'entry' if count == 1 else 'entries'}"


def _snapshots(count: int) -> str:
    return f"{count} expired snapshot{'' if count == 1 else 's'}"
