"""Tests of every storage of ours: the contract that custom storages can be tested by, too."""

from __future__ import annotations

import pytest

from recovery_app.storages import Storage
from recovery_app.testing import StorageContract
from recovery_app.testing.contract.decisions import DecisionTests
from recovery_app.testing.contract.fenced import FencedTests
from recovery_app.testing.contract.journal import JournalTests
from recovery_app.testing.contract.listing import ListingTests
from recovery_app.testing.contract.plain import PlainTests
from recovery_app.testing.contract.races import RaceTests


@pytest.mark.every_storage
class TestBytes(PlainTests):
    """What each storage does with bytes, and one that has three methods only."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage


class TestSteps(DecisionTests, FencedTests, RaceTests, ListingTests, JournalTests):
    """The rest of the contract."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage


def test_both_are_the_whole_contract() -> None:
    for name in dir(StorageContract):
        assert not name.startswith("test_") or hasattr(TestBytes, name) or hasattr(TestSteps, name)
