"""The journal's page: the parameters of a request, and the rows, links and filters for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app.admin.error_messages import InvalidInput
from recovery_app.admin.formatting import duration
from recovery_app.admin.journal_words import KINDS, PARTS, REASONS, REASONS_OF
from recovery_app.admin.listing import Filter, FilterChoice
from recovery_app.admin.persons import NOBODY, Person, PersonSearch
from recovery_app.clock import to_us
from recovery_app.storages.browsing import moment
from recovery_app.values import Incident, IncidentQuery

HOUR = 3600
PAST: Mapping[str, Promise] = {
    "": _("Any time"),
    str(HOUR): _("Past hour"),
    str(24 * HOUR): _("Past 24 hours"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalParams:
    """The query parameters of the page, by their names in the URL."""

    user: str = ""
    """The name or the primary key of a user."""
    person: str = ""
    """The digest of a person; ignored where there is a ``user``."""
    view: str = ""
    kind: str = ""
    reason: str = ""
    since: str = ""
    until: str = ""
    past: str = ""
    """Seconds before now; ignored where there is ``since`` or ``until``."""
    cursor: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> JournalParams:
        """Parse a query string; ignore a kind, a reason or a time that there isn't."""
        params = cls(**{name: query.get(name, "").strip() for name in cls.__slots__})
        kind = params.kind if params.kind in KINDS else ""
        has_times = bool(params.since or params.until)
        return replace(
            params,
            person="" if params.user else params.person,
            kind=kind,
            reason=params.reason if params.reason in REASONS_OF.get(kind, REASONS) else "",
            past=params.past if params.past in PAST and not has_times else "",
        )

    @property
    def is_filtered(self) -> bool:
        """Return whether anything narrows the journal."""
        return replace(self, cursor="") != JournalParams()

    def link(self, **changes: str) -> str:
        """Return the query string of the first page with some parameters changed."""
        changed = replace(self, **{"cursor": "", **changes})
        params = {name: getattr(changed, name) for name in self.__slots__}
        return f"?{urlencode({name: value for name, value in params.items() if value})}"

    def query(self, search: PersonSearch | None, *, now: float, limit: int) -> IncidentQuery:
        """Return the query for the storage; raise `InvalidInput` for what is no time."""
        since, until = _moment_of(self.since), _moment_of(self.until)
        since_us = 0 if since is None else to_us(since.timestamp())
        if self.past:
            since_us = to_us(now - int(self.past))
        user = search.person.user if search else None
        return IncidentQuery(
            since_us=max(0, since_us),
            until_us=None if until is None else to_us(until.timestamp()),
            persons=search.digests if search else (),
            user=user.pk if user else "",
            view=self.view,
            kind=self.kind,
            reason=self.reason,
            cursor=self.cursor or None,
            limit=limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLink:
    """A socket's hash, with the URL of its snapshot for who may see that."""

    hash: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """A row of the page."""

    incident: Incident
    person: Person
    user: str
    """The primary key of the user, where it was recorded and may be shown."""
    sockets: list[SocketLink]

    @property
    def at(self) -> datetime | None:
        """Return when it happened."""
        return moment(self.incident.at_us)

    @property
    def kind(self) -> str | Promise:
        """Return what happened."""
        return KINDS.get(self.incident.kind, self.incident.kind)

    @property
    def reason(self) -> str | Promise:
        """Return why."""
        return REASONS.get(self.incident.reason, self.incident.reason)

    @property
    def part(self) -> str | Promise:
        """Return which part of a rejected token didn't fit."""
        return PARTS.get(self.incident.part, self.incident.part)

    @property
    def token_age(self) -> str:
        """Return how old the token was that the page showed."""
        seconds = self.incident.token_seconds
        return "" if seconds is None else duration(seconds)


def make_rows(
    items: list[Incident],
    persons: Mapping[str, Person],
    *,
    may_name: bool,
    url_of: Callable[[str], str],
) -> list[JournalRow]:
    """Return the rows for some incidents, with the ``persons`` that digests stand for."""
    return [
        JournalRow(
            incident=incident,
            person=persons.get(incident.person, NOBODY),
            user=incident.user if may_name else "",
            sockets=[
                SocketLink(hash=each, url=url_of(each))
                for each in dict.fromkeys((incident.shown_hash, incident.socket_hash))
                if each
            ],
        )
        for incident in items
    ]


def make_filters(params: JournalParams) -> list[Filter]:
    """Return the filters by time, kind and reason."""
    has_times = bool(params.since or params.until)
    times = [
        FilterChoice(
            text=text,
            link=params.link(past=past, since="", until=""),
            is_chosen=params.past == past and not has_times,
        )
        for past, text in PAST.items()
    ]
    kinds = {"": _("All"), **KINDS}
    reasons = {"": _("All"), **REASONS_OF.get(params.kind, REASONS)}
    return [
        Filter(title=_("time"), choices=times),
        Filter(
            title=_("kind"),
            choices=[
                FilterChoice(
                    text=text, link=params.link(kind=kind, reason=""), is_chosen=params.kind == kind
                )
                for kind, text in kinds.items()
            ],
        ),
        Filter(
            title=_("reason"),
            choices=[
                FilterChoice(
                    text=text, link=params.link(reason=reason), is_chosen=params.reason == reason
                )
                for reason, text in reasons.items()
            ],
        ),
    ]


def _moment_of(text: str) -> datetime | None:
    """Return a local time of the form's, or of a link's with a zone of its own."""
    if not text:
        return None
    try:
        found = parse_datetime(text)
        if found is None:
            raise ValueError
        return timezone.make_aware(found) if timezone.is_naive(found) else found
    except (ValueError, OverflowError):
        raise InvalidInput(
            str(_("“%(text)s” isn’t a time. Write one such as 2026-11-24 03:12.")) % {"text": text}
        ) from None
