"""A token is good for one consumer, one view and one person, and for nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack, login
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client as HttpClient

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from tests.consumers.apps import COUNTERS, Counter, SyncCounter
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import TOPIC, connected, recovery_of

pytestmark = pytest.mark.django_db(transaction=True)


def cookies(session_key: str | None) -> list[tuple[bytes, bytes]]:
    if session_key is None:
        return []
    return [(b"cookie", f"{settings.SESSION_COOKIE_NAME}={session_key}".encode())]


async def join_as(
    manager: RecoveryManager,
    session_key: str | None,
    token: str | None = None,
    *,
    counter: Any = Counter,
    topic: str = TOPIC,
) -> dict[str, Any]:
    """Join with a session cookie, and give the `_recovery` part of the reply."""
    app = AuthMiddlewareStack(counter.as_asgi())
    async with connected(app, manager, headers=cookies(session_key)) as client:
        return recovery_of(await client.join(topic, token))


@sync_to_async
def session_of(user: User) -> str:
    http = HttpClient()
    http.force_login(user)
    return http.cookies[settings.SESSION_COOKIE_NAME].value


@sync_to_async
def anonymous_session() -> str:
    session = SessionStore()
    session["cart"] = 1
    session.save()
    assert session.session_key is not None
    return session.session_key


async def make_user(name: str) -> User:
    return await sync_to_async(User.objects.create_user)(name, password="a long password")


@pytest.mark.parametrize("counter", COUNTERS)
async def test_a_users_token_is_good_in_each_of_their_sessions(
    manager: RecoveryManager, counter: Any
) -> None:
    ada, bob = await make_user("ada"), await make_user("bob")
    first, second, other = await session_of(ada), await session_of(ada), await session_of(bob)
    token = (await join_as(manager, first, counter=counter))["token"]
    for session_key in (other, None, await anonymous_session()):
        told = await join_as(manager, session_key, token, counter=counter)
        assert told["outcome"] == "rejected"
    told = await join_as(manager, second, token, counter=counter)
    assert told["outcome"] == "recovered"


async def test_a_changed_password_ends_recovery(manager: RecoveryManager) -> None:
    ada = await make_user("ada")
    token = (await join_as(manager, await session_of(ada)))["token"]
    ada.set_password("another long password")
    await sync_to_async(ada.save)()
    told = await join_as(manager, await session_of(ada), token)
    assert told["outcome"] == "rejected"


async def test_an_anonymous_token_is_good_in_its_session_only(manager: RecoveryManager) -> None:
    mine, theirs = await anonymous_session(), await anonymous_session()
    token = (await join_as(manager, mine))["token"]
    assert (await join_as(manager, theirs, token))["outcome"] == "rejected"
    assert (await join_as(manager, None, token))["outcome"] == "rejected"
    assert (await join_as(manager, mine, token))["outcome"] == "recovered"


async def test_a_cookie_that_names_no_session_binds_to_nobody(manager: RecoveryManager) -> None:
    token = (await join_as(manager, "made-up-session-key-of-32-letters"))["token"]
    assert (await join_as(manager, None, token))["outcome"] == "recovered"


async def test_a_session_that_nobody_loaded_is_loaded_first(manager: RecoveryManager) -> None:
    mine = await anonymous_session()
    tokens = []
    for key in (mine, "made-up-session-key-of-32-letters"):
        async with connected(Counter, manager, session=SessionStore(key)) as client:
            tokens.append(recovery_of(await client.join())["token"])
    assert (await join_as(manager, mine, tokens[0]))["outcome"] == "recovered"
    assert (await join_as(manager, None, tokens[1]))["outcome"] == "recovered"


async def test_a_token_is_good_for_its_consumer_and_view_only(manager: RecoveryManager) -> None:
    token = (await join_as(manager, None, topic="room:1"))["token"]
    assert (await join_as(manager, None, token, topic="room:2"))["outcome"] == "rejected"
    told = await join_as(manager, None, token, topic="room:1", counter=SyncCounter)
    assert told["outcome"] == "rejected"


async def test_topics_may_share_a_view(manager: RecoveryManager) -> None:
    class OneView(Counter):
        async def get_recovery_view(self, topic: str) -> str:
            return "rooms"

    token = (await join_as(manager, None, topic="room:1", counter=OneView))["token"]
    told = await join_as(manager, None, token, topic="room:2", counter=OneView)
    assert told["outcome"] == "recovered"
    assert manager.snapshots().items[0].view == "rooms"


@pytest.mark.parametrize("counter", COUNTERS)
async def test_a_binding_of_ones_own(manager: RecoveryManager, counter: Any) -> None:
    def as_tenant(name: Any) -> Any:
        def get_recovery_binding(self: Any) -> Any:
            return name

        made = type(counter.__name__, (counter,), {"get_recovery_binding": get_recovery_binding})
        made.__qualname__ = counter.__qualname__
        return made

    token = (await join_as(manager, None, counter=as_tenant("one")))["token"]
    told = await join_as(manager, None, token, counter=as_tenant("two"))
    assert told["outcome"] == "rejected"
    told = await join_as(manager, None, token, counter=as_tenant(b"one"))
    assert told["outcome"] == "recovered"
    token = (await join_as(manager, None, counter=as_tenant(None)))["token"]
    told = await join_as(manager, None, token, counter=as_tenant(None))
    assert told["outcome"] == "recovered"


@pytest.mark.parametrize("counter", COUNTERS)
async def test_the_default_binding_can_be_added_to(manager: RecoveryManager, counter: Any) -> None:
    if counter is Counter:

        class Tenant(Counter):
            async def get_recovery_binding(self) -> bytes:
                default = await super().get_recovery_binding()
                assert isinstance(default, bytes)
                return b"tenant" + default

        tenant: Any = Tenant
    else:

        class SyncTenant(SyncCounter):
            def get_recovery_binding(self) -> bytes:
                default = super().get_recovery_binding()
                assert isinstance(default, bytes)
                return b"tenant" + default

        tenant = SyncTenant
    mine = await anonymous_session()
    token = (await join_as(manager, mine, counter=tenant))["token"]
    assert (await join_as(manager, None, token, counter=tenant))["outcome"] == "rejected"
    assert (await join_as(manager, mine, token, counter=tenant))["outcome"] == "recovered"


class LoginConsumer(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 0

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        if event == "login":
            await login(self.scope, await User.objects.aget(username="ada"))
            await sync_to_async(self.scope["session"].save)()
            await self.renew_recovery()
        return {"count": self.count}


async def test_a_login_in_the_socket_binds_the_state_to_the_user(
    manager: RecoveryManager,
) -> None:
    ada, bob = await make_user("ada"), await make_user("bob")
    before = await anonymous_session()
    app = AuthMiddlewareStack(LoginConsumer.as_asgi())
    async with connected(app, manager, headers=cookies(before)) as client:
        old = recovery_of(await client.join())["token"]
        await client.cast("login")
        new = await told_token(client)
        assert (await client.reply())["response"]["count"] == 1
        assert (await client.push("more"))["response"]["count"] == 2
    as_ada, as_bob = await session_of(ada), await session_of(bob)
    told = [
        await join_as(manager, key, token, counter=LoginConsumer)
        for key, token in ((before, old), (before, new), (as_bob, new), (as_ada, new))
    ]
    outcomes = [one["outcome"] for one in told]
    assert outcomes == ["rejected", "rejected", "rejected", "recovered"]
