"""The journal of what pages lost: what is in it, of whom, and why; and what isn't."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from recovery_app import RecoveryManager, get_manager
from recovery_app._core.journal import NODE
from recovery_app._core.tokens import key_of
from recovery_app.values import Incident
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_bindings import join_as, make_user, session_of
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import TOPIC, connected, recovery_of
from tests.core.redis_storages import on_one
from tests.support.redis import make_redis
from tests.support.redis_fixtures import Manage


class Naming(Counter):
    """A consumer that has its users logged."""

    recovery_log_user = True


class Forgetful(Counter):
    """A consumer that can't take its state back."""

    async def restore_state(self, state: dict[str, Any]) -> None:
        raise KeyError("a value that no log may show")


class Crashing(Counter):
    """A consumer that can't be joined."""

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError


def entries(manager: RecoveryManager) -> list[Incident]:
    """Return what is in the journal."""
    return manager.incidents().items


async def join(
    manager: RecoveryManager, token: Any = None, app: Any = Counter, topic: str = TOPIC
) -> dict[str, Any]:
    async with connected(app, manager) as client:
        return recovery_of(await client.join(topic, token))


# What isn't lost.


async def test_pages_that_recover_write_nothing(manager: RecoveryManager) -> None:
    token = (await join(manager))["token"]
    for _ in range(3):
        async with connected(Counter, manager) as client:
            reply = recovery_of(await client.join(token=token))
            assert reply["outcome"] == "recovered"
            await client.push("add")
            token = reply["token"]
    assert entries(manager) == []


async def test_nor_does_a_new_page_during_an_outage(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    storage.stop()
    assert (await join(manager))["outcome"] == "unavailable"
    storage.start()
    assert entries(manager) == []


# States that didn't come back.


async def test_a_state_that_is_gone(manager: RecoveryManager, clock: FakeClock) -> None:
    token = (await join(manager))["token"]
    manager.storage.delete(key_of(token))
    clock.advance(seconds=12.5)
    new = (await join(manager, token))["token"]
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason, entry.part) == ("recovery", "not_found", "")
    assert entry.cause == "MemoryStorage keeps only the snapshots of this process"
    assert (entry.shown_hash, entry.socket_hash) == (key_of(token), key_of(new))
    assert (entry.view, entry.topic, entry.node) == (TOPIC, TOPIC, NODE)
    assert entry.token_seconds == 12.5
    assert (entry.person, entry.user) == ("", "")
    assert token not in repr(entry)


async def test_a_token_of_another_secret(manager: RecoveryManager) -> None:
    token = (await join(manager))["token"]
    with RecoveryManager(secret=b"another " * 8, storage=manager.storage) as other:
        assert (await join(other, token))["outcome"] == "rejected"
        assert (await join(other, "rubbish"))["outcome"] == "rejected"
    found = {entry.part: entry for entry in entries(manager)}
    assert found.keys() == {"secret", "token"}
    assert found["secret"].shown_hash == key_of(token)
    assert (found["token"].shown_hash, found["token"].token_seconds) == ("", None)


async def test_a_log_that_is_off_takes_nothing_from_it(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "recovery_app")
    await join(manager, "rubbish")
    assert [entry.part for entry in entries(manager)] == ["token"]


async def test_an_error_of_the_application_is_named_by_its_type_and_line(
    manager: RecoveryManager,
) -> None:
    token = (await join(manager))["token"]
    assert (await join(manager, token, Forgetful))["outcome"] == "rejected"
    async with connected(Forgetful, manager) as client:
        token = recovery_of(await client.join())["token"]
    assert (await join(manager, token, Forgetful))["outcome"] == "failed"
    (entry,) = (each for each in entries(manager) if each.reason == "failed")
    assert entry.cause.startswith(f"KeyError ({Path(__file__).name}:")
    assert "no log may show" not in repr(entry)


async def test_a_join_that_crashes(manager: RecoveryManager) -> None:
    async with connected(Crashing, manager) as client:
        assert (await client.join())["response"] == {"reason": "join crashed"}
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason, entry.topic) == ("recovery", "join_crashed", TOPIC)
    assert entry.cause.startswith("ZeroDivisionError (")


class Unlucky:
    """A user who can't be asked anything, as one that is loaded lazily from a database that is."""

    @property
    def is_authenticated(self) -> bool:
        raise ConnectionError


class Unnamed(Counter):
    """A consumer that meets such a user while it is joined."""

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        self.scope["user"] = Unlucky()  # type: ignore[typeddict-item]
        raise ZeroDivisionError


async def test_a_user_who_cant_be_named_crashes_the_join_and_no_more(
    manager: RecoveryManager,
) -> None:
    async with connected(Unnamed, manager) as client:
        assert (await client.join())["response"] == {"reason": "join crashed"}
    (entry,) = entries(manager)
    assert (entry.reason, entry.person) == ("join_crashed", "")


