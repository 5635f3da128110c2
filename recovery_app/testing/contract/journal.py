"""Contract tests of the journal, where the storage keeps one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from recovery_app.exceptions import StorageError
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import Clock, ContractBase
from recovery_app.values import Incident, IncidentQuery, JournalLimits

EVERYTHING = IncidentQuery()
WEEK_SECONDS = 7 * 86_400
STARTED_US = 1_700_000_000_000_000
ADA, BOB = "a" * 32, "b" * 32


def limits(
    max_entries: int = 100, oldest_us: int = 0, max_age_seconds: float = WEEK_SECONDS
) -> JournalLimits:
    """Return limits that nothing is over by default."""
    return JournalLimits(
        max_entries=max_entries, max_age_seconds=max_age_seconds, oldest_us=oldest_us
    )


def incident(number: int, **facts: Any) -> Incident:
    """Return an incident that happened so many microseconds after a fixed time."""
    found = Incident(
        uid=f"{number:016x}", at_us=STARTED_US + number, kind="recovery", reason="not_found"
    )
    return replace(found, **facts)


def numbers(incidents: Iterable[Incident]) -> list[int]:
    """Return which incidents these are."""
    return [int(each.uid, 16) for each in incidents]


class JournalTests(ContractBase):
    """Incidents are returned as they were stored, the newest first, until they are pruned."""

    @pytest.fixture
    def journal(self, variant: Storage) -> Storage:
        """Return the storage, if it keeps a journal; a test of one that doesn't is left out."""
        if not variant.supports_journal:
            for call in (
                lambda: variant.add_incidents([incident(1)], limits()),
                lambda: variant.list_incidents(EVERYTHING),
                lambda: variant.prune_incidents(limits()),
            ):
                with pytest.raises(StorageError, match="keeps no journal"):
                    call()
            pytest.skip("This storage keeps no journal.")
        return variant

    def found(self, journal: Storage, **query: Any) -> list[int]:
        """Return which incidents a query finds, from all pages."""
        cursor: str | None = None
        found: list[int] = []
        while True:
            page = journal.list_incidents(IncidentQuery(cursor=cursor, **query))
            found += numbers(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return found

    def test_an_incident_comes_back_as_it_was(self, journal: Storage) -> None:
        full = incident(
            1,
            kind="event",
            reason="crashed",
            part="person",
            cause="ValueError (shop.py:7)",
            handling="add",
            person=ADA,
            user="7",
            view="a view \U0001f600",
            topic="lv:größe\x00\U0001f600",
            shown_hash="0123456789abcdef",
            socket_hash="fedcba9876543210",
            node="node-1",
            process=4711,
            token_seconds=3.5,
            left_out=12,
        )
        journal.add_incidents([full, incident(2)], limits())
        assert journal.list_incidents(EVERYTHING).items == [incident(2), full]
        assert journal.list_incidents(IncidentQuery(view=full.view)).items == [full]

    def test_the_newest_come_first_whenever_they_were_stored(self, journal: Storage) -> None:
        journal.add_incidents([incident(3), incident(5)], limits())
        journal.add_incidents([incident(4), incident(1)], limits())
        assert self.found(journal) == [5, 4, 3, 1]

    def test_one_that_is_sent_again_is_stored_once(self, journal: Storage) -> None:
        journal.add_incidents([incident(1), incident(2)], limits())
        journal.add_incidents([incident(2), incident(3)], limits())
        assert self.found(journal) == [3, 2, 1]

    def test_pages_have_all_of_them_once(self, journal: Storage) -> None:
        same_time = [incident(n, at_us=STARTED_US) for n in range(4, 10)]
        journal.add_incidents([*map(incident, range(4)), *same_time], limits())
        everything = self.found(journal, limit=100)
        assert sorted(everything) == list(range(10))
        for size in (1, 3, 5):
            assert self.found(journal, limit=size) == everything
        with pytest.raises(ValueError, match="cursor"):
            journal.list_incidents(IncidentQuery(cursor="rubbish"))

    def test_searches(self, journal: Storage) -> None:
        journal.add_incidents(
            [
                incident(1, person=ADA, view="shop", kind="fork", reason="superseded"),
                incident(2, person=BOB, view="shop"),
                incident(3, person=BOB, view="Shop", user="7"),
                incident(4, user="7", reason="expired"),
                incident(5, user="70"),
            ],
            limits(),
        )
        assert self.found(journal, persons=(ADA,)) == [1]
        assert self.found(journal, persons=(ADA, BOB)) == [3, 2, 1]
        assert self.found(journal, persons=(ADA,), user="7") == [4, 3, 1]
        assert self.found(journal, user="7") == [4, 3]
        assert self.found(journal, view="shop") == [2, 1]
        assert self.found(journal, kind="fork") == [1]
        assert self.found(journal, reason="expired", limit=1) == [4]
        since, until = STARTED_US + 2, STARTED_US + 4
        assert self.found(journal, since_us=since, until_us=until) == [3, 2]
        assert self.found(journal, since_us=since, until_us=until, limit=1) == [3, 2]
        assert self.found(journal, view="elsewhere") == []

    def test_only_so_many_are_kept(self, journal: Storage) -> None:
        journal.add_incidents([incident(n) for n in range(5)], limits(100))
        journal.add_incidents([incident(n) for n in range(5, 12)], limits(8))
        journal.prune_incidents(limits(8))
        assert self.found(journal) == [11, 10, 9, 8, 7, 6, 5, 4]
        assert journal.prune_incidents(limits(3)) == 5
        assert self.found(journal) == [11, 10, 9]
        assert journal.prune_incidents(limits(3)) == 0

    def test_only_what_is_young_enough_is_kept(self, journal: Storage) -> None:
        journal.add_incidents([incident(n) for n in range(5)], limits())
        assert journal.prune_incidents(limits(oldest_us=STARTED_US + 2)) == 2
        assert self.found(journal) == [4, 3, 2]

    def test_the_journal_is_no_snapshot(self, journal: Storage, clock: Clock) -> None:
        journal.add_incidents([incident(1)], limits())
        if journal.supports_listing:
            assert journal.count() == 0
            assert journal.list_entries().entries == []
        assert journal.cleanup_expired() == 0
        clock.advance(seconds=self.ttl_seconds)
        assert self.found(journal) == [1]
