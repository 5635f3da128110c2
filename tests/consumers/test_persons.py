"""Lawful changes of who one is keep the state; a logout, and a stranger, end it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.sessions.backends.db import SessionStore

from recovery_app import RecoveryManager
from recovery_app._core.persons import combine
from recovery_app.consumers.identity import bind_to_view
from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import RecoveryMiddlewareStack
from recovery_app.storages import Decision, MemoryStorage
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.test_bindings import (
    anonymous_session,
    cookies,
    join_as,
    make_user,
    session_of,
)
from tests.consumers.wire import TOPIC, Client, connected, recovery_of, rejoin

pytestmark = pytest.mark.django_db(transaction=True)
both = pytest.mark.parametrize("counter", COUNTERS)

NEW_KEY = "a new SECRET_KEY of more than fifty characters, as Django asks for"


@asynccontextmanager
async def opened(
    manager: RecoveryManager, session_key: str | None, counter: Any = Counter
) -> AsyncIterator[Client]:
    """Connect with a session cookie."""
    app = AuthMiddlewareStack(counter.as_asgi())
    async with connected(app, manager, headers=cookies(session_key)) as client:
        yield client


async def outcome_as(
    manager: RecoveryManager, session_key: str | None, token: str | None, counter: Any = Counter
) -> str:
    outcome: str = (await join_as(manager, session_key, token, counter=counter))["outcome"]
    return outcome


async def without_person(manager: RecoveryManager, counter: Any = Counter) -> str:
    """Return the token of a visitor without a session, whose count is 1."""
    async with opened(manager, None, counter) as client:
        token: str = recovery_of(await client.join())["token"]
        await client.push("add")
        return token


# A token bound to nobody is good for its bearer, and becomes the bearer's.


@both
async def test_what_nobody_began_goes_on_as_ones_own(
    manager: RecoveryManager, counter: Any
) -> None:
    ada, bob = await make_user("ada"), await make_user("bob")
    for mine, theirs in (
        (await anonymous_session(), await anonymous_session()),
        (await session_of(ada), await session_of(bob)),
    ):
        token = await without_person(manager, counter)
        async with opened(manager, mine, counter) as client:
            reply = await client.join(token=token)
            renewed = recovery_of(reply)
            assert (renewed["outcome"], reply["response"]["count"]) == ("recovered", 1)
            assert (await client.push("add"))["response"]["count"] == 2
        for shown in (token, renewed["token"]):
            for stranger in (None, theirs):
                assert await outcome_as(manager, stranger, shown, counter) == "rejected"
        assert await outcome_as(manager, mine, renewed["token"], counter) == "recovered"


async def test_after_a_logout_nobody_has_what_was_the_users(manager: RecoveryManager) -> None:
    ada = await make_user("ada")
    key = await session_of(ada)
    began = await without_person(manager)
    token = (await join_as(manager, key, began))["token"]
    await sync_to_async(SessionStore(key).flush)()
    for shown in (began, token):
        for session_key in (key, None, await anonymous_session()):
            assert await outcome_as(manager, session_key, shown) == "rejected"


async def test_a_lost_reply_costs_nothing_but_a_stranger_has_no_use_of_it(
    manager: RecoveryManager,
) -> None:
    mine = await anonymous_session()
    token = await without_person(manager)
    # Joined, and the reply lost: the page only has the old token, three times.
    for _ in range(3):
        assert await outcome_as(manager, mine, token) == "recovered"
    assert await outcome_as(manager, await anonymous_session(), token) == "rejected"
    async with opened(manager, mine) as client:
        reply = await client.join(token=token)
        assert reply["response"]["count"] == 1
        await client.push("add")
    assert await outcome_as(manager, mine, token) == "copied"
    assert await outcome_as(manager, mine, recovery_of(reply)["token"]) == "recovered"


class Interrupted(MemoryStorage):
    """A storage in which something happens before or after each renewal."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = int
        self.after: Callable[[], object] = int

    async def arenew(self, *arguments: Any, **options: Any) -> Decision:
        self.before()
        decision = await super().arenew(*arguments, **options)
        self.after()
        return decision


def fail() -> None:
    raise StorageUnavailable("Interrupted", "a test")


