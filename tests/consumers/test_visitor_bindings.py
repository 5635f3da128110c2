"""What visitors do is bound to the cookie of their browser, over login and logout."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.sessions import SessionMiddlewareStack
from django.conf import settings as django_settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError

from recovery_app import RecoveryManager, _visitors
from recovery_app._core.persons import ANONYMOUS, combine, name_user, name_visitor
from recovery_app._visitors import COOKIE_NAME, SCOPE_KEY, make_visitor, sign_visitor
from recovery_app.middleware import RecoveryMiddlewareStack
from tests.consumers.apps import COUNTERS, Counter, SyncCounter
from tests.consumers.test_bindings import anonymous_session, make_user, session_of
from tests.consumers.test_persons import Interrupted, fail, without_person
from tests.consumers.wire import Client, connected, recovery_of, rejoin

pytestmark = pytest.mark.django_db(transaction=True)
NEW_KEY = "a new SECRET_KEY of more than fifty characters, as Django asks for"


class Keeping(Counter):
    recovery_keep_on_login = True


class SyncKeeping(SyncCounter):
    recovery_keep_on_login = True


both = pytest.mark.parametrize("counter", COUNTERS)
keeping = pytest.mark.parametrize("counter", [Keeping, SyncKeeping])


class Browser:
    """A browser's cookies, and what its pages are told."""

    def __init__(self, manager: RecoveryManager, counter: Any = Counter) -> None:
        self.manager = manager
        self.counter = counter
        self.cookies: dict[str, str] = {}
        self.stack: Callable[[Any], Any] = AuthMiddlewareStack

    def visits(self, visitor: str | None = None) -> Browser:
        """Open a page that sets the cookie."""
        self.visitor = visitor or make_visitor()
        self.cookies[COOKIE_NAME] = sign_visitor(self.visitor)
        return self

    def has_session(self, key: str | None) -> Browser:
        self.cookies.pop(django_settings.SESSION_COOKIE_NAME, None)
        if key is not None:
            self.cookies[django_settings.SESSION_COOKIE_NAME] = key
        return self

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Client]:
        written = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = [(b"cookie", written.encode())] if written else []
        app = self.stack(self.counter.as_asgi())
        async with connected(app, self.manager, headers=headers) as client:
            yield client

    async def join(self, token: str | None = None, *, adds: bool = False) -> dict[str, Any]:
        async with self.opened() as client:
            reply = await client.join(token=token)
            if adds:
                await client.push("add")
            return {**recovery_of(reply), "count": reply["response"].get("count")}

    async def outcome(self, token: str | None) -> str:
        return str((await self.join(token))["outcome"])

    def owner(self, *names: bytes) -> list[str]:
        return [self.manager.operations.owner_of(name) for name in names]


# The cookie is the person.


@both
async def test_a_visitors_token_is_good_with_the_cookie_only(
    manager: RecoveryManager, counter: Any
) -> None:
    mine = Browser(manager, counter).visits()
    token = (await mine.join(adds=True))["token"]
    other = Browser(manager, counter).visits()
    forged = Browser(manager, counter)
    forged.cookies[COOKIE_NAME] = mine.visitor + sign_visitor("x")[1:]
    unsigned = Browser(manager, counter)
    unsigned.cookies[COOKIE_NAME] = mine.visitor
    user = Browser(manager, counter).has_session(await session_of(await make_user("bob")))
    thieves = [Browser(manager, counter), other, forged, unsigned, user]
    assert [await thief.outcome(token) for thief in thieves] == ["rejected"] * len(thieves)
    told = await mine.join(token)
    assert (told["outcome"], told["count"]) == ("recovered", 1)
    assert "aliases" not in told


async def test_the_cookie_alone_gives_nothing_away(manager: RecoveryManager) -> None:
    mine = Browser(manager).visits()
    await mine.join(adds=True)
    thief = Browser(manager).visits(mine.visitor)
    assert (await thief.join())["outcome"] == "new"
    made_up = manager.create_token("a socket", binding=name_visitor(mine.visitor))
    assert await thief.outcome(made_up) == "rejected"


