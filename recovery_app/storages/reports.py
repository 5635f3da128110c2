"""The reports of processes on their pages, as storages keep them: bytes, for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from recovery_app.exceptions import StorageError

Result = TypeVar("Result")
MAX_REPORTS = 500
"""How many reports a storage returns at most: the latest ones."""


class ReportCalls:
    """What a storage does for the reports; by default it says that it keeps none."""

    supports_reports: bool = False
    """Whether `put_report` and `list_reports` work."""

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        """Store the report of a process for ``ttl`` seconds, in place of its last one.

        ``uid`` has 16 hexadecimal digits.
        """
        raise StorageError(_refusal(self))

    def list_reports(self) -> list[bytes]:
        """Return the reports of all processes, `MAX_REPORTS` at most, in any order."""
        raise StorageError(_refusal(self))

    async def alist_reports(self) -> list[bytes]:
        """Return what `list_reports` returns, without blocking the event loop."""
        return await self.run(self.list_reports)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call without blocking the event loop."""
        raise NotImplementedError


def _refusal(storage: object) -> str:
    return f"{type(storage).__name__} keeps no reports of processes."
