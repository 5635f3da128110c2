"""The tests that every storage has to pass.

Each module has the tests of one part of the contract:

- `plain`: `save`, `load`, `delete` and the TTL, closing and reuse;
- `decisions`: each fenced step decides as `recovery_app.fencing` does;
- `fenced`: what a fenced step leaves stored, such as the TTL and the header;
- `races`: fenced steps at the same time, if ``supports_atomic_fence`` is true;
- `listing`: lists, counts, browsing and clean-up, if they are supported;
- `groups`: the logs of durable groups, if ``supports_groups`` is true;
- `group_listing`: listing, counting and deleting them, if ``supports_group_listing`` is true;
- `journal`: the journal of losses, if ``supports_journal`` is true;
- `reports`: the reports of processes on their pages, if ``supports_reports`` is true.
"""

from __future__ import annotations

from recovery_app.testing.contract.decisions import DecisionTests
from recovery_app.testing.contract.fenced import FencedTests
from recovery_app.testing.contract.group_listing import GroupListingTests
from recovery_app.testing.contract.groups import GroupTests
from recovery_app.testing.contract.journal import JournalTests
from recovery_app.testing.contract.listing import ListingTests
from recovery_app.testing.contract.plain import PlainTests
from recovery_app.testing.contract.races import RaceTests
from recovery_app.testing.contract.reports import ReportTests


class StorageContract(
    PlainTests,
    DecisionTests,
    FencedTests,
    RaceTests,
    ListingTests,
    JournalTests,
    ReportTests,
    GroupTests,
    GroupListingTests,
):
    """The contract test suite; subclass it in a pytest module to run it on a storage.

    Override `make_storage`, or the fixture ``storage`` if the storage needs other fixtures.
    Each test gets a fresh, empty storage, and runs once with the sync methods and once with
    their async variants. See ``docs/storages.md``.
    """


__all__ = ["StorageContract"]
