"""The journals of both storages as one: written to the new one, read from both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from recovery_app.exceptions import StorageError
from recovery_app.storages.base import Storage
from recovery_app.storages.journal import cursor_of
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits


class MigratingJournal:
    """A journal in ``new``, with the earlier entries of ``old`` as long as that can be reached."""

    def __init__(self, new: Storage, old: Storage) -> None:
        self._new = new
        self._old = old if old.supports_journal else None

    def add(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        """Store incidents."""
        self._new.add_incidents(incidents, limits)

    def page(self, query: IncidentQuery) -> IncidentPage:
        """Return a page of incidents."""
        pages = [self._new.list_incidents(query)]
        if self._old is not None:
            with suppress(StorageError):
                pages.append(self._old.list_incidents(query))
        return _merged(pages, query.limit)

    async def apage(self, query: IncidentQuery) -> IncidentPage:
        """Return what `page` returns, without blocking the event loop."""
        pages = [await self._new.alist_incidents(query)]
        if self._old is not None:
            with suppress(StorageError):
                pages.append(await self._old.alist_incidents(query))
        return _merged(pages, query.limit)

    def prune(self, limits: JournalLimits) -> int:
        """Remove the entries over the limits; return how many."""
        removed = self._new.prune_incidents(limits)
        if self._old is not None:
            with suppress(StorageError):
                removed += self._old.prune_incidents(limits)
        return removed


def _merged(pages: Sequence[IncidentPage], limit: int) -> IncidentPage:
    # Positions are those of the incidents, so they mean the same in each storage.
    found = {cursor_of(each): each for page in pages for each in page.items}
    places = sorted(found, reverse=True)
    more = len(places) > limit or any(page.next_cursor for page in pages)
    shown = places[:limit]
    return IncidentPage(
        items=[found[place] for place in shown], next_cursor=str(shown[-1]) if more else None
    )
