"""The command ``manage.py migrate_recovery``."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.management.base import CommandError

from recovery_app.management.batches import BatchCommand, BatchReport
from recovery_app.middleware import current_manager
from recovery_app.storages import MigratingStorage, Storage

_NOT_MIGRATING = (
    "RECOVERY['STORAGE'] is {storage}, not a MigratingStorage with a new and an old storage: "
    "there is nothing to move."
)
_CANNOT_LIST = (
    "{old} can't list its snapshots, so they can't all be moved now: each is moved when its page "
    "comes back."
)
_MAY_GO = (
    "Once every process has run with this setting for {ttl:g} seconds, the old storage is no "
    "longer needed: set RECOVERY['STORAGE'] to the new one alone."
)


@dataclass(kw_only=True)
class Report(BatchReport):
    """The result of the command.

    ``remaining`` is the number of snapshots that only the old storage holds, ``None`` if it
    can't list them. The last of them expires in ``expires_in_seconds``.
    """

    new: str = ""
    old: str = ""
    moved: int = 0
    remaining: int | None = None
    expires_in_seconds: float | None = None


class Command(BatchCommand[Report]):
    """A command that moves all snapshots of a `MigratingStorage` to its new storage."""

    help = (
        "Moves the snapshots that only the old storage of a MigratingStorage holds to the new "
        "one, and says when the old one is no longer needed."
    )
    report_class = Report
    default_batch_size = 500
    dry_run_help = "Only count the snapshots to move."
    batch_size_help = "Number of snapshots to read at a time"

    def work(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        """Move what is there, or count it."""
        if not isinstance(storage, MigratingStorage):
            raise CommandError(_NOT_MIGRATING.format(storage=report.storage))
        report.new, report.old = type(storage.new).__name__, type(storage.old).__name__
        if not storage.old.supports_listing:
            report.note = _CANNOT_LIST.format(old=report.old)
            return
        if not report.dry_run:
            self._move(storage, report, size, with_bar=with_bar)
        if report.complete:
            left = storage.remaining()
            report.remaining = left.count
            report.expires_in_seconds = round(left.expires_in_seconds, 3)
        if report.remaining and not report.dry_run:
            raise CommandError(_left(report))

    def _move(
        self, storage: MigratingStorage, report: Report, size: int, *, with_bar: bool
    ) -> None:
        with self.progress_bar(lambda: storage.remaining().count, with_bar=with_bar) as bar:
            batches = storage.migrate_batches(size, ttl=current_manager().ttl)
            for batch in self.batches(batches, report):
                report.moved += batch.moved
                if bar is not None:
                    bar.show(report.moved)

    def print_report(self, report: Report) -> None:
        """Print a report as sentences."""
        if not report.old:
            return
        if report.note:
            self.stdout.write(report.note)
        elif not report.dry_run:
            self.stdout.write(f"Moved {_snapshots(report.moved)} to {report.new}.")
        if not report.complete:
            self.stdout.write("Stopped before the end.")
        elif report.remaining and report.dry_run:
            self.stdout.write(
                f"{_snapshots(report.remaining)} would be moved; the last expires in "
                f"{report.expires_in_seconds:.0f} seconds."
            )
        elif not report.remaining:
            if report.remaining is not None:
                self.stdout.write(f"Nothing is left in {report.old}.")
            self.stdout.write(_MAY_GO.format(ttl=current_manager().ttl))


def _left(report: Report) -> str:
    return (
        f"{_snapshots(report.remaining or 0)} can't be read here, or were saved meanwhile by "
        f"processes that use only {report.old}. Run the command again; the last expires in "
        f"{report.expires_in_seconds:.0f} seconds."
    )


def _snapshots(count: int) -> str:
    return f"{count} snapshot{'' if count == 1 else 's'}"
