"""The journal in a database: a row for each incident, with columns for searches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import connections, transaction
from django.db.models import Q, QuerySet

from recovery_app.storages.database.columns import storable_text
from recovery_app.storages.database.tables import model_of
from recovery_app.storages.journal import (
    IncidentCursor,
    decode_incident,
    encode_incident,
    page_of,
)
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits

if TYPE_CHECKING:
    from recovery_app.models import JournalEntry

    Rows = QuerySet[JournalEntry]

PRUNE_SECONDS = 60
PRUNE_SHARE = 20
"""A process removes what is too much once it has added one in so many of all that are kept."""


class DatabaseJournal:
    """The table of `recovery_app.models.JournalEntry`."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._pruned_at: float | None = None
        self._added = 0

    def add(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        """Store incidents; now and then, remove those over the limits."""
        model = self._rows.model
        ignores = connections[self._database].features.supports_ignore_conflicts
        rows = [model(**_columns_of(incident)) for incident in incidents]
        # In a transaction of somebody else's, an error must leave that usable.
        with transaction.atomic(using=self._database):
            self._rows.bulk_create(rows, ignore_conflicts=ignores)
        self._added += len(rows)
        if self._is_pruning_due(limits):
            self.prune(limits)

    def prune(self, limits: JournalLimits) -> int:
        """Remove the incidents over the limits; return how many."""
        self._pruned_at, self._added = time.monotonic(), 0
        times = self._rows.order_by("-at_us").values_list("at_us", flat=True)
        surplus = next(iter(times[limits.max_entries : limits.max_entries + 1]), None)
        too_much = Q(at_us__lt=limits.oldest_us)
        if surplus is not None:
            too_much |= Q(at_us__lte=surplus)
        with transaction.atomic(using=self._database):
            return self._rows.filter(too_much)._raw_delete(self._database)

    def page(self, query: IncidentQuery) -> IncidentPage:
        """Return a page of incidents."""
        data = _matching(self._rows, query).values_list("data", flat=True)
        found = map(decode_incident, data[: query.limit + 1])
        return page_of([each for each in found if each is not None], query.limit)

    def _is_pruning_due(self, limits: JournalLimits) -> bool:
        if self._pruned_at is None or self._added * PRUNE_SHARE >= limits.max_entries:
            return True
        return time.monotonic() - self._pruned_at >= PRUNE_SECONDS

    @property
    def _rows(self) -> Rows:
        model: type[JournalEntry] = model_of("JournalEntry")
        return model._default_manager.using(self._database)


def _columns_of(incident: Incident) -> dict[str, str | int]:
    return {
        "uid": incident.uid,
        "at_us": incident.at_us,
        "kind": incident.kind,
        "reason": incident.reason,
        "person": incident.person,
        "user_pk": storable_text(incident.user),
        "view": storable_text(incident.view),
        "data": encode_incident(incident),
    }


def _matching(rows: Rows, query: IncidentQuery) -> Rows:
    """Return the rows that match a query, in its order."""
    found = rows.filter(at_us__gte=query.since_us).order_by("-at_us", "-uid")
    if query.until_us is not None:
        found = found.filter(at_us__lt=query.until_us)
    for name in ("kind", "reason"):
        if getattr(query, name):
            found = found.filter(**{name: getattr(query, name)})
    if query.view:
        found = found.filter(_exactly("view", query.view))
    whose = Q(person__in=query.persons) if query.persons else Q()
    if query.user:
        whose |= _exactly("user_pk", query.user)
    behind = IncidentCursor.read(query.cursor)
    if behind is not None:
        found = found.filter(Q(at_us__lt=behind.at_us) | Q(at_us=behind.at_us, uid__lt=behind.uid))
    return found.filter(whose)


def _exactly(column: str, text: str) -> Q:
    # One of the two is case-sensitive on every database.
    text = storable_text(text)
    return Q(**{column: text, f"{column}__startswith": text})
