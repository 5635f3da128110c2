"""Tests of every storage of ours: the contract that custom storages can be tested by, too."""

from __future__ import annotations

import pytest

from recovery_app.storages import Storage
from recovery_app.testing import StorageContract


class TestStorages(StorageContract):
    """The contract over each storage, and over one that has three methods only."""

    @pytest.fixture
    def storage(self, any_storage: Storage) -> Storage:
        return any_storage
