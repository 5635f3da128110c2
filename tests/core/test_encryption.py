"""Tests of encryption: who can read the storage can't read states."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app import RecoveryManager
from recovery_app._core.encryption import Cipher
from recovery_app._core.metadata import metadata_of
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import EncryptionKeyUnknown, SnapshotCorrupt, StateTooLarge
from recovery_app.snapshots import ENCRYPTED, Header
from recovery_app.storages import DatabaseStorage, MemoryStorage, Storage
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.wire import connected, recovery_of
from tests.core.support import OwnStorage, make_manager, run_script

SOCKET = "the socket"
KEY = hash_socket_id(SOCKET).hex()
STATE = {"text": "what somebody typed"}
REPLIES = b"what somebody was told"
ONE, TWO, THREE = (bytes([number]) * 16 + b" a key of encryption" for number in (1, 2, 3))
TTL = 60


@pytest.fixture
def storage(clock: FakeClock) -> Storage:
    return MemoryStorage(clock=clock)


def manager_of(storage: Storage, *keys: bytes, **options: Any) -> RecoveryManager:
    return make_manager(
        storage=storage, clock=storage.clock, encryption_keys=keys or None, **options
    )


def stored(storage: Storage) -> bytes:
    data = storage.load(KEY)
    assert data is not None
    return data


def saved(manager: RecoveryManager, replies: bytes = b"") -> str:
    """Save a state, with replies as a page's connection does; return its token."""
    grant = manager.operations.create(SOCKET, b"")
    flow = manager.operations.save_payload(
        grant,
        manager.codec.encode(STATE),
        socket_id=SOCKET,
        metadata=metadata_of(0, "a view", "a:topic"),
        replies=replies,
    )
    manager.driver.run(flow)
    return grant.token


@pytest.mark.parametrize("seal", [None, True, False])
def test_neither_states_nor_replies_can_be_read(storage: Storage, seal: bool | None) -> None:
    manager = manager_of(storage, ONE, seal=seal)
    token = saved(manager, REPLIES)
    data = stored(storage)
    assert Header.read(data).flags == ENCRYPTED
    for secret in (b"typed", b"told", b"text", ONE):
        assert secret not in data
    takeover = manager.take_over(token)
    assert (takeover.state, takeover.replies) == (STATE, REPLIES)
    assert takeover.payload == manager.codec.encode(STATE)
    assert manager.recover(takeover.token) == STATE
    inspected = manager.inspect(KEY)
    assert inspected is not None
    assert inspected.state == STATE


@pytest.mark.django_db(transaction=True)
def test_a_database_has_only_the_ciphertext(clock: FakeClock) -> None:
    storage = DatabaseStorage(clock=clock)
    manager = manager_of(storage, ONE)
    token = saved(manager, REPLIES)
    assert b"typed" not in stored(storage)
    assert manager.take_over(token).replies == REPLIES


def test_no_two_saves_look_alike(storage: Storage) -> None:
    manager = manager_of(storage, ONE)
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    first = stored(storage)
    manager.save(token, STATE)
    assert stored(storage)[-20:] != first[-20:]


def test_each_socket_has_a_key_of_its_own(storage: Storage) -> None:
    cipher = Cipher([ONE])
    encrypted = cipher.encrypt("0" * 16, b"head", b"", b"state")
    with pytest.raises(SnapshotCorrupt):
        cipher.decrypt("1" * 16, b"head", encrypted)
    with pytest.raises(SnapshotCorrupt):
        cipher.decrypt("0" * 16, b"tail", encrypted)


@given(st.binary(), st.binary(), st.binary(), st.text("0123456789abcdef", min_size=16, max_size=16))
def test_what_is_encrypted_comes_back(replies: bytes, state: bytes, head: bytes, key: str) -> None:
    newer = Cipher([TWO, ONE])
    for cipher in (Cipher([ONE]), newer):
        encrypted = cipher.encrypt(key, head, replies, state)
        assert newer.decrypt(key, head, encrypted) == (replies, state)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(data: bytes) -> None:
    cipher = Cipher([ONE])
    real = cipher.encrypt(KEY, b"", b"", b"state")
    for altered in (data, real[:8] + data, real[:20] + data):
        if altered != real:
            with pytest.raises(SnapshotCorrupt):
                cipher.decrypt(KEY, b"", altered)


# Keys that come and go.


