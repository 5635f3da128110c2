"""Revocation of a person, on each storage."""

from __future__ import annotations

import pytest

from recovery_app._core.metadata import SnapshotMetadata
from recovery_app._core.persons import name_user
from recovery_app.exceptions import StorageError, TokenSuperseded
from recovery_app.storages import MemoryStorage, Storage
from tests.clock import FakeClock
from tests.core.support import make_manager


def test_a_revoked_users_token_takes_over_nowhere(any_storage: Storage, clock: FakeClock) -> None:
    with make_manager(storage=any_storage, clock=clock) as manager:
        tokens = {}
        for pk in (1, 2):
            name = name_user(pk)
            person = manager.operations.person(name, name)
            grant = manager.operations.create(f"socket {pk}", b"")
            flow = manager.operations.save_payload(
                grant,
                b'{"n":1}',
                socket_id=f"socket {pk}",
                metadata=SnapshotMetadata(person=person.digest),
            )
            manager.driver.run(flow)
            tokens[pk] = grant.token
        clock.advance(seconds=0.001)
        for _ in range(2):
            manager.revoke_user(1)
        with pytest.raises(TokenSuperseded) as raised:
            manager.take_over(tokens[1])
        assert raised.value.revoked
        assert manager.take_over(tokens[2]).state == {"n": 1}
        try:
            assert len(manager.snapshots().items) == manager.count() == 2
        except StorageError:
            assert not any_storage.supports_listing


def test_the_marker_outlives_every_token(clock: FakeClock) -> None:
    for limit in (1_000.0, None):
        manager = make_manager(clock=clock, ttl=300, token_max_age=limit)
        manager.revoke_user(1)
        clock.advance(seconds=599)
        (key,) = manager.operations.person(name_user(1), name_user(1)).markers
        assert manager.storage.load(key) is not None
        clock.advance(seconds=402)
        assert manager.storage.load(key) is None


def test_a_takeover_while_the_marker_is_written_escapes_nothing(clock: FakeClock) -> None:
    class Slow(MemoryStorage):
        is_slow = False
        taken = ""

        def save(self, key: str, data: bytes, ttl: float) -> None:
            if self.is_slow:
                # The page joins before the marker is there, and later than the marker is dated.
                self.is_slow = False
                clock.advance(seconds=0.1)
                self.taken = manager.take_over(grant.token).token
                clock.advance(seconds=0.1)
            super().save(key, data, ttl)

    storage = Slow(clock=clock)
    manager = make_manager(storage=storage, clock=clock)
    name = name_user(1)
    grant = manager.operations.create("a socket", b"")
    metadata = SnapshotMetadata(person=manager.operations.person(name, name).digest)
    flow = manager.operations.save_payload(grant, b"{}", socket_id="a socket", metadata=metadata)
    manager.driver.run(flow)
    storage.is_slow = True
    manager.revoke_user(1)
    with pytest.raises(TokenSuperseded) as raised:
        manager.take_over(storage.taken)
    assert raised.value.revoked
