"""Tests of every storage of ours: the contract that custom storages can be tested by, too."""

from __future__ import annotations

import pytest

from recovery_app.storages import Storage, memory_messages
from recovery_app.storages.database import messages as database_messages
from recovery_app.storages.redis import messages as redis_messages
from recovery_app.testing import StorageContract
from recovery_app.testing.contract.decisions import DecisionTests
from recovery_app.testing.contract.fenced import FencedTests
from recovery_app.testing.contract.group_listing import GroupListingTests
from recovery_app.testing.contract.groups import GroupTests
from recovery_app.testing.contract.journal import JournalTests
from recovery_app.testing.contract.listing import ListingTests
from recovery_app.testing.contract.plain import PlainTests
from recovery_app.testing.contract.races import RaceTests
from recovery_app.testing.contract.reports import ReportTests


@pytest.mark.every_storage
class TestBytes(PlainTests):
    """What each storage does with bytes, and one that has three methods only."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage


class TestSteps(DecisionTests, FencedTests, RaceTests, ListingTests, JournalTests, ReportTests):
    """The rest of the contract."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage


class TestGroups(GroupTests, GroupListingTests):
    """Durable groups: those of every storage that has them."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage

    def overfill(self, storage: Storage, group: str) -> bool:
        first = storage.newest_position(group)
        with pytest.MonkeyPatch.context() as patch:
            for module in (memory_messages, database_messages, redis_messages):
                patch.setattr(module, "MAX_MESSAGES", 10)
            patch.setattr(database_messages, "TRIM_EVERY", 8)
            # Redis drops a hundred at once.
            while storage.read_messages(group, first, 1).is_complete:
                for _ in range(20):
                    storage.append_message(group, b"{}", lambda: None)
        return True


PARTS = (TestBytes, TestSteps, TestGroups)


def test_they_are_the_whole_contract() -> None:
    for name in dir(StorageContract):
        assert not name.startswith("test_") or any(hasattr(each, name) for each in PARTS)