async def test_one_page_that_tries_again_and_again_is_one_entry(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    token = (await join(manager))["token"]
    storage.stop()
    for _ in range(3):
        assert (await join(manager, token))["outcome"] == "unavailable"
    storage.start()
    (entry,) = entries(manager)
    assert (entry.reason, entry.shown_hash) == ("unavailable", key_of(token))
    assert "a test" in entry.cause


# Events.


async def test_events_that_crash(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        for event in ("break", "odd", "wrong"):
            await client.push(event)
        found = {entry.handling: entry for entry in entries(manager)}
    assert {name: (each.kind, each.reason) for name, each in found.items()} == {
        "break": ("event", "crashed"),
        "odd": ("event", "unserializable"),
        "wrong": ("event", "crashed"),
    }
    assert {entry.socket_hash for entry in found.values()} == {key_of(token)}
    assert found["break"].cause.startswith("RuntimeError (apps.py:")


async def test_a_state_that_was_never_saved_again(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as changed, connected(Counter, manager) as idle:
        token = recovery_of(await changed.join())["token"]
        await idle.join()
        storage.stop()
        await changed.push("add")
        await idle.push("quiet")
    storage.start()
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason) == ("unsaved", "unavailable")
    assert entry.socket_hash == key_of(token)
    assert "a test" in entry.cause


async def test_a_state_that_the_end_of_the_connection_saved_is_not_lost(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as client:
        await client.join()
        storage.stop()
        await client.push("add")
        storage.start()
    assert entries(manager) == []


async def test_a_mount_that_is_too_large(make_manager: Callable[..., RecoveryManager]) -> None:
    manager = make_manager(max_state_bytes=10)
    await join(manager)
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason) == ("unsaved", "too_large")


# Forks and revocations.


async def test_a_page_that_was_fenced_goes_on_as_another_socket(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as zombie:
        token = recovery_of(await zombie.join())["token"]
        await join(manager, token)
        await zombie.cast("add")
        forked = await told_token(zombie)
        await zombie.reply()
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason) == ("fork", "superseded")
    assert (entry.shown_hash, entry.socket_hash) == (key_of(token), key_of(forked))


async def test_a_copied_state_is_a_fork(manager: RecoveryManager) -> None:
    old = (await join(manager))["token"]
    async with connected(Counter, manager) as client:
        await client.join(token=old)
        await client.push("add")
    assert (await join(manager, old))["outcome"] == "copied"
    (entry,) = entries(manager)
    assert (entry.kind, entry.reason, entry.shown_hash) == ("fork", "copied", key_of(old))


@pytest.mark.django_db(transaction=True)
async def test_a_revoked_user(manager: RecoveryManager, clock: FakeClock) -> None:
    user = await make_user("ada")
    session = await session_of(user)
    token = (await join_as(manager, session))["token"]
    clock.advance(seconds=1)
    manager.revoke_user(user)
    assert (await join_as(manager, session, token))["outcome"] == "rejected"
    reasons = {entry.reason: entry for entry in entries(manager)}
    assert reasons.keys() == {"user_revoked", "rejected"}
    assert reasons["rejected"].part == "revoked"
    assert {entry.person for entry in reasons.values()} == {manager.digests_of_user(user)[0]}


async def test_a_page_that_is_closed_by_a_revocation(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        (info,) = manager.snapshots().items
        manager.revoke_socket(info.socket_hash)
        await client.cast("add")
        assert (await client.hear())["event"] == "phx_close"
    found = {entry.reason: entry for entry in entries(manager)}
    assert found.keys() == {"socket_revoked", "page_closed"}
    assert found["page_closed"].socket_hash == info.socket_hash


# Whose it was.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counter", [Counter, Naming])
async def test_a_user_is_found_by_digest_and_named_only_where_that_is_wanted(
    manager: RecoveryManager, counter: Any
) -> None:
    user = await make_user("ada")
    session = await session_of(user)
    token = (await join_as(manager, session, counter=counter))["token"]
    manager.storage.delete(key_of(token))
    await join_as(manager, session, token, counter=counter)
    (entry,) = entries(manager)
    assert entry.person == manager.digests_of_user(user)[0]
    assert entry.user == (str(user.pk) if counter is Naming else "")


# The real thing.


@pytest.mark.parametrize("comes_back_empty", [True, False])
async def test_an_outage_of_redis_is_told_with_its_cause(
    redis_directory: Path, manage: Manage, comes_back_empty: bool
) -> None:
    """Found by one search, though the journal was in that Redis as well."""
    options = () if comes_back_empty else ("--appendonly", "yes", "--appendfsync", "always")
    with make_redis(redis_directory, *options) as server:
        manager = manage(**on_one(server))
        token = (await join(manager))["token"]
        server.kill()
        assert (await join(manager, token))["outcome"] == "unavailable"
        server.start()
        outcome = "not_found" if comes_back_empty else "recovered"
        assert (await join(manager, token))["outcome"] == outcome
        *lost, during = entries(manager)
    assert [entry.reason for entry in lost] == (["not_found"] if comes_back_empty else [])
    assert during.reason == "unavailable"
    assert during.cause.startswith("Connection refused (127.0.0.1:")
    assert {entry.shown_hash for entry in (*lost, during)} == {key_of(token)}


def test_settings_bound_it_and_switch_it_off() -> None:
    with override_settings(RECOVERY={"JOURNAL_MAX_ENTRIES": 7, "JOURNAL_MAX_AGE": 60}):
        limits = get_manager().journal.limits()
        assert (limits.max_entries, limits.max_age_seconds) == (7, 60)
    with override_settings(RECOVERY={"JOURNAL_MAX_ENTRIES": 0}):
        assert not get_manager().journal.is_on
