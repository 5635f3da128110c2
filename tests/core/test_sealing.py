"""Tests of seals: who can write to the storage can't forge, swap or alter a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.clock import to_us
from recovery_app.exceptions import (
    InvalidSignature,
    SnapshotCorrupt,
    SnapshotError,
    SnapshotNotFound,
    TokenError,
    TokenSuperseded,
)
from recovery_app.models import StoredSnapshot
from recovery_app.snapshots import (
    BINDING,
    REVOKED,
    SEAL,
    UNSEALED,
    Header,
    Snapshot,
    digest_binding,
    revoked_marker,
)
from recovery_app.storages import CacheStorage, DatabaseStorage, MemoryStorage, Storage
from recovery_app.values import Takeover
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.wire import connected, recovery_of
from tests.core.redis_storages import REDIS
from tests.core.support import MEMORY, SECRET, SQLITE, OwnStorage, make_manager

SOCKET, OTHER = "the socket", "another socket"
KEY, OTHER_KEY = hash_socket_id(SOCKET).hex(), hash_socket_id(OTHER).hex()
ME = b"the digest of a session, say"
STATE = {"count": 1, "text": "what was typed"}
CHANGED_IN_PLACE = {*range(8, 24), *range(32, 40), *range(48, 64)}
"""The bytes of fence, floor, created and binding."""
TTL = 60


@pytest.fixture(params=[MEMORY, SQLITE, REDIS[0], pytest.param(OwnStorage, id="own")])
def storage(request: pytest.FixtureRequest, clock: FakeClock) -> Any:
    fixture = getattr(request.param, "fixture", None)
    if fixture is not None:
        request.getfixturevalue(fixture)
    made = request.param(clock)
    yield made
    made.close()


@pytest.fixture
def manager(storage: Storage, clock: FakeClock) -> RecoveryManager:
    return make_manager(storage=storage, clock=clock, seal=True)


@pytest.fixture
def token(manager: RecoveryManager) -> str:
    token = manager.create_token(SOCKET, binding=ME)
    manager.save(token, STATE, binding=ME, applied_seq=7, version=2, view="a view", topic="a:topic")
    return token


def stored(storage: Storage, key: str = KEY) -> bytes:
    data = storage.load(key)
    assert data is not None
    return data


def contents_of(takeover: Takeover) -> tuple[Any, ...]:
    return (
        takeover.state,
        takeover.socket_id,
        takeover.applied_seq,
        takeover.version,
        takeover.view,
        takeover.topic,
        takeover.payload,
        takeover.replies,
    )


def flipped(data: bytes, offset: int, mask: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]


# Bytes that are altered.


@pytest.mark.parametrize("mask", [0x01, 0xFF])
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
def test_no_byte_can_be_altered(
    storage: Storage, clock: FakeClock, mask: int, is_encrypted: bool
) -> None:
    keys = [b"k" * 32] if is_encrypted else None
    manager = make_manager(storage=storage, clock=clock, seal=True, encryption_keys=keys)
    token = manager.create_token(SOCKET, binding=ME)
    manager.save(token, STATE, binding=ME, applied_seq=7, version=2, view="a view")
    data = stored(storage)
    expected = contents_of(manager.take_over(token, binding=ME))
    for offset in range(len(data)):
        storage.save(KEY, flipped(data, offset, mask), TTL)
        for ask in (manager.take_over, manager.recover):
            try:
                found: Any = ask(token, binding=ME)
            except (SnapshotError, TokenError):
                continue
            assert offset in CHANGED_IN_PLACE, offset
            assert found == STATE if ask == manager.recover else contents_of(found) == expected
    # The one that is altered is neither removed nor replaced, and the token isn't spent.
    storage.save(KEY, data, TTL)
    assert contents_of(manager.take_over(token, binding=ME)) == expected


@pytest.mark.django_db(transaction=True)
def test_the_columns_of_a_row_are_no_way_around(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    manager = make_manager(storage=storage, clock=clock)
    token = manager.create_token(SOCKET, binding=ME)
    manager.save(token, STATE, binding=ME, version=2)
    data = stored(storage)
    for offset in range(len(data)):
        StoredSnapshot.objects.update(data=flipped(data, offset, 0xFF))
        try:
            found = manager.take_over(token, binding=ME)
        except SnapshotError:
            continue
        assert offset in CHANGED_IN_PLACE
        assert found.state == STATE
    StoredSnapshot.objects.update(data=data, socket_id="forged", view="forged", version=0)
    takeover = manager.take_over(token, binding=ME)
    assert (takeover.socket_id, takeover.view, takeover.version) == (SOCKET, "", 2)


def test_the_end_can_not_be_moved(manager: RecoveryManager, storage: Storage, token: str) -> None:
    data = stored(storage)
    for altered in (data + b"\0", data[:-1]):
        storage.save(KEY, altered, TTL)
        with pytest.raises(SnapshotCorrupt):
            manager.take_over(token, binding=ME)


def test_two_snapshots_can_not_be_swapped(
    manager: RecoveryManager, storage: Storage, token: str
) -> None:
    other = manager.create_token(OTHER, binding=ME)
    manager.save(other, {"count": 2}, binding=ME)
    mine, others = stored(storage), stored(storage, OTHER_KEY)
    storage.save(KEY, others, TTL)
    with pytest.raises(InvalidSignature):
        manager.take_over(token, binding=ME)
    # Nor with the fence, floor and digest that the storage has seen in its place.
    in_place = (others[:8], mine[8:24], others[24:48], mine[BINDING], others[BINDING.stop :])
    storage.save(KEY, b"".join(in_place), TTL)
    with pytest.raises(SnapshotCorrupt, match="seal is wrong"):
        manager.take_over(token, binding=ME)
    inspected = manager.inspect(KEY)
    assert inspected is not None
    assert inspected.state is None
    assert "seal is wrong" in inspected.info.problem


def with_binding(data: bytes, digest: bytes) -> bytes:
    return data[: BINDING.start] + digest + data[BINDING.stop :]


def test_a_digest_of_a_binding_can_neither_be_copied_nor_guessed(
    manager: RecoveryManager, storage: Storage, token: str
) -> None:
    other = manager.create_token(OTHER, binding=ME)
    manager.save(other, STATE, binding=ME)
    mine, others = stored(storage)[BINDING], stored(storage, OTHER_KEY)[BINDING]
    assert len({mine, others, digest_binding(ME)}) == 3
    storage.save(KEY, with_binding(stored(storage), others), TTL)
    with pytest.raises(InvalidSignature):
        manager.take_over(token, binding=ME)


@pytest.mark.parametrize("seal", [None, True])
def test_a_seal_can_not_be_removed(clock: FakeClock, seal: bool | None) -> None:
    storage = OwnStorage(clock)
    manager = make_manager(storage=storage, clock=clock, seal=seal)
    manager.save(token := manager.create_token(SOCKET, binding=ME), STATE, binding=ME)
    data = stored(storage)
    storage.save(KEY, data[: SEAL.start] + UNSEALED + data[SEAL.stop :], TTL)
    for ask in (manager.take_over, manager.recover):
        with pytest.raises(SnapshotCorrupt, match="has no seal"):
            ask(token, binding=ME)


def test_a_save_seals_no_socket_id_that_somebody_has_written(
    storage: Storage, clock: FakeClock
) -> None:
    ours = make_manager(storage=storage, clock=clock, seal=True)
    ours.save(token := ours.create_token(SOCKET), STATE)
    snapshot = Snapshot.from_bytes(stored(storage))
    storage.save(KEY, replace(snapshot, socket_id="forged").to_bytes(), TTL)
    # Another process doesn't know the socket's id, and so loads before it saves.
    another = make_manager(storage=storage, clock=clock, seal=True)
    another.save(token, STATE)
    assert another.take_over(token).socket_id == KEY
    assert another.take_over(token).state == STATE


# The format of version 0.1, which has no seal.


def of_first_format(data: bytes, digest: bytes, state: bytes = b'{"forged":1}') -> bytes:
    header = replace(Header.read(data), format=1, flags=0, binding=digest)
    return Snapshot(header, SOCKET, "a view", "a:topic", "json", state).to_bytes()


def test_nobody_goes_back_to_the_first_format(
    manager: RecoveryManager, storage: Storage, clock: FakeClock, token: str
) -> None:
    data = stored(storage)
    lenient = make_manager(storage=OwnStorage(clock), clock=clock)
    for digest in (data[BINDING], digest_binding(ME)):
        forged = of_first_format(data, digest)
        storage.save(KEY, forged, TTL)
        for ask in (manager.take_over, manager.recover):
            with pytest.raises(SnapshotCorrupt, match="no seal"):
                ask(token, binding=ME)
        lenient.storage.save(KEY, forged, TTL)
    # Older snapshots are read by default, but whoever reads the storage learns no digest for one.
    assert lenient.recover(token, binding=ME) == {"forged": 1}
    lenient.storage.save(KEY, of_first_format(data, data[BINDING]), TTL)
    for ask in (lenient.take_over, lenient.recover):
        with pytest.raises(SnapshotCorrupt, match="no seal"):
            ask(token, binding=ME)


def test_a_forged_marker_only_denies(
    manager: RecoveryManager, storage: Storage, clock: FakeClock, token: str
) -> None:
    data = stored(storage)
    storage.save(KEY, revoked_marker(Header.read(data)), TTL)
    with pytest.raises(SnapshotNotFound):
        manager.take_over(token, binding=ME)
    manager.storage.save(KEY, data, TTL)
    manager.revoke(token, binding=ME)
    marker = stored(storage)
    assert marker[3] == REVOKED
    storage.save(KEY, flipped(marker, 3, REVOKED), TTL)
    later = make_manager(storage=storage, clock=clock, seal=True)
    clock.advance(seconds=1)
    fresh = later.create_token(SOCKET, binding=ME)
    with pytest.raises(SnapshotCorrupt):
        later.take_over(fresh, binding=ME)


class Snapshots01:
    """What version 0.1 has stored, and a newer manager that finds it."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.storage = OwnStorage(clock)
        self.manager = make_manager(storage=self.storage, clock=clock, **options)
        self.token = self.manager.create_token(SOCKET, binding=ME)
        header = Header(0, 0, digest_binding(ME), saved_us=to_us(clock()), format=1)
        header.fence = header.floor = to_us(clock())
        self.data = Snapshot(header, SOCKET, "a view", "a:topic", "json", b'{"n":1}').to_bytes()
        self.storage.save(KEY, self.data, TTL)

    @property
    def header(self) -> Header:
        return Header.read(stored(self.storage))


