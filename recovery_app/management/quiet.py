"""Commands that print nothing under ``--verbosity 0`` but errors, not even what checks say."""

from __future__ import annotations

import io
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper


class QuietCommand(BaseCommand):
    """A command for cron, which sends a mail for each line that it prints."""

    _is_quiet = False

    def get_check_kwargs(self, options: dict[str, Any]) -> dict[str | None, Any]:
        """Return the arguments of `check`, and note the verbosity."""
        self._is_quiet = options["verbosity"] == 0
        return super().get_check_kwargs(options)

    def check(self, *args: Any, **options: Any) -> None:
        """Run the system checks; print no warnings if the command is to be quiet."""
        stderr = self.stderr
        if self._is_quiet:
            self.stderr = OutputWrapper(io.StringIO())
        try:
            super().check(*args, **options)
        finally:
            self.stderr = stderr
