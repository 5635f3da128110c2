"""Own ``manage.py cleanup_recovery``."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from recovery_app.exceptions import StorageError
from recovery_app.management.progress import ProgressBar
from recovery_app.middleware import current_manager
from recovery_app.storages import Storage

DEFAULT_BATCH = 5000
MAX_BATCH = 2**31 - 1
"""What each database takes for a number of rows."""
INTERRUPTED = 128 + signal.SIGINT
_BY_ITSELF = "{storage} lets snapshots expire by itself: there is nothing to remove."
_NO_CLEANUP = "{storage} has no clean-up: there is nothing that this command could do."
_OF_ONE_PROCESS = (
    "{storage} is the memory of one process: what others hold can't be reached from here. "
    "Each removes its own every CLEANUP_INTERVAL."
)


@dataclass(kw_only=True)
class Report:
    """What came of it; ``expired`` is counted in a dry run only."""

    storage: str
    dry_run: bool
    removed: int = 0
    expired: int | None = None
    complete: bool = True
    seconds: float = 0.0
    note: str = ""
    error: str = ""


class Interruption:
    """A Ctrl-C that waits until the step under way has ended; a second one doesn't."""

    requested = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Take the first Ctrl-C inside the block for a request."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread():
            yield  # No signal comes here, and no handler can be set.
            return
        if before in (signal.SIG_IGN, None):
            yield  # Whoever started it has Ctrl-C ignored, as a shell does for its background.
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _note(self, *_: object) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Command(BaseCommand):
    """Remove what has expired from the configured storage, step by step."""

    help = "Removes expired snapshots from the configured storage, and says how many."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the command's own options."""
        parser.add_argument(
            "--dry-run", action="store_true", help="Say how many have expired; remove nothing."
        )
        parser.add_argument(
            "--batch-size",
            type=_size,
            default=DEFAULT_BATCH,
            metavar="N",
            help="Remove about N in one step (default: %(default)s).",
        )
        parser.add_argument("--json", action="store_true", help="Print one line of JSON.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it; the exit status is 1 after an error and 130 after a Ctrl-C."""
        storage = current_manager().storage
        report = Report(storage=type(storage).__name__, dry_run=options["dry_run"])
        is_told = options["verbosity"] > 0 and not options["json"]
        started = time.monotonic()
        failure: StorageError | None = None
        try:
            self._work(storage, report, options["batch_size"], with_bar=is_told)
        except KeyboardInterrupt:
            report.complete = False
        except StorageError as error:
            failure = error
            report.complete, report.error = False, str(error)
        report.seconds = round(time.monotonic() - started, 3)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        elif is_told:
            self._tell(report)
        if failure is not None:
            raise CommandError(report.error) from failure
        if not report.complete:
            sys.exit(INTERRUPTED)

    def _work(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        note = _note_on(storage)
        report.note = note.format(storage=report.storage)
        if note in (_BY_ITSELF, _NO_CLEANUP):
            report.expired = 0 if report.dry_run else None
        elif report.dry_run:
            report.expired = storage.count_expired()
        else:
            self._clean(storage, report, size, with_bar=with_bar)

    def _clean(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        interruption = Interruption()
        with interruption.deferred(), self._bar(storage, with_bar) as bar:
            steps = storage.cleanup_batches(size)
            while not interruption.requested:
                removed = next(steps, None)
                if removed is None:
                    return
                report.removed += removed
                if bar is not None:
                    bar.show(report.removed)
        report.complete = False

    @contextmanager
    def _bar(self, storage: Storage, is_wanted: bool) -> Iterator[ProgressBar | None]:
        """Give a progress bar where there is a terminal to see it."""
        if not is_wanted or not self.stdout.isatty():
            yield None
            return
        bar = ProgressBar(self.stdout, _total(storage))
        try:
            yield bar
        finally:
            bar.close()

    def _tell(self, report: Report) -> None:
        if report.note:
            self.stdout.write(report.note)
        said = []
        if report.expired is not None:
            said.append(f"{_snapshots(report.expired)} would be removed.")
        elif not report.dry_run:
            said.append(f"Removed {_snapshots(report.removed)}.")
        if not report.complete:
            said.append("Stopped before the end.")
        self.stdout.write(" ".join(said))


def _note_on(storage: Storage) -> str:
    """Say what keeps the command from doing its work here, wholly or in part."""
    kind = type(storage)
    if storage.expires_by_itself:
        return _BY_ITSELF
    if (kind.cleanup_expired, kind.cleanup_batches) == (
        Storage.cleanup_expired,
        Storage.cleanup_batches,
    ):
        return _NO_CLEANUP
    return "" if storage.is_shared else _OF_ONE_PROCESS


def _total(storage: Storage) -> int | None:
    try:
        return storage.count_expired()
    except StorageError:
        return None  # It may still be able to remove.


def _snapshots(count: int) -> str:
    return f"{count} expired snapshot{'' if count == 1 else 's'}"


def _size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not 1 <= size <= MAX_BATCH:
        raise ArgumentTypeError(f"{text!r} isn't a whole number above 0, and up to {MAX_BATCH}")
    return size
