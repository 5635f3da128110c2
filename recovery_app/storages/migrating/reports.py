"""The reports of processes while a site moves: written to the new storage, read from both."""

from __future__ import annotations

from contextlib import suppress

from recovery_app.exceptions import StorageError
from recovery_app.storages.base import Storage
from recovery_app.storages.reports import ReportCalls


class MigratingReports(ReportCalls):
    """The reports in ``new``, with those of processes that know ``old`` only."""

    new: Storage
    old: Storage

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        self.new.put_report(uid, data, ttl)

    def list_reports(self) -> list[bytes]:
        found = self.new.list_reports()
        with suppress(StorageError):
            found += self.old.list_reports()
        return found

    async def alist_reports(self) -> list[bytes]:
        found = await self.new.alist_reports()
        with suppress(StorageError):
            found += await self.old.alist_reports()
        return found
