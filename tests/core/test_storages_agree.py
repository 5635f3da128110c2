"""Drive several storages through the same random steps: none may tell itself from the others.

The plain functions of `recovery_app.fencing` decide for `MemoryStorage` (under its lock) and
for a storage of an application's own; `DatabaseStorage` says the same in SQL. Verdicts and
bytes are compared to the last bit, times included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from recovery_app.snapshots import MAX_US, digest_binding
from recovery_app.storages import DatabaseStorage, MemoryStorage, Storage
from recovery_app.testing.contract.base import OWNER, claim_of, snapshot_bytes
from tests.clock import FakeClock
from tests.core.support import SOMEBODY, OwnStorage

KEYS = ("00000000000000aa", "00000000000000bb")

key = st.sampled_from(KEYS)
# Few and close together, so that they meet; and the ends of what counts.
time_us = st.integers(1, 9) | st.sampled_from([0, MAX_US // 2])
binding = st.sampled_from([OWNER, SOMEBODY])
claim = st.builds(claim_of, time_us, binding)
ttl = st.integers(1, 9)
snapshot = st.builds(
    snapshot_bytes,
    time_us,
    st.sampled_from([b"{}", b'{"count": 1}']),
    binding=binding,
    floor=time_us,
    version=st.integers(0, 2),
    applied_seq=st.none() | st.integers(0, 2),
    created_us=time_us,
    saved_us=time_us,
)
rubbish = (
    st.binary(max_size=8)
    | st.builds(lambda data, size: data[:size], snapshot, st.integers(60, 90))
    | st.builds(lambda data: b"RS\x03" + data[3:], snapshot)
)


class StoragesAgree(RuleBasedStateMachine):
    """Make each call to all storages and compare what they answer."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        database = DatabaseStorage(clock=self.clock)
        for stored_key in KEYS:
            database.delete(stored_key)
        self.storages: list[Storage] = [
            MemoryStorage(clock=self.clock),
            database,
            OwnStorage(self.clock),
        ]

    def each(self, call: Callable[[Storage], Any], *, own: bool = True) -> None:
        first, *others = [call(storage) for storage in self.storages[: 3 if own else 2]]
        for other in others:
            assert other == first

    @rule(key=key, data=snapshot, ttl=ttl)
    def save_fenced(self, key: str, data: bytes, ttl: int) -> None:
        self.each(lambda storage: storage.save_fenced(key, data, ttl))

    @rule(key=key, claim=claim, ttl=ttl)
    def touch_fenced(self, key: str, claim: Any, ttl: int) -> None:
        self.each(lambda storage: storage.touch_fenced(key, claim, ttl))

    @rule(key=key, claim=claim, ttl=ttl, now_us=time_us, newest=st.none() | st.integers(0, 2))
    def take_over(self, key: str, claim: Any, ttl: int, now_us: int, newest: int | None) -> None:
        self.each(
            lambda storage: storage.take_over(key, claim, ttl, now_us=now_us, newest_version=newest)
        )

    @rule(key=key, claim=claim, ttl=ttl, now_us=time_us, after=binding)
    def renew(self, key: str, claim: Any, ttl: int, now_us: int, after: bytes) -> None:
        bound = digest_binding(after)
        self.each(lambda storage: storage.renew(key, claim, ttl, now_us=now_us, binding=bound))

    @rule(key=key, claim=claim, ttl=ttl, now_us=time_us)
    def revoke(self, key: str, claim: Any, ttl: int, now_us: int) -> None:
        self.each(lambda storage: storage.revoke(key, claim, ttl, now_us=now_us))

    @rule(key=key, data=snapshot | rubbish, ttl=ttl)
    def save(self, key: str, data: bytes, ttl: int) -> None:
        self.each(lambda storage: storage.save(key, data, ttl))

    @rule(key=key)
    def delete(self, key: str) -> None:
        self.each(lambda storage: storage.delete(key))

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule()
    def clean_up(self) -> None:
        self.each(lambda storage: storage.cleanup_expired(), own=False)

    @invariant()
    def hold_the_same(self) -> None:
        self.each(lambda storage: [storage.load(stored_key) for stored_key in KEYS])
        self.each(lambda storage: (storage.list_entries(), storage.count()), own=False)


@pytest.mark.django_db
def test_storages_agree_on_sqlite() -> None:
    run_state_machine_as_test(
        StoragesAgree,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
