"""Contract tests of the reports of processes, where the storage keeps them."""

from __future__ import annotations

import pytest

from recovery_app.exceptions import StorageError
from recovery_app.storages import Storage
from recovery_app.testing.contract.base import Clock, ContractBase

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


class ReportTests(ContractBase):
    """Each process has one report, its last, until it expires."""

    @pytest.fixture
    def reports(self, variant: Storage) -> Storage:
        """Return the storage, if it keeps reports; a test of one that doesn't is left out."""
        if not variant.supports_reports:
            for call in (
                lambda: variant.put_report(ONE, b"", self.ttl_seconds),
                variant.list_reports,
            ):
                with pytest.raises(StorageError, match="keeps no reports"):
                    call()
            pytest.skip("This storage keeps no reports.")
        return variant

    def test_the_last_report_of_each_process_is_kept(self, reports: Storage) -> None:
        assert reports.list_reports() == []
        for data in (b"first", b"\x00\xff" * 100_000):
            reports.put_report(ONE, data, self.ttl_seconds)
        reports.put_report(TWO, b"another", self.ttl_seconds)
        assert sorted(reports.list_reports()) == [b"\x00\xff" * 100_000, b"another"]

    def test_a_report_expires_unless_it_comes_again(self, reports: Storage, clock: Clock) -> None:
        reports.put_report(ONE, b"one", self.ttl_seconds)
        reports.put_report(TWO, b"two", self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds / 2)
        reports.put_report(TWO, b"two again", self.ttl_seconds)
        clock.advance(seconds=self.ttl_seconds / 2 + self.margin_seconds)
        assert reports.list_reports() == [b"two again"]
        reports.put_report(ONE, b"one again", self.ttl_seconds)
        assert sorted(reports.list_reports()) == [b"one again", b"two again"]

    def test_many_processes_are_all_there(self, reports: Storage) -> None:
        sent = {f"{number:016x}": b"%d" % number for number in range(45)}
        for uid, data in sent.items():
            reports.put_report(uid, data, self.ttl_seconds)
        assert sorted(reports.list_reports()) == sorted(sent.values())

    def test_a_report_is_no_snapshot(self, reports: Storage) -> None:
        reports.put_report(ONE, b"one", self.ttl_seconds)
        assert reports.load(ONE) is None
        if reports.supports_listing:
            assert reports.count() == 0
            assert reports.list_entries().entries == []
        assert reports.cleanup_expired() == 0
        assert reports.list_reports() == [b"one"]