def test_a_key_is_rotated_by_adding_one_in_front(storage: Storage) -> None:
    token = saved(manager_of(storage, ONE), REPLIES)
    newer = manager_of(storage, TWO, ONE)
    assert newer.recover(token) == STATE
    takeover = newer.take_over(token)
    assert takeover.replies == REPLIES
    newer.save(takeover.token, STATE)
    assert manager_of(storage, TWO).recover(takeover.token) == STATE
    # Nodes that have the new key at the end read what newer nodes write, and they theirs.
    older = manager_of(storage, ONE, TWO)
    assert older.recover(takeover.token) == STATE
    older.save(takeover.token, STATE)
    assert newer.recover(takeover.token) == STATE


@pytest.mark.parametrize("seal", [None, True])
def test_a_wrong_key_is_told_from_damage(storage: Storage, seal: bool | None) -> None:
    manager = manager_of(storage, ONE, seal=seal)
    token = saved(manager)
    data = stored(storage)
    for wrong in (manager_of(storage, TWO, THREE, seal=seal), manager_of(storage, seal=seal)):
        with pytest.raises(EncryptionKeyUnknown, match="ENCRYPTION_KEYS") as raised:
            wrong.take_over(token)
        assert raised.value.socket_hash == KEY
        inspected = wrong.inspect(KEY)
        assert inspected is not None
        assert "ENCRYPTION_KEYS" in inspected.info.problem
    # Neither the snapshot nor the token is lost.
    assert manager.take_over(token).state == STATE
    for offset in (-1, -20, len(data) - 40):
        at = offset % len(data)
        storage.save(KEY, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], TTL)
        with pytest.raises(SnapshotCorrupt, match=r"altered") as damage:
            manager.take_over(token)
        assert type(damage.value) is SnapshotCorrupt
    storage.save(KEY, data, TTL)
    assert manager.take_over(token).state == STATE


@pytest.mark.parametrize("kind", [MemoryStorage, OwnStorage])
def test_what_was_stored_before_there_were_keys_is_read(kind: Any, clock: FakeClock) -> None:
    storage = kind(clock=clock)
    token = saved(manager_of(storage), REPLIES)
    encrypting = manager_of(storage, ONE)
    takeover = encrypting.take_over(token)
    assert (takeover.state, takeover.replies) == (STATE, REPLIES)
    encrypting.save(takeover.token, STATE)
    assert b"typed" not in stored(storage)


def test_a_limit_counts_the_state_alone(storage: Storage) -> None:
    limit = len(manager_of(storage).codec.encode(STATE))
    manager = manager_of(storage, ONE, max_state_bytes=limit)
    manager.save(token := manager.create_token(SOCKET), STATE)
    with pytest.raises(StateTooLarge):
        manager.save(token, {"text": STATE["text"] + "!"})


@pytest.mark.parametrize("keys", [[], [b"k" * 31], ["k" * 31], [ONE, b""]])
def test_keys_that_are_none_are_refused(storage: Storage, keys: list[Any]) -> None:
    with pytest.raises(ValueError, match="encryption key"):
        make_manager(storage=storage, encryption_keys=keys)


async def test_a_page_goes_on_from_what_is_encrypted() -> None:
    manager = make_manager(storage=MemoryStorage(), encryption_keys=[ONE])
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
        first = await client.push("add", {"_seq": 1, "_ack": 0})
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["seq"]) == ("recovered", 1)
        again = await client.push("add", {"_seq": 1, "_ack": 0})
    repeated = again["response"].pop("_recovery")
    assert repeated["repeat"] is True
    first["response"].pop("_recovery")
    assert again == first


WITHOUT = """
import sys
sys.modules["cryptography"] = None
import django
from django.core import checks
from django.test import override_settings
django.setup()
with override_settings(RECOVERY={"ENCRYPTION_KEYS": ["a key of 32 bytes and some more.."]}):
    (found,) = checks.run_checks(tags=["recovery_app"])
print(found.id, found.msg)
from recovery_app import RecoveryManager
with RecoveryManager(secret=b"a secret that has more than 32 bytes") as manager:
    manager.save(token := manager.create_token("a socket"), {"n": 1})
    assert manager.recover(token) == {"n": 1}
try:
    RecoveryManager(secret=b"a secret that has more than 32 bytes", encryption_keys=["k" * 32])
except ImportError as error:
    print(error)
"""


def test_without_the_extra_the_setting_says_so() -> None:
    check, error = run_script(WITHOUT, fresh=True).splitlines()
    assert check.startswith("recovery_app.E012 ")
    for line in (check, error):
        assert "django-recovery-app[encryption]" in line
