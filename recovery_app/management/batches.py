"""Commands that work in batches: with a progress bar, and a report whatever ends them."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from django.core.management.base import CommandError, CommandParser

from recovery_app.exceptions import StorageError
from recovery_app.management.interruption import Interruption
from recovery_app.management.progress import ProgressBar
from recovery_app.management.reports import ReportingCommand
from recovery_app.middleware import current_manager
from recovery_app.storages import Storage

MAX_BATCH_SIZE = 2**31 - 1
"""The highest row count that all supported databases accept."""


@dataclass(kw_only=True)
class BatchReport:
    """The result of a command that works in batches."""

    storage: str
    dry_run: bool
    complete: bool = True
    seconds: float = 0.0
    note: str = ""
    error: str = ""


Report = TypeVar("Report", bound=BatchReport)
Batch = TypeVar("Batch")


class BatchCommand(ReportingCommand, Generic[Report]):
    """A command that does one batch after the other, until a signal comes.

    Subclasses have a class of report, and `work`.
    """

    report_class: type[Report]
    default_batch_size: ClassVar[int]
    dry_run_help: ClassVar[str]
    batch_size_help: ClassVar[str]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help=self.dry_run_help)
        parser.add_argument(
            "--batch-size",
            type=_batch_size,
            default=self.default_batch_size,
            metavar="N",
            help=f"{self.batch_size_help} (default: %(default)s).",
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
        storage = current_manager().storage
        report = self.report_class(storage=type(storage).__name__, dry_run=options["dry_run"])
        started_at = time.monotonic()
        failure: Exception | None = None
        try:
            self.work(storage, report, options["batch_size"], with_bar=self.is_verbose(options))
        except KeyboardInterrupt:
            report.complete = False
        except StorageError as error:
            failure = error
            report.complete = False
        except CommandError as error:
            failure = error
        report.seconds = round(time.monotonic() - started_at, 3)
        self.finish(report, options, failure)
        if not report.complete:
            sys.exit(self._interruption.exit_status)

    def work(self, storage: Storage, report: Report, size: int, *, with_bar: bool) -> None:
        """Do what the command does, and note it in the report."""
        raise NotImplementedError

    def batches(self, steps: Iterator[Batch], report: Report) -> Iterator[Batch]:
        """Yield the result of each step until a signal comes, which waits for the step."""
        with self._interruption.deferred():
            while not self._interruption.requested:
                batch = next(steps, None)
                if batch is None:
                    return
                yield batch
        report.complete = False

    @contextmanager
    def progress_bar(
        self, count: Callable[[], int], *, with_bar: bool
    ) -> Iterator[ProgressBar | None]:
        """Return a progress bar, if somebody sees it; ``count`` returns its total."""
        if not with_bar or not self.stdout.isatty():
            yield None
            return
        bar = ProgressBar(self.stdout, _total(count))
        try:
            yield bar
        finally:
            bar.close()


def _total(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except StorageError:
        return None  # The work itself may go well.


def _batch_size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not 1 <= size <= MAX_BATCH_SIZE:
        raise ArgumentTypeError(f"{text!r} isn't an integer from 1 to {MAX_BATCH_SIZE}")
    return size