def test_a_page_of_version_0_1_goes_on(clock: FakeClock) -> None:
    old = Snapshots01(clock)
    manager, token = old.manager, old.token
    assert manager.recover(token, binding=ME) == {"n": 1}
    token = manager.take_over(token, binding=ME).token
    assert manager.touch(token, binding=ME)
    # Idle, it stays as it was for nodes of version 0.1, with a digest that they know.
    token = manager.renew(token, binding=ME)
    assert (old.header.format, old.header.binding) == (1, digest_binding(ME))
    another = make_manager(storage=old.storage, clock=clock)
    token = another.take_over(token, binding=ME).token
    another.save(token, STATE, binding=ME)
    assert old.header.format == 2
    # The next takeover has it forget the digest that confirms guesses.
    takeover = manager.take_over(token, binding=ME)
    assert takeover.state == STATE
    assert old.header.binding != digest_binding(ME)
    assert takeover.issued_us == old.header.fence
    manager.save(takeover.token, {"n": 3}, binding=ME)
    assert another.take_over(takeover.token, binding=ME).state == {"n": 3}
    with pytest.raises(TokenSuperseded):
        manager.save(token, STATE, binding=ME)


def test_a_page_of_version_0_1_logs_in(clock: FakeClock) -> None:
    old = Snapshots01(clock)
    token = old.manager.take_over(old.token, binding=ME).token
    token = old.manager.renew(token, binding=ME, new_binding=b"me, logged in")
    assert old.header.binding == digest_binding(b"me, logged in")
    assert old.manager.take_over(token, binding=b"me, logged in").state == {"n": 1}


