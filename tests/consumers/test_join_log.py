"""One line for each join: what came of it, why, for which sockets, and whose if that is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from channels.routing import URLRouter
from django.urls import path

from recovery_app import RecoveryManager
from recovery_app._core.journal import NODE
from recovery_app._core.tokens import key_of
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.test_bindings import join_as, make_user, session_of
from tests.consumers.wire import TOPIC, connected, recovery_of

Lines = Callable[[], list[Any]]
OTHER_TOPIC = "lv:counter:other"


class Shop(Counter):
    """A consumer with several views."""

    recovery_topics = (TOPIC, OTHER_TOPIC)


class Naming(Counter):
    """A consumer that has its users logged."""

    recovery_log_user = True


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Return a function that gives the lines of joins so far, and forgets them."""
    caplog.set_level(logging.INFO, "recovery_app")

    def take() -> list[Any]:
        found = [
            record
            for record in caplog.records
            if getattr(record, "event", "") in ("joined", "state_lost")
        ]
        caplog.clear()
        return found

    return take


async def join(
    manager: RecoveryManager, token: Any = None, app: Any = Shop, topic: str = TOPIC
) -> dict[str, Any]:
    """Join and return the ``_recovery`` of the reply."""
    async with connected(app, manager) as client:
        return recovery_of(await client.join(topic, token))


async def test_a_state_that_came_back(
    manager: RecoveryManager, clock: FakeClock, lines: Lines
) -> None:
    token = (await join(manager))["token"]
    (new,) = lines()
    key = key_of(token)
    assert (new.levelname, new.outcome, new.socket_hash) == ("INFO", "new", key)
    assert (new.shown_hash, new.unsaved_seconds, new.who) == (None, None, "")
    clock.advance(seconds=3.2)
    await join(manager, token)
    (record,) = lines()
    assert record.levelname == "INFO"
    assert record.getMessage() == (
        f"A page joined: outcome=recovered shown_hash={key} socket_hash={key} "
        f"topic={TOPIC!r} view={TOPIC!r} node={NODE} unsaved_seconds=3.2"
    )


async def test_a_state_that_was_copied(manager: RecoveryManager, lines: Lines) -> None:
    old = (await join(manager))["token"]
    async with connected(Shop, manager) as client:
        await client.join(TOPIC, old)
        await client.push("add")
    lines()
    reply = await join(manager, old)
    (record,) = lines()
    assert (record.levelname, record.outcome) == ("INFO", "copied")
    assert record.shown_hash == key_of(old)
    assert record.socket_hash == key_of(reply["token"]) != record.shown_hash


async def test_a_state_that_is_gone(manager: RecoveryManager, lines: Lines) -> None:
    token = manager.create_token("nobody", binding=b"")
    reply = await join(manager)
    lines()
    manager.storage.delete(key_of(reply["token"]))
    reply = await join(manager, reply["token"])
    (record,) = lines()
    assert (record.levelname, record.event) == ("WARNING", "state_lost")
    assert (record.outcome, record.reason, record.part) == ("not_found", "not_found", "")
    assert record.shown_hash != record.socket_hash == key_of(reply["token"])
    assert record.cause == "MemoryStorage keeps only the snapshots of this process"
    assert f"cause={record.cause!r}" in record.getMessage()
    assert token not in record.getMessage()


# Which part of a rejected token didn't fit.


def parts(records: list[Any]) -> list[tuple[str, str, str]]:
    return [(record.levelname, record.outcome, record.part) for record in records]


def forged(token: str) -> str:
    return token[:-1] + ("A" if token[-1] != "A" else "E")


@pytest.mark.parametrize("token", ["rubbish", 7, {}, "A" * 64])
async def test_what_is_no_token(manager: RecoveryManager, lines: Lines, token: object) -> None:
    assert (await join(manager, token))["outcome"] == "rejected"
    assert parts(lines()) == [("INFO", "rejected", "token")]


async def test_another_secret(manager: RecoveryManager, lines: Lines) -> None:
    token = (await join(manager))["token"]
    lines()
    await join(manager, forged(token))
    (record,) = lines()
    assert parts([record]) == [("INFO", "rejected", "secret")]
    assert record.shown_hash == key_of(token)
    with RecoveryManager(secret=b"another " * 8, storage=manager.storage) as other:
        await join(other, token)
    assert parts(lines()) == [("INFO", "rejected", "secret")]


async def test_another_view(manager: RecoveryManager, lines: Lines) -> None:
    token = (await join(manager))["token"]
    lines()
    await join(manager, token, topic=OTHER_TOPIC)
    assert parts(lines()) == [("INFO", "rejected", "view")]


async def test_another_address(manager: RecoveryManager, lines: Lines) -> None:
    shop: Any = Shop.as_asgi()
    routes: Any = [path("doc/<int:number>", shop)]
    app = URLRouter(routes)
    token = ""
    for number in (1, 2):
        async with connected(app, manager, path=f"/doc/{number}") as client:
            token = recovery_of(await client.join(TOPIC, token or None))["token"]
    assert parts(lines())[1:] == [("INFO", "rejected", "address")]


@pytest.mark.django_db(transaction=True)
async def test_a_revoked_person(manager: RecoveryManager, clock: FakeClock, lines: Lines) -> None:
    user = await make_user("ada")
    session = await session_of(user)
    token = (await join_as(manager, session))["token"]
    lines()
    clock.advance(seconds=1)
    manager.revoke_user(user)
    assert (await join_as(manager, session, token))["outcome"] == "rejected"
    assert parts(lines()) == [("INFO", "rejected", "revoked")]


@pytest.mark.django_db(transaction=True)
async def test_another_person(manager: RecoveryManager, lines: Lines) -> None:
    ada, bob = [await session_of(await make_user(name)) for name in ("ada", "bob")]
    token = (await join_as(manager, ada))["token"]
    lines()
    assert (await join_as(manager, bob, token))["outcome"] == "rejected"
    assert parts(lines()) == [("INFO", "rejected", "person")]


class Unreadable(MemoryStorage):
    """A storage that fails when it is read."""

    async def aload(self, key: str) -> bytes | None:
        raise StorageUnavailable("Unreadable", "load")


async def test_a_look_that_fails_fails_no_join(
    make_manager: Callable[..., RecoveryManager], lines: Lines
) -> None:
    manager = make_manager(storage=Unreadable())
    token = (await join(manager))["token"]
    lines()
    assert (await join(manager, forged(token)))["outcome"] == "rejected"
    assert parts(lines()) == [("INFO", "rejected", "unknown")]


async def test_nobody_looks_where_nothing_is_logged(
    make_manager: Callable[..., RecoveryManager], caplog: pytest.LogCaptureFixture
) -> None:
    loads = []

    class Counting(MemoryStorage):
        async def aload(self, key: str) -> bytes | None:
            loads.append(key)
            return await super().aload(key)

    manager = make_manager(storage=Counting(), journal_max_entries=0)
    token = (await join(manager))["token"]
    for level, expected in ((logging.WARNING, 0), (logging.INFO, 1)):
        caplog.set_level(level, "recovery_app")
        await join(manager, forged(token))
        assert len(loads) == expected


# Who.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counter", [Counter, Naming])
async def test_the_user_is_named_only_if_that_is_wanted(
    manager: RecoveryManager, lines: Lines, counter: Any
) -> None:
    user = await make_user("ada")
    await join_as(manager, await session_of(user), counter=counter)
    await join_as(manager, None, counter=counter)
    named, anonymous = lines()
    assert (named.who, anonymous.who) == (str(user.pk) if counter is Naming else "", "")
    assert ("who=" in named.getMessage()) is (counter is Naming)
