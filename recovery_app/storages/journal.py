"""The journal of losses, as storages keep it: methods, encoding and cursors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any, NamedTuple, TypeVar

from recovery_app.exceptions import StorageError
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits

Result = TypeVar("Result")
_DEFAULTS = {field.name: field.default for field in fields(Incident)}
_CURSOR = re.compile(r"([0-9]{1,17})\.([0-9a-f]{16})")


class JournalCalls:
    """The methods of a storage that keeps the journal; by default they raise an error."""

    supports_journal: bool = False
    """Whether `add_incidents`, `list_incidents` and `prune_incidents` work."""

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        """Store incidents, and now and then remove those over the limits.

        An incident that is already stored, by its ``uid``, is stored only once.
        """
        raise StorageError(_refusal(self))

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        """Return a page of incidents, the newest first; raise `ValueError` for a wrong cursor."""
        raise StorageError(_refusal(self))

    def prune_incidents(self, limits: JournalLimits) -> int:
        """Remove the incidents over the limits now; return how many."""
        raise StorageError(_refusal(self))

    async def alist_incidents(self, query: IncidentQuery) -> IncidentPage:
        """Return what `list_incidents` returns, without blocking the event loop."""
        return await self.run(partial(self.list_incidents, query))

    async def aprune_incidents(self, limits: JournalLimits) -> int:
        """Return what `prune_incidents` returns, without blocking the event loop."""
        return await self.run(partial(self.prune_incidents, limits))

    async def run(self, call: Callable[[], Result]) -> Result:
        """Make a blocking call without blocking the event loop."""
        raise NotImplementedError


class IncidentCursor(NamedTuple):
    """The position of a page's last incident."""

    at_us: int
    uid: str

    @classmethod
    def read(cls, text: str | None) -> IncidentCursor | None:
        """Parse a cursor; raise `ValueError` for one that no storage returned."""
        if text is None:
            return None
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("The cursor isn't one of a journal.")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.at_us}.{self.uid}"


def cursor_of(incident: Incident) -> IncidentCursor:
    """Return the position of an incident, by which a journal is sorted."""
    return IncidentCursor(incident.at_us, incident.uid)


def page_of(found: Sequence[Incident], limit: int) -> IncidentPage:
    """Return the first ``limit`` incidents as a page; there is a next one if there are more."""
    page = list(found[:limit])
    more = len(found) > limit
    return IncidentPage(items=page, next_cursor=str(cursor_of(page[-1])) if more else None)


def encode_incident(incident: Incident) -> str:
    """Return an incident as JSON of ASCII alone, which every database can store."""
    facts = asdict(incident)
    return json.dumps({name: facts[name] for name in facts if facts[name] != _DEFAULTS[name]})


def decode_incident(text: str | bytes) -> Incident | None:
    """Return the incident of `encode_incident`, or ``None`` for what isn't one.

    What a newer version has added is left out.
    """
    try:
        facts: dict[str, Any] = json.loads(text)
        known = {name: value for name, value in facts.items() if name in _DEFAULTS}
        return Incident(**known)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


class Needles:
    """The pieces of JSON that an incident of a query must have, to leave out most of the others.

    Parsing is most of what a search through all incidents costs.
    """

    def __init__(self, query: IncidentQuery) -> None:
        wanted = filter(None, (query.kind, query.reason, query.view))
        self._all = [json.dumps(text).encode() for text in wanted]
        self._any = [json.dumps(text).encode() for text in (*query.persons, query.user) if text]

    def may_be_in(self, text: bytes) -> bool:
        """Return false only for an incident that the query doesn't select."""
        if not all(needle in text for needle in self._all):
            return False
        return not self._any or any(needle in text for needle in self._any)


def _refusal(storage: object) -> str:
    return f"{type(storage).__name__} keeps no journal."