def test_calls_without_a_takeover_find_what_version_0_1_has_stored(clock: FakeClock) -> None:
    def revoke(manager: RecoveryManager, token: str) -> None:
        manager.revoke(token, binding=ME)
        with pytest.raises(SnapshotNotFound):
            manager.recover(token, binding=ME)

    calls: list[Callable[[RecoveryManager, str], Any]] = [
        lambda manager, token: manager.save(token, STATE, binding=ME),
        lambda manager, token: manager.touch(token, binding=ME),
        lambda manager, token: manager.renew(token, binding=ME),
        revoke,
    ]
    for call in calls:
        old = Snapshots01(clock)
        call(old.manager, old.token)
        with pytest.raises(InvalidSignature):
            old.manager.touch(old.manager.create_token(SOCKET, binding=b"else"), binding=b"else")


def test_strictly_nothing_of_version_0_1_is_read(clock: FakeClock) -> None:
    old = Snapshots01(clock, seal=True)
    with pytest.raises(SnapshotCorrupt, match=r"SEAL"):
        old.manager.take_over(old.token, binding=ME)
    inspected = old.manager.inspect(KEY)
    assert inspected is not None
    assert "SEAL" in inspected.info.problem
    lenient = make_manager(storage=old.storage, clock=clock)
    assert lenient.take_over(old.token, binding=ME).state == {"n": 1}