async def test_an_outage_between_the_two_steps_costs_nothing(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = Interrupted()
    manager = make_manager(storage=storage)
    mine = await anonymous_session()
    token = await without_person(manager)
    for moment in ("before", "after"):
        setattr(storage, moment, fail)
        told = await join_as(manager, mine, token)
        assert (told["outcome"], told["token"]) == ("unavailable", None)
        setattr(storage, moment, int)
    assert await outcome_as(manager, mine, token) == "recovered"


async def test_no_frame_of_a_broken_renewal_holds_a_secret(
    make_manager: Callable[..., RecoveryManager], caplog: pytest.LogCaptureFixture
) -> None:
    storage = Interrupted()
    manager = make_manager(storage=storage)
    mine = await anonymous_session()
    token = await without_person(manager)

    def break_down() -> None:
        raise RuntimeError("out of order")

    storage.before = break_down
    assert await outcome_as(manager, mine, token) == "unavailable"
    [record] = [each for each in caplog.records if each.exc_info]
    assert record.exc_info is not None
    traceback, names = record.exc_info[2], []
    while traceback is not None:
        frame = traceback.tb_frame
        names.append(frame.f_code.co_name)
        assert token not in repr(frame.f_locals)
        assert mine not in repr(frame.f_locals)
        traceback = traceback.tb_next
    assert {"take_over", "take_over_as", "_rebind", "renew"} <= set(names)


@pytest.mark.parametrize("is_revoked", [False, True])
async def test_another_takeover_between_the_two_steps(
    make_manager: Callable[..., RecoveryManager], is_revoked: bool
) -> None:
    storage = Interrupted()
    manager = make_manager(storage=storage)
    mine = await anonymous_session()
    token = await without_person(manager)
    binding = bind_to_view(Counter, TOPIC) + combine(combine("nobody"))

    def interrupt() -> None:
        storage.before = int
        other = manager.take_over(token, binding=binding)
        if is_revoked:
            manager.revoke(other.token, binding=binding)

    storage.before = interrupt
    outcome = await outcome_as(manager, mine, token)
    assert outcome == ("rejected" if is_revoked else "recovered")


async def test_a_default_that_was_added_to_is_widened_too(manager: RecoveryManager) -> None:
    calls: list[object] = []

    class Tenant(Counter):
        tenant = b"one"

        async def get_recovery_binding(self) -> bytes:
            default = await super().get_recovery_binding()
            assert isinstance(default, bytes)
            calls.append(default)
            return self.tenant + default

    class Unrelated(Counter):
        async def get_recovery_binding(self) -> bytes | None:
            calls.append(None)
            return b"a person" if self.scope["session"].session_key else None

    mine = await anonymous_session()
    token = await without_person(manager, Tenant)
    Tenant.tenant = b"two"
    assert await outcome_as(manager, mine, token, Tenant) == "rejected"
    Tenant.tenant = b"one"
    assert await outcome_as(manager, mine, token, Tenant) == "recovered"
    token = await without_person(manager, Unrelated)
    calls.clear()
    assert await outcome_as(manager, mine, token, Unrelated) == "rejected"
    assert calls == [None]


# A rotated SECRET_KEY.


@both
async def test_a_rotated_key_costs_nothing(
    manager: RecoveryManager, settings: Any, counter: Any
) -> None:
    ada, bob = await make_user("ada"), await make_user("bob")
    token = (await join_as(manager, await session_of(ada), counter=counter))["token"]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = NEW_KEY
    mine, theirs = await session_of(ada), await session_of(bob)
    assert await outcome_as(manager, theirs, token, counter) == "rejected"
    told = await join_as(manager, mine, token, counter=counter)
    assert told["outcome"] == "recovered"
    settings.SECRET_KEY_FALLBACKS = []
    assert await outcome_as(manager, mine, token, counter) == "rejected"
    assert await outcome_as(manager, mine, told["token"], counter) == "recovered"


async def test_a_key_that_was_withdrawn_is_of_no_use(
    manager: RecoveryManager, settings: Any
) -> None:
    ada = await make_user("ada")
    token = (await join_as(manager, await session_of(ada)))["token"]
    settings.SECRET_KEY = NEW_KEY
    assert await outcome_as(manager, await session_of(ada), token) == "rejected"


async def test_a_session_of_the_former_key_is_still_a_login(
    manager: RecoveryManager, settings: Any
) -> None:
    ada = await make_user("ada")
    key = await session_of(ada)
    async with opened(manager, key) as client:
        token = recovery_of(await client.join())["token"]
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = NEW_KEY
        before = await sync_to_async(SessionStore(key).load)()
        assert recovery_of(await rejoin(client, token))["outcome"] == "recovered"
        # Django would renew it with a cookie, which a WebSocket can't set.
        assert await sync_to_async(SessionStore(key).load)() == before


async def test_our_stack_lets_sessions_of_the_former_key_in(
    manager: RecoveryManager, settings: Any
) -> None:
    ada = await make_user("ada")
    key = await session_of(ada)
    app = RecoveryMiddlewareStack(Counter.as_asgi())
    async with connected(app, manager, headers=cookies(key)) as client:
        token = recovery_of(await client.join())["token"]
    before = await sync_to_async(SessionStore(key).load)()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = NEW_KEY
    async with connected(app, manager, headers=cookies(key)) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"
    # The browser's cookie still names the session, for Django to renew.
    assert await sync_to_async(SessionStore(key).load)() == before
    settings.SECRET_KEY_FALLBACKS = ["another one that was never used, of any length"]
    async with connected(app, manager, headers=cookies(key)) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "rejected"
