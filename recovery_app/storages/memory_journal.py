"""The journal of one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from recovery_app._concurrency import register_after_fork
from recovery_app.storages.journal import IncidentCursor, cursor_of, page_of
from recovery_app.values import Incident, IncidentPage, IncidentQuery, JournalLimits


class MemoryJournal:
    """Incidents by the order in which they happened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._incidents: dict[IncidentCursor, Incident] = {}
        register_after_fork(self)

    def add(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        """Store incidents and remove those over the limits."""
        with self._lock:
            self._incidents.update((cursor_of(each), each) for each in incidents)
        self.prune(limits)

    def prune(self, limits: JournalLimits) -> int:
        """Remove the incidents over the limits; return how many."""
        with self._lock:
            ordered = sorted(self._incidents)
            surplus = len(ordered) - limits.max_entries
            removed = [
                place
                for index, place in enumerate(ordered)
                if index < surplus or place.at_us < limits.oldest_us
            ]
            for place in removed:
                del self._incidents[place]
            return len(removed)

    def page(self, query: IncidentQuery) -> IncidentPage:
        """Return a page of incidents."""
        behind = IncidentCursor.read(query.cursor)
        with self._lock:
            found = [
                self._incidents[place]
                for place in sorted(self._incidents, reverse=True)
                if behind is None or place < behind
            ]
        return page_of(list(filter(query.admits, found)), query.limit)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._lock = threading.Lock()
