"""The template context of the journal's page, and its export, read from a manager."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import journal_list
from recovery_app.admin.error_messages import collect_errors
from recovery_app.admin.journal_list import JournalParams
from recovery_app.admin.persons import Persons, PersonSearch
from recovery_app.admin.timeline import MINUTE_US, MINUTES, Timeline, start_of_hour, timeline
from recovery_app.clock import to_us
from recovery_app.storages.browsing import moment
from recovery_app.values import Incident, IncidentPage, IncidentQuery

Context = dict[str, Any]
MAX_CHARTED = 5000
EXPORT_PAGE = 1000
COLUMNS = (
    "time", "kind", "reason", "part", "cause", "handling", "person", "user", "view", "topic",
    "shown_hash", "socket_hash", "node", "process", "token_seconds", "left_out",
)  # fmt: skip
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, the last four as written in East Asia."""
_BREAKS = ("\t", "\r", "\n")
"""What spreadsheets take for the beginning of another cell."""


def journal_page(
    manager: RecoveryManager,
    query: Mapping[str, str],
    persons: Persons,
    *,
    limit: int,
    url_of: Callable[[str], str],
) -> Context:
    """Return the page of the journal that the query parameters select, and its hour."""
    params = JournalParams.from_query(query)
    errors: list[str] = []
    page, search, hour = IncidentPage(items=[]), None, None
    storage, is_off = manager.storage, not manager.journal.limits().max_entries
    has_journal = storage.supports_journal and not is_off
    if has_journal:
        with collect_errors(errors):
            search = persons.search(user=params.user, digest=params.person)
            asked = params.query(search, now=manager.clock(), limit=limit)
            page = manager.incidents(asked)
            hour = _hour_of(manager, asked)
    known = persons.find(each.person for each in page.items)
    following = page.next_cursor
    return {
        "title": _("Journal"),
        "storage": type(storage).__name__,
        "has_journal": has_journal,
        "is_off": is_off,
        "is_shared": storage.is_shared,
        "params": params,
        "may_name": persons.may_name,
        "person": search.person if search else None,
        "errors": errors,
        "hour": hour,
        "rows": journal_list.make_rows(page.items, known, may_name=persons.may_name, url_of=url_of),
        "filters": journal_list.make_filters(params) if has_journal else [],
        "first_link": params.link() if params.cursor else "",
        "next_link": params.link(cursor=following) if following else "",
        "query_string": params.link(),
    }


def exported(
    manager: RecoveryManager,
    query: Mapping[str, str],
    persons: Persons,
    *,
    form: str,
    limit: int,
) -> str:
    """Return what the query parameters select as CSV or JSON, ``limit`` entries at most.

    Raise `StorageError`, or `ValueError` for invalid parameters.
    """
    params = replace(JournalParams.from_query(query), cursor="")
    search: PersonSearch | None = persons.search(user=params.user, digest=params.person)
    asked = params.query(search, now=manager.clock(), limit=min(limit, EXPORT_PAGE))
    incidents, is_complete = _collect(manager, asked, limit)
    rows = (_facts(each, may_name=persons.may_name) for each in incidents)
    if form == "json":
        found = {"complete": is_complete, "entries": list(rows)}
        return json.dumps(found, indent=1)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue()


def _hour_of(manager: RecoveryManager, asked: IncidentQuery) -> Timeline:
    """Return the last hour of what a query selects."""
    until_us = min(to_us(manager.clock()) + 1, asked.until_us or 2**62)
    since_us = start_of_hour(until_us)
    # Incidents before the query's own start aren't among those that it selects.
    hour = replace(
        asked,
        since_us=max(since_us, asked.since_us),
        until_us=min(since_us + MINUTES * MINUTE_US, asked.until_us or 2**62),
        cursor=None,
        limit=MAX_CHARTED,
    )
    found = manager.incidents(hour)
    times = (each.at_us for each in found.items)
    return timeline(times, since_us, is_complete=found.next_cursor is None)


def _collect(
    manager: RecoveryManager, asked: IncidentQuery, limit: int
) -> tuple[list[Incident], bool]:
    """Return the incidents of all pages, and whether these are all."""
    found: list[Incident] = []
    for page in _pages(manager, asked):
        found += page.items
        if len(found) >= limit:
            return found[:limit], len(found) == limit and page.next_cursor is None
    return found, True


def _pages(manager: RecoveryManager, asked: IncidentQuery) -> Iterator[IncidentPage]:
    while True:
        page = manager.incidents(asked)
        yield page
        if page.next_cursor is None:
            return
        asked = replace(asked, cursor=page.next_cursor)


def _facts(incident: Incident, *, may_name: bool) -> dict[str, Any]:
    at = moment(incident.at_us)
    values = {name: getattr(incident, name, "") for name in COLUMNS}
    return {
        **values,
        "time": "" if at is None else at.isoformat(timespec="milliseconds"),
        "user": incident.user if may_name else "",
    }


def _cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula: clients choose some of them."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    # Some programs leave out the space before a formula.
    is_risky = value.startswith(_BREAKS) or value.lstrip().startswith(_FORMULAS)
    return f"'{value}" if is_risky else value