async def test_a_forged_cookie_counts_as_none(manager: RecoveryManager) -> None:
    forged = Browser(manager)
    forged.cookies[COOKIE_NAME] = "mine:1abcde:" + "A" * 43
    told = await forged.join(adds=True)
    assert told["owner"] == forged.owner(ANONYMOUS)[0]
    session = await anonymous_session()
    told = await forged.has_session(session).join()
    assert told["owner"] == forged.owner(combine("session", session))[0]


@pytest.mark.parametrize("stack", [lambda app: app, SessionMiddlewareStack, AuthMiddlewareStack])
async def test_any_stack_knows_the_visitor(
    manager: RecoveryManager, stack: Callable[[Any], Any]
) -> None:
    mine = Browser(manager).visits()
    token = (await mine.join(adds=True))["token"]
    mine.stack = stack
    told = await mine.join(token)
    assert (told["outcome"], told["owner"]) == (
        "recovered",
        *mine.owner(name_visitor(mine.visitor)),
    )
    mine.stack = RecoveryMiddlewareStack
    assert await mine.outcome(told["token"]) == "recovered"


async def test_what_a_scope_had_before_counts_for_nothing(manager: RecoveryManager) -> None:
    async with connected(Counter, manager, **{SCOPE_KEY: "somebody"}) as client:
        told = recovery_of(await client.join())
    assert told["owner"] == manager.operations.owner_of(ANONYMOUS)


