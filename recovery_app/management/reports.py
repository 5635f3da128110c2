"""Commands whose result is a report: sentences, or a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from recovery_app.management.quiet import QuietCommand


class ReportingCommand(QuietCommand):
    """A command that prints a report, after an error too, whose exit status is 1.

    A report is a dataclass with a field ``error``.
    """

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json", action="store_true", help="Print the result as a line of JSON."
        )

    def is_verbose(self, options: Mapping[str, Any]) -> bool:
        """Return whether the command prints sentences."""
        return options["verbosity"] > 0 and not options["json"]

    def finish(self, report: Any, options: Mapping[str, Any], failure: Exception | None) -> None:
        """Print the report; raise `CommandError` if there was a failure."""
        if failure is not None:
            report.error = str(failure)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        elif self.is_verbose(options):
            self.print_report(report)
        if failure is not None:
            raise CommandError(report.error) from failure

    def print_report(self, report: Any) -> None:
        """Print a report as sentences."""
        raise NotImplementedError
