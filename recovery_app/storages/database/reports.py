"""The reports of processes in a database: a row for each process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from recovery_app.clock import Clock, to_us
from recovery_app.storages.database.tables import model_of
from recovery_app.storages.reports import MAX_REPORTS, ReportCalls

if TYPE_CHECKING:
    from recovery_app.models import StoredReport

    Rows = QuerySet[StoredReport]


class DatabaseReports(ReportCalls):
    """The calls for reports, on the table of `recovery_app.models.StoredReport`."""

    supports_reports = True

    database: str
    clock: Clock
    if TYPE_CHECKING:

        def _errors(self, operation: str) -> AbstractContextManager[None]: ...

    def put_report(self, uid: str, data: bytes, ttl: float) -> None:
        now = self.clock()
        row = {"data": data, "expires_us": to_us(now + ttl)}
        # In a transaction of somebody else's, an error must leave that usable.
        with self._errors("report"), transaction.atomic(using=self.database):
            if self._reports.filter(uid=uid).update(**row):
                return
            # The table grows only with the number of processes.
            self._reports.filter(expires_us__lte=to_us(now))._raw_delete(self.database)
            self._reports.bulk_create([self._reports.model(uid=uid, **row)])

    def list_reports(self) -> list[bytes]:
        with self._errors("listing"):
            live = self._reports.filter(expires_us__gt=to_us(self.clock()))
            latest = live.order_by("-expires_us").values_list("data", flat=True)
            return list(map(bytes, latest[:MAX_REPORTS]))

    @property
    def _reports(self) -> Rows:
        model: type[StoredReport] = model_of("StoredReport")
        return model._default_manager.using(self.database)