# The setting.


@pytest.mark.parametrize(
    ("kind", "seal", "expected"),
    [
        (MemoryStorage, None, False),
        (MemoryStorage, True, True),
        (OwnStorage, None, True),
        (OwnStorage, False, False),
    ],
)
def test_shared_storages_are_sealed_by_default(
    kind: Any, seal: bool | None, expected: bool, clock: FakeClock
) -> None:
    storage = kind(clock=clock)
    manager = make_manager(storage=storage, clock=clock, seal=seal)
    manager.save(manager.create_token(SOCKET), STATE)
    data = stored(storage)
    assert (data[SEAL] != UNSEALED) is expected
    assert (data[BINDING] != digest_binding(b"")) is expected


def test_a_cache_in_the_memory_of_the_process_is_not_shared(settings: Any) -> None:
    path = "django.core.cache.backends.{}.{}"
    settings.CACHES = {
        "default": {"BACKEND": path.format("locmem", "LocMemCache")},
        "files": {"BACKEND": path.format("filebased", "FileBasedCache"), "LOCATION": "/nowhere"},
    }
    assert not CacheStorage().is_shared
    assert CacheStorage(cache="files").is_shared


def test_a_site_that_stops_sealing_loses_nothing(clock: FakeClock) -> None:
    storage = OwnStorage(clock)
    sealed = make_manager(storage=storage, clock=clock)
    plain = make_manager(storage=storage, clock=clock, seal=False)
    token = sealed.create_token(SOCKET, binding=ME)
    sealed.save(token, STATE, binding=ME)
    assert plain.recover(token, binding=ME) == STATE
    assert plain.touch(token, binding=ME)
    takeover = plain.take_over(token, binding=ME)
    assert takeover.state == STATE
    assert Header.read(stored(storage)).binding == digest_binding(ME)
    # What isn't sealed is refused by the others, and left as it is.
    plain.save(takeover.token, STATE, binding=ME)
    with pytest.raises(SnapshotCorrupt, match="SEAL"):
        sealed.take_over(takeover.token, binding=ME)
    assert plain.take_over(takeover.token, binding=ME).state == STATE


# A rotation of the secret.

NEW_SECRET = b"the secret that comes after the old"


class Nodes:
    """Nodes before, during and after a rotation, on one storage."""

    def __init__(self, storage: Storage, clock: FakeClock) -> None:
        shared: dict[str, Any] = {"storage": storage, "clock": clock, "seal": True}
        self.old = make_manager(secret_fallbacks=[NEW_SECRET], **shared)
        self.new = make_manager(secret=NEW_SECRET, secret_fallbacks=[SECRET], **shared)


@pytest.fixture
def nodes(storage: Storage, clock: FakeClock) -> Nodes:
    return Nodes(storage, clock)


def test_pages_go_to_and_fro_between_nodes_during_a_rotation(nodes: Nodes) -> None:
    token = nodes.old.create_token(SOCKET, binding=ME)
    nodes.old.save(token, {"n": 0}, binding=ME)
    for turn in range(1, 5):
        before, node = (nodes.old, nodes.new) if turn % 2 else (nodes.new, nodes.old)
        assert node.recover(token, binding=ME) == {"n": turn - 1}
        takeover = node.take_over(token, binding=ME)
        assert takeover.state == {"n": turn - 1}
        # The connection on the node before is known to be fenced, not taken for a stranger's.
        with pytest.raises(TokenSuperseded):
            before.save(token, {"n": 99}, binding=ME)
        node.save(takeover.token, {"n": turn}, binding=ME)
        before.touch(takeover.token, binding=ME)
        token = takeover.token


def test_a_takeover_after_a_rotation_renews_the_digest(nodes: Nodes, storage: Storage) -> None:
    token = nodes.old.create_token(SOCKET, binding=ME)
    nodes.old.save(token, STATE, binding=ME)
    before = Header.read(stored(storage))
    takeover = nodes.new.take_over(token, binding=ME)
    after = Header.read(stored(storage))
    assert after.binding != before.binding
    assert (after.floor, after.fence) == (before.floor, takeover.issued_us)
    # The join's reply may be lost: the older token takes over again.
    assert nodes.new.take_over(token, binding=ME).state == STATE


