"""The name in a join's reply by which a client tells whose events it keeps."""

from __future__ import annotations

import re
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import User

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from tests.consumers.apps import Counter
from tests.consumers.wire import connected, recovery_of
from tests.core.support import make_manager


class Private(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A consumer that knows a person by itself, and lets them log in."""

    who = "ann"

    async def get_recovery_binding(self) -> str:
        return self.who

    async def handle_event(self, event: str, payload: Any) -> None:
        self.who = event
        await self.renew_recovery()


class Session(dict[str, Any]):
    """A session that is loaded."""

    _session_cache: dict[str, Any] = {}

    def __init__(self, key: str | None) -> None:
        self.session_key = key


def user(number: int, password: str = "first") -> dict[str, Any]:
    return {"user": User(pk=number, password=password)}


async def owner(
    manager: RecoveryManager, scope: dict[str, Any], topic: str = "lv:counter", kind: Any = Counter
) -> str:
    async with connected(kind, manager, **scope) as client:
        return str(recovery_of(await client.join(topic))["owner"])


async def test_owner_is_the_person_whatever_the_topic_and_the_password(
    manager: RecoveryManager,
) -> None:
    ann = await owner(manager, user(1))
    assert re.fullmatch(r"[0-9a-f]{32}", ann)
    assert await owner(manager, user(1), "room:2") == ann
    assert await owner(manager, user(1, password="second")) == ann


async def test_each_person_has_an_owner(manager: RecoveryManager) -> None:
    scopes = [
        {},
        {"session": Session(None)},
        {"session": Session("a")},
        {"session": Session("b")},
        user(1),
        user(2),
    ]
    owners = [await owner(manager, scope) for scope in scopes]
    assert owners[0] == owners[1], "Both are nobody."
    assert len(set(owners)) == 5


async def test_owner_confirms_no_guess_without_the_secret(manager: RecoveryManager) -> None:
    with make_manager(secret="another secret of thirty-two bytes") as other:
        assert await owner(other, user(1)) != await owner(manager, user(1))


async def test_owner_is_the_application_s_own_person(manager: RecoveryManager) -> None:
    ann = await owner(manager, user(1), kind=Private)
    assert await owner(manager, user(2), "other", kind=Private) == ann
    assert await owner(manager, user(1)) != ann


async def test_login_in_the_socket_tells_the_new_owner(manager: RecoveryManager) -> None:
    async with connected(Private, manager) as client:
        ann = recovery_of(await client.join())["owner"]
        told = []
        for event in ("ann", "bob", "bob"):
            await client.cast(event)
            told.append((await client.hear())["payload"])
            await client.reply()
        assert [set(payload) for payload in told] == [
            {"token", "ttl"},
            {"token", "ttl", "owner"},
            {"token", "ttl"},
        ]
        assert ann != told[1]["owner"]
