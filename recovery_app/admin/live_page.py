"""The template context of the page "Live pages", read from a manager."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.reports import CRASHED_JOIN, REFUSED_JOIN
from recovery_app._live.incidents import RECOVERED
from recovery_app.admin import formatting, live_rows
from recovery_app.admin.error_messages import collect_errors
from recovery_app.admin.journal_words import REASONS
from recovery_app.admin.live_rows import LiveParams, Opened
from recovery_app.admin.outcomes import TITLES
from recovery_app.admin.persons import Persons, PersonSearch
from recovery_app.admin.presence import is_alive
from recovery_app.admin.timeline import (
    MINUTE_US,
    MINUTES,
    Timeline,
    start_of_hour,
    timeline_of_counts,
)
from recovery_app.clock import to_us
from recovery_app.values import ProcessReport

Context = dict[str, Any]
WENT_WELL = frozenset(outcome.value for outcome in RECOVERED)
OUTCOMES: Mapping[str, str | Promise] = {
    "new": gettext_lazy("New page"),
    **{outcome.value: title for outcome, title in TITLES.items()},
    REFUSED_JOIN: gettext_lazy("Join refused"),
    CRASHED_JOIN: REASONS[CRASHED_JOIN],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinHour:
    """How the joins of the last hour went, in all processes."""

    timeline: Timeline
    outcomes: list[tuple[str | Promise, str]]
    """The title and the number of each outcome that there was."""
    badly: str
    """How many did not go well."""


def live_page(
    manager: RecoveryManager,
    query: Mapping[str, str],
    persons: Persons,
    *,
    limit: int,
    max_gone: int,
    url_of: Callable[[str], str],
) -> Context:
    """Return the processes, how their joins went, and the pages that the parameters select."""
    params, errors, now = LiveParams.from_query(query), list[str](), manager.clock()
    reporter, storage = manager.reporter, manager.storage
    reports: list[ProcessReport] = []
    search: PersonSearch | None = None
    if reporter.is_on:
        with collect_errors(errors):
            reports = manager.processes()
            search = persons.search(user=params.user, digest=params.person)
    living = [report for report in reports if is_alive(report, now)]
    every = [(page, report) for report in living for page in report.pages]
    opened = [] if errors else [each for each in every if params.admits(each, search)]
    rows = live_rows.process_rows(reports, params, now=now)
    return {
        "title": _("Live pages"),
        "storage": type(storage).__name__,
        "has_reports": reporter.is_on,
        "is_off": not reporter.is_wanted,
        "is_shared": storage.is_shared,
        "params": params,
        "may_name": persons.may_name,
        "person": search.person if search else None,
        "errors": errors,
        "totals": _totals(living, every),
        "hour": _hour_of(reports, now) if reports else None,
        "processes": rows[: len(living) + max_gone],
        "left_out": max(0, len(rows) - len(living) - max_gone),
        "is_complete": all(len(report.pages) == report.topics for report in living),
        "filters": live_rows.node_filter(reports, params, now),
        **_rows_of(opened, persons, params, search, limit=limit, url_of=url_of, now=now),
    }


def _rows_of(
    opened: list[Opened],
    persons: Persons,
    params: LiveParams,
    search: PersonSearch | None,
    *,
    limit: int,
    url_of: Callable[[str], str],
    now: float,
) -> Context:
    """Return the pages of the person who is searched for, else how many everybody has."""
    known = persons.find(page.person for page, _ in opened)
    people = live_rows.person_rows(opened, known, params, may_name=persons.may_name)
    pages = []
    if search is not None:
        pages = live_rows.page_rows(
            opened, known, may_name=persons.may_name, url_of=url_of, now=now
        )
    return {
        "people": people[:limit],
        "number_of_people": formatting.number(len(people)),
        "has_more_people": len(people) > limit,
        "pages": pages[:limit],
        "number_of_pages": formatting.number(len(pages)),
        "has_more_pages": len(pages) > limit,
    }


def _totals(living: Iterable[ProcessReport], opened: Iterable[Opened]) -> Context:
    living = list(living)
    return {
        "pages": formatting.number(sum(report.topics for report in living)),
        "connections": formatting.number(sum(report.connections for report in living)),
        "persons": formatting.number(len({page.person for page, _ in opened} - {""})),
        "processes": formatting.number(len(living)),
        "nodes": formatting.number(len({report.node for report in living})),
    }


def _hour_of(reports: Iterable[ProcessReport], now: float) -> JoinHour:
    since_us = start_of_hour(to_us(now) + 1)
    first = since_us // MINUTE_US
    counts, badly, by_outcome = Counter[int](), Counter[int](), Counter[str]()
    for report in reports:
        for minute, found in report.joins.items():
            if 0 <= minute - first < MINUTES:
                by_outcome.update(found)
                counts[minute - first] += sum(found.values())
                badly[minute - first] += sum(
                    number for outcome, number in found.items() if outcome not in WENT_WELL
                )
    shown = [*OUTCOMES, *sorted(by_outcome.keys() - OUTCOMES.keys())]
    return JoinHour(
        timeline=timeline_of_counts(counts, since_us, marked=badly),
        outcomes=[
            (OUTCOMES.get(outcome, outcome), formatting.number(by_outcome[outcome]))
            for outcome in shown
            if by_outcome[outcome] or outcome in WENT_WELL
        ],
        badly=formatting.number(badly.total()),
    )
