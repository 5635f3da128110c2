"""The page "Live pages": the parameters of a request, and the rows of its tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from django.utils.translation import gettext_lazy as _

from recovery_app.admin import formatting
from recovery_app.admin.listing import Filter, FilterChoice
from recovery_app.admin.persons import NOBODY, Person, PersonSearch
from recovery_app.admin.presence import age_of, is_alive
from recovery_app.clock import MICROSECONDS
from recovery_app.storages.browsing import moment
from recovery_app.values import LivePage, ProcessReport

Opened = tuple[LivePage, ProcessReport]
"""A page, and the process that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveParams:
    """The query parameters of the page, by their names in the URL."""

    user: str = ""
    """The name or the primary key of a user."""
    person: str = ""
    """The digest of a person; ignored where there is a ``user``."""
    node: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> LiveParams:
        """Parse a query string."""
        params = cls(**{name: query.get(name, "").strip() for name in cls.__slots__})
        return replace(params, person="" if params.user else params.person)

    @property
    def is_filtered(self) -> bool:
        """Return whether anything narrows what is shown of pages."""
        return self != LiveParams()

    def link(self, **changes: str) -> str:
        """Return the query string with some parameters changed."""
        changed = replace(self, **changes)
        params = {name: getattr(changed, name) for name in self.__slots__}
        return f"?{urlencode({name: value for name, value in params.items() if value})}"

    def admits(self, opened: Opened, search: PersonSearch | None) -> bool:
        """Return whether a page is among those that are asked for."""
        page, report = opened
        if self.node not in ("", report.node):
            return False
        if search is None:
            return True
        user = search.person.user
        return page.person in search.digests or bool(user and page.user and page.user == user.pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """A process."""

    report: ProcessReport
    is_alive: bool
    running: str
    age: str
    joins: str
    link: str

    @property
    def pages(self) -> str:
        """Return how many pages it has open."""
        return formatting.number(self.report.topics)

    @property
    def listed(self) -> str:
        """Return how many of them are known one by one, if that isn't all of them."""
        listed = len(self.report.pages)
        return formatting.number(listed) if listed < self.report.topics else ""

    @property
    def connections(self) -> str:
        """Return how many WebSockets it has."""
        return formatting.number(self.report.connections)

    @property
    def at(self) -> datetime | None:
        """Return when it reported."""
        return moment(self.report.at_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    """A person with pages that are open."""

    person: Person
    user: str
    """The primary key of the user, where it was recorded and may be shown."""
    count: int
    nodes: list[str]
    views: list[str]
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRow:
    """A page that is open."""

    page: LivePage
    report: ProcessReport
    person: Person
    user: str
    url: str
    """Where its snapshot is, for who may see that."""
    since: str


@dataclass(slots=True)
class _Gathered:
    """The pages of one person."""

    person: Person
    user: str = ""
    count: int = 0
    nodes: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)


def process_rows(
    reports: Iterable[ProcessReport], params: LiveParams, *, now: float
) -> list[ProcessRow]:
    """Return the processes: those that are there by node, then those that are gone."""
    rows = [
        ProcessRow(
            report=report,
            is_alive=is_alive(report, now),
            running=formatting.duration(max(0, report.at_us - report.started_us) / MICROSECONDS),
            age=formatting.duration(age_of(report, now)),
            joins=formatting.number(sum(sum(each.values()) for each in report.joins.values())),
            link=params.link(node=report.node),
        )
        for report in reports
    ]
    living = [row for row in rows if row.is_alive]
    living.sort(key=lambda row: (row.report.node, row.report.process))
    # As they came: whoever was there last comes first.
    return living + [row for row in rows if not row.is_alive]


def person_rows(
    opened: Iterable[Opened],
    persons: Mapping[str, Person],
    params: LiveParams,
    *,
    may_name: bool,
) -> list[PersonRow]:
    """Return the persons, whoever has most pages first; one person may have several digests."""
    found: dict[str, _Gathered] = {}
    for page, report in opened:
        person = persons.get(page.person, NOBODY)
        gathered = found.setdefault(_name_of(person), _Gathered(person))
        gathered.count += 1
        gathered.user = gathered.user or (page.user if may_name else "")
        gathered.nodes.add(report.node)
        gathered.views.add(page.view or page.topic)
    rows = [
        PersonRow(
            person=each.person,
            user=each.user,
            count=each.count,
            nodes=sorted(each.nodes),
            views=sorted(each.views),
            link=params.link(user="", person=each.person.digest),
        )
        for each in found.values()
    ]
    return sorted(rows, key=lambda row: (-row.count, row.person.text))


def page_rows(
    opened: Iterable[Opened],
    persons: Mapping[str, Person],
    *,
    may_name: bool,
    url_of: Callable[[str], str],
    now: float,
) -> list[PageRow]:
    """Return the pages, the newest first."""
    newest = sorted(opened, key=lambda each: each[0].since_us, reverse=True)
    return [
        PageRow(
            page=page,
            report=report,
            person=persons.get(page.person, NOBODY),
            user=page.user if may_name else "",
            url=url_of(page.socket_hash) if page.socket_hash else "",
            since=formatting.duration(max(0.0, now - page.since_us / MICROSECONDS)),
        )
        for page, report in newest
    ]


def node_filter(reports: Iterable[ProcessReport], params: LiveParams, now: float) -> list[Filter]:
    """Return the filter by node, where there are several."""
    counts: dict[str, int] = defaultdict(int)
    for report in reports:
        if is_alive(report, now):
            counts[report.node] += report.topics
    if params.node:
        counts[params.node] += 0
    if len(counts) < 2:
        return []
    choices = [
        FilterChoice(text=_("All"), link=params.link(node=""), is_chosen=not params.node),
        *(
            FilterChoice(
                text=f"{node} ({formatting.number(counts[node])})",
                link=params.link(node=node),
                is_chosen=params.node == node,
            )
            for node in sorted(counts)
        ),
    ]
    return [Filter(title=_("node"), choices=choices)]


def _name_of(person: Person) -> str:
    return f"user {person.user.pk}" if person.user is not None else person.digest