@pytest.mark.parametrize("name", ["save", "touch", "renew", "revoke"])
def test_a_live_connection_goes_on_after_a_rotation(
    nodes: Nodes, storage: Storage, name: str
) -> None:
    token = nodes.old.create_token(SOCKET, binding=ME)
    nodes.old.save(token, STATE, binding=ME)
    if name == "save":
        nodes.new.save(token, {"count": 2}, binding=ME)
        assert nodes.new.take_over(token, binding=ME).state == {"count": 2}
        return
    done = getattr(nodes.new, name)(token, binding=ME)
    if name == "renew":
        assert nodes.new.take_over(done, binding=ME).state == STATE
    if name == "revoke":
        with pytest.raises(SnapshotNotFound):
            nodes.old.take_over(token, binding=ME)
        with pytest.raises(TokenSuperseded):
            nodes.new.save(token, STATE, binding=ME)


def test_a_secret_that_is_gone_is_told(storage: Storage, clock: FakeClock) -> None:
    older = make_manager(storage=storage, clock=clock, seal=True)
    older.save(older.create_token(SOCKET, binding=ME), STATE, binding=ME)
    newer = make_manager(secret=NEW_SECRET, storage=storage, clock=clock, seal=True)
    inspected = newer.inspect(KEY)
    assert inspected is not None
    assert "SECRET_FALLBACKS" in inspected.info.problem


# At a join.


@pytest.mark.parametrize("number", [SEAL.start, -1])
async def test_a_page_with_an_altered_state_starts_afresh_and_keeps_its_token(
    clock: FakeClock, number: int
) -> None:
    storage = MemoryStorage()
    manager = make_manager(storage=storage, seal=True)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    (info,) = manager.snapshots().items
    data = stored(storage, info.socket_hash)
    offset = number % len(data)
    storage.save(info.socket_hash, flipped(data, offset, 1), TTL)
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(token=token))
    assert (reply["outcome"], reply["token"]) == ("version", None)
    storage.save(info.socket_hash, data, TTL)
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"


async def test_a_page_goes_to_and_fro_with_its_events_during_a_rotation(clock: FakeClock) -> None:
    nodes = Nodes(MemoryStorage(clock=clock), clock)
    async with connected(Counter, nodes.old) as client:
        token = recovery_of(await client.join(start=5))["token"]
        await client.push("add", {"_seq": 1, "_ack": 0})
    for seq, node in enumerate((nodes.new, nodes.old, nodes.new), start=1):
        async with connected(Counter, node) as client:
            reply = recovery_of(await client.join(token=token))
            assert (reply["outcome"], reply["seq"]) == ("recovered", seq)
            token = reply["token"]
            answer = await client.push("add", {"_seq": seq + 1, "_ack": seq})
            assert answer["response"]["_recovery"]["seq"] == seq + 1


async def superseded(nodes: Nodes) -> str:
    """Return a token of a page that has gone on, with another, on a newer node."""
    async with connected(Counter, nodes.old) as client:
        token = recovery_of(await client.join(start=5))["token"]
    async with connected(Counter, nodes.new) as client:
        newer = recovery_of(await client.join(token=token))["token"]
        await client.push("add", {"_seq": 1, "_ack": 0})
    async with connected(Counter, nodes.new) as client:
        await client.join(token=newer)
        await client.push("add", {"_seq": 2, "_ack": 1})
    return str(token)


async def test_a_copy_is_made_from_any_known_secret(clock: FakeClock) -> None:
    nodes = Nodes(MemoryStorage(clock=clock), clock)
    token = await superseded(nodes)
    for node in (nodes.old, nodes.new):
        async with connected(Counter, node) as client:
            assert recovery_of(await client.join(token=token))["outcome"] == "copied"


async def test_no_copy_is_made_of_an_altered_state(clock: FakeClock) -> None:
    storage = MemoryStorage(clock=clock)
    nodes = Nodes(storage, clock)
    token = await superseded(nodes)
    (info,) = nodes.new.snapshots().items
    data = stored(storage, info.socket_hash)
    storage.save(info.socket_hash, flipped(data, len(data) - 2, 1), TTL)
    async with connected(Counter, nodes.new) as client:
        reply = recovery_of(await client.join(token=token))
    assert (reply["outcome"], reply["token"]) == ("version", None)