async def test_the_cookie_is_verified_once_for_each_connection(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(wraps=_visitors.read_cookie)
    monkeypatch.setattr(_visitors, "read_cookie", read)
    mine = Browser(manager).visits()
    async with mine.opened() as client:
        token = recovery_of(await client.join())["token"]
        for _ in range(5):
            await client.push("add")
        assert recovery_of(await rejoin(client, token))["outcome"] == "recovered"
    assert read.call_count == 1


async def test_a_visitors_joins_are_limited_on_all_connections(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    manager = make_manager(join_rate="1/m")
    mine, other = Browser(manager).visits(), Browser(manager).visits()
    for _ in range(5):
        await mine.join()
    async with mine.opened() as client:
        reply = await client.join()
    assert reply == {"status": "error", "response": {"reason": "too many joins"}}
    assert (await other.join())["outcome"] == "new"


async def test_a_rotated_key_costs_a_visitor_nothing(
    manager: RecoveryManager, settings: Any
) -> None:
    mine = Browser(manager).visits()
    token = (await mine.join(adds=True))["token"]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = NEW_KEY
    token = (await mine.join(token))["token"]
    renewed = mine.visits(mine.visitor)
    settings.SECRET_KEY_FALLBACKS = []
    assert await renewed.outcome(token) == "recovered"


# It stays the same, whatever else the site gives the browser.


@both
async def test_a_session_that_the_site_gives_changes_nothing(
    manager: RecoveryManager, counter: Any
) -> None:
    mine = Browser(manager, counter).visits()
    first = await mine.join(adds=True)
    mine.has_session(await anonymous_session())
    second = await mine.join(first["token"])
    mine.has_session(await anonymous_session())
    third = await mine.join(second["token"])
    fourth = await mine.has_session(None).join(third["token"])
    told = [second, third, fourth]
    assert [each["outcome"] for each in told] == ["recovered"] * 3
    assert {each["owner"] for each in told} == {first["owner"]}
    assert not any("aliases" in each for each in told)


@both
async def test_earlier_tokens_of_the_same_browser_are_renewed(
    manager: RecoveryManager, counter: Any
) -> None:
    session = await anonymous_session()
    mine = Browser(manager, counter).has_session(session)
    stranger = Browser(manager, counter).visits()
    token = (await mine.join(adds=True))["token"]
    assert await stranger.outcome(token) == "rejected"
    told = await mine.visits().join(token)
    assert (told["outcome"], told["count"]) == ("recovered", 1)
    assert told["aliases"] == mine.owner(combine("session", session))
    without = Browser(manager, counter).has_session(session)
    for shown in (token, told["token"]):
        assert await without.outcome(shown) == "rejected"
    assert await mine.has_session(None).outcome(told["token"]) == "recovered"

    token = await without_person(manager, counter)
    told = await mine.join(token)
    assert (told["outcome"], told["count"]) == ("recovered", 1)
    assert "aliases" not in told, "Anyone can keep events as nobody."
    assert await stranger.outcome(token) == "rejected"
    assert await mine.outcome(told["token"]) == "recovered"


async def test_a_session_that_nobody_has_loaded_is_loaded_for_them(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Browser(manager).has_session(await anonymous_session())
    token = (await mine.join(adds=True))["token"]
    mine.visits().stack = SessionMiddlewareStack

    def break_down(*_: Any) -> None:
        raise OperationalError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(SessionStore, "load", break_down)
        told = await mine.join(token)
        assert (told["outcome"], told["token"]) == ("unavailable", None)
    assert await mine.outcome(token) == "recovered"


# Login and logout.


@both
async def test_a_login_begins_afresh(manager: RecoveryManager, counter: Any) -> None:
    mine = Browser(manager, counter).visits()
    token = (await mine.join(adds=True))["token"]
    key = await session_of(await make_user("ada"))
    told = await mine.has_session(key).join(token)
    assert (told["outcome"], told["count"]) == ("rejected", None)
    assert "aliases" not in told
    assert await mine.has_session(None).outcome(told["token"]) == "rejected"
    # The visitor's own state waits for the logout.
    assert (await mine.join(token))["count"] == 1


@keeping
async def test_a_login_takes_the_state_along_where_the_consumer_says_so(
    manager: RecoveryManager, counter: Any
) -> None:
    ada = await make_user("ada")
    mine = Browser(manager, counter).visits()
    token = (await mine.join(adds=True))["token"]
    stranger = Browser(manager, counter).visits().has_session(await session_of(ada))
    assert await stranger.outcome(token) == "rejected", "The user, but another browser."
    kept = await mine.has_session(await session_of(ada)).join(token, adds=True)
    assert (kept["outcome"], kept["count"]) == ("recovered", 1)
    assert kept["owner"] == mine.owner(name_user(ada.pk))[0]
    assert kept["aliases"] == mine.owner(name_visitor(mine.visitor))
    # It is the user's from now on, in each browser.
    again = await stranger.join(kept["token"])
    assert (again["outcome"], again["count"]) == ("recovered", 2)
    assert "aliases" not in again
    mine.has_session(None)
    for shown in (token, kept["token"], again["token"]):
        assert await mine.outcome(shown) == "rejected"


@keeping
async def test_nothing_passes_from_user_to_user_by_way_of_the_cookie(
    manager: RecoveryManager, counter: Any
) -> None:
    ada, bob = await make_user("ada"), await make_user("bob")
    shared = Browser(manager, counter).visits()
    as_visitor = (await shared.join(adds=True))["token"]
    as_ada = (await shared.has_session(await session_of(ada)).join(as_visitor, adds=True))["token"]
    own = (await shared.join(adds=True))["token"]
    shared.has_session(None)
    tokens = (as_visitor, as_ada, own)
    assert [await shared.outcome(token) for token in tokens] == ["rejected"] * 3
    shared.has_session(await session_of(bob))
    for token in tokens:
        told = await shared.join(token)
        assert (told["outcome"], told["count"]) == ("rejected", None)
    shared.has_session(await session_of(ada))
    assert [await shared.outcome(token) for token in (as_ada, own)] == ["recovered"] * 2


@keeping
async def test_what_a_login_took_along_ends_with_all_that_is_the_users(
    manager: RecoveryManager, counter: Any
) -> None:
    ada = await make_user("ada")
    mine = Browser(manager, counter).visits()
    taken, lost = [(await mine.join(adds=True))["token"] for _ in range(2)]
    mine.has_session(await session_of(ada))
    kept = (await mine.join(taken))["token"]
    await mine.join(lost)
    await manager.arevoke_user(ada)
    for token in (taken, kept, lost):
        assert await mine.outcome(token) == "rejected"
    mine.has_session(None)
    for token in (taken, kept, lost):
        assert await mine.outcome(token) == "rejected"


async def test_a_lost_reply_to_the_join_after_a_login_costs_nothing(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = Interrupted()
    manager = make_manager(storage=storage)
    ada, bob = await make_user("ada"), await make_user("bob")
    mine = Browser(manager, Keeping).visits()
    token = (await mine.join(adds=True))["token"]
    mine.has_session(await session_of(ada))
    storage.after = fail
    told = await mine.join(token)
    assert (told["outcome"], told["token"]) == ("unavailable", None)
    storage.after = int
    for _ in range(3):
        told = await mine.join(token)
        assert (told["outcome"], told["count"]) == ("recovered", 1)
        assert told["aliases"] == mine.owner(name_visitor(mine.visitor)), "They go along each time."
    assert await mine.has_session(await session_of(bob)).outcome(token) == "rejected"


async def test_events_go_along_even_if_the_state_has_expired(
    manager: RecoveryManager, clock: Any
) -> None:
    mine = Browser(manager, Keeping).visits()
    token = (await mine.join(adds=True))["token"]
    clock.advance(seconds=manager.ttl + 1)
    told = await mine.has_session(await session_of(await make_user("ada"))).join(token)
    assert (told["outcome"], told["aliases"]) == (
        "expired",
        mine.owner(name_visitor(mine.visitor)),
    )


async def test_a_session_that_keeps_its_key_at_the_login_takes_the_state_along(
    manager: RecoveryManager,
) -> None:
    key = await anonymous_session()
    mine = Browser(manager, Keeping).has_session(key)
    token = (await mine.join(adds=True))["token"]
    ada = await make_user("ada")

    def log_in() -> None:
        theirs, stored = SessionStore(key), SessionStore(other)
        theirs.update(dict(stored.items()))
        theirs.save()

    other = await session_of(ada)
    assert await Browser(manager, Keeping).has_session(other).outcome(token) == "rejected"
    await sync_to_async(log_in)()
    told = await mine.join(token)
    assert (told["outcome"], told["owner"]) == ("recovered", *mine.owner(name_user(ada.pk)))


# A binding of one's own.


async def test_a_binding_that_adds_to_the_default_keeps_too(manager: RecoveryManager) -> None:
    class Tenant(Keeping):
        tenant = b"one"

        async def get_recovery_binding(self) -> bytes:
            default = await super().get_recovery_binding()
            assert isinstance(default, bytes)
            return self.tenant + default

    mine = Browser(manager, Tenant).visits()
    first = await mine.join(adds=True)
    assert first["aliases"] == mine.owner(name_visitor(mine.visitor)), "What a page calls them."
    ada = await make_user("ada")
    mine.has_session(await session_of(ada))
    told = await mine.join(first["token"])
    assert (told["outcome"], told["count"]) == ("recovered", 1)
    assert told["aliases"] == [*mine.owner(name_user(ada.pk)), first["owner"]]
    Tenant.tenant = b"two"
    assert await mine.outcome(told["token"]) == "rejected"


async def test_nobody_is_no_alias_of_those_whom_the_application_knows(
    manager: RecoveryManager,
) -> None:
    class Private(Counter):
        async def get_recovery_binding(self) -> bytes:
            return b"ann"

    assert "aliases" not in await Browser(manager, Private).join()
