"""Users are loaded anew when they show a token: a login may have ended elsewhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack, login
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client as HttpClient

from recovery_app import RecoveryManager
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.test_bindings import (
    LoginConsumer,
    anonymous_session,
    cookies,
    join_as,
    make_user,
    session_of,
)
from tests.consumers.wire import Client, connected, recovery_of, rejoin

pytestmark = pytest.mark.django_db(transaction=True)


@asynccontextmanager
async def opened(
    manager: RecoveryManager, session_key: str | None, counter: Any = Counter
) -> AsyncIterator[Client]:
    """Connect with a session cookie."""
    app = AuthMiddlewareStack(counter.as_asgi())
    async with connected(app, manager, headers=cookies(session_key)) as client:
        yield client


def log_out(user: User, key: str) -> None:
    http = HttpClient()
    http.cookies[settings.SESSION_COOKIE_NAME] = key
    http.logout()


def deactivate(user: User, key: str) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def delete(user: User, key: str) -> None:
    User.objects.filter(pk=user.pk).delete()


def change_password(user: User, key: str) -> None:
    user.set_password("another long password")
    user.save()


def become_another(user: User, key: str) -> None:
    session = SessionStore(key)
    session["_auth_user_id"] = str(User.objects.create_user("eve").pk)
    session.save()


def lose_backend(user: User, key: str) -> None:
    session = SessionStore(key)
    session["_auth_user_backend"] = "an.old.Backend"
    session.save()


def lose_hash(user: User, key: str) -> None:
    session = SessionStore(key)
    del session[HASH_SESSION_KEY]
    session.save()


ENDS = [log_out, deactivate, delete, change_password, become_another, lose_backend, lose_hash]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("counter", COUNTERS)
async def test_a_login_that_ended_elsewhere_ends_recovery_on_an_open_socket(
    manager: RecoveryManager, counter: Any, end: Any
) -> None:
    ada = await make_user("ada")
    key = await session_of(ada)
    async with opened(manager, key, counter) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
        reply = await rejoin(client, token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 1)
        await sync_to_async(end)(ada, key)
        existed = await sync_to_async(SessionStore().exists)(key)
        reply = await rejoin(client, recovery_of(reply)["token"])
        assert recovery_of(reply)["outcome"] == "rejected"
        assert reply["response"]["mounted"] == "lv:counter"
        assert (await client.push("add"))["response"]["count"] == 1
    # Only looked at: what logs people out is Django's own.
    assert await sync_to_async(SessionStore().exists)(key) == existed


async def test_a_join_without_a_token_loads_nobody(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await session_of(await make_user("ada"))
    loads: list[str | None] = []
    load = SessionStore.load

    def count_loads(self: SessionStore) -> Any:
        loads.append(self.session_key)
        return load(self)

    async with opened(manager, key) as client:
        monkeypatch.setattr(SessionStore, "load", count_loads)
        token = recovery_of(await client.join())["token"]
        assert loads == []
        assert recovery_of(await rejoin(client, token))["outcome"] == "recovered"
        assert loads == [key]


async def test_a_user_who_came_without_the_session_is_left_alone(manager: RecoveryManager) -> None:
    ada = await make_user("ada")
    session = SessionStore(await anonymous_session())
    await sync_to_async(session.load)()
    scopes: list[dict[str, Any]] = [
        {},
        {"session": session},
        {"session": SessionStore()},
        {"session": {}},
    ]
    for scope in scopes:
        async with connected(Counter, manager, user=ada, **scope) as client:
            token = recovery_of(await client.join())["token"]
            assert recovery_of(await rejoin(client, token))["outcome"] == "recovered"


class Careless(LoginConsumer):
    """Logs in, and doesn't save the session."""

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        if event == "login":
            await login(self.scope, await User.objects.aget(username="ada"))
            await self.renew_recovery()
        self.count += 1
        return {"count": self.count}


@pytest.mark.parametrize("consumer", [LoginConsumer, Careless])
async def test_a_login_in_the_socket_counts(manager: RecoveryManager, consumer: Any) -> None:
    ada = await make_user("ada")
    async with opened(manager, await anonymous_session(), consumer) as client:
        await client.join()
        await client.cast("login")
        token = (await client.hear())["payload"]["token"]
        await client.hear()
        reply = recovery_of(await rejoin(client, token))
        assert reply["outcome"] == "recovered"
        await sync_to_async(deactivate)(ada, "")
        assert recovery_of(await rejoin(client, reply["token"]))["outcome"] == "rejected"


async def test_an_outage_of_the_sessions_costs_no_token(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = await session_of(await make_user("ada"))

    def load(self: Any) -> Any:
        raise OperationalError(f"the database is away, and the key is {key}")

    caplog.set_level(logging.INFO, "recovery_app")
    async with opened(manager, key) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
        with monkeypatch.context() as patch:
            patch.setattr(SessionStore, "load", load)
            reply = recovery_of(await rejoin(client, token))
        assert (reply["outcome"], reply["token"]) == ("unavailable", None)
        reply = await rejoin(client, token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 1)
    assert "OperationalError" in caplog.text
    assert key not in caplog.text


async def test_rubbish_from_a_user_is_rejected(manager: RecoveryManager) -> None:
    key = await session_of(await make_user("ada"))
    rubbish: list[Any] = ["x", "A" * 64, 7, ["x"], {}]
    for token in rubbish:
        assert (await join_as(manager, key, token))["outcome"] == "rejected"
