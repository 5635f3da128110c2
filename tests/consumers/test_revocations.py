"""Revocation: of one socket by an operator, and of all that a user has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgiref.sync import sync_to_async
from channels.auth import login
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import models

from recovery_app import RecoveryManager
from recovery_app._core.tokens import key_of
from recovery_app.consumers import RecoveryConsumerMixin
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import Client, connected, recovery_of

ADA, BOB = User(pk=1, username="ada"), User(pk=2, username="bob")
SOON = 0.4
"""A TTL of which a quarter passes soon; what is stored expires by a clock that stands still."""


class Bound(Counter):
    """A consumer that binds to something of its own."""

    async def get_recovery_binding(self) -> bytes:
        return b"a document"


@asynccontextmanager
async def page(
    manager: RecoveryManager, user: Any, counter: Any = Counter, **scope: Any
) -> AsyncIterator[Client]:
    async with connected(counter, manager, user=user, **scope) as client:
        yield client


async def outcome(manager: RecoveryManager, user: Any, token: str, counter: Any = Counter) -> str:
    async with page(manager, user, counter) as client:
        word: str = recovery_of(await client.join(token=token))["outcome"]
        return word


async def is_closed(client: Client) -> bool:
    """Wait for the next frame; return whether it closes the topic, and no token came before."""
    return (await client.hear())["event"] == "phx_close" and await client.hears_nothing()


@pytest.fixture
def quick(make_manager: Callable[..., RecoveryManager], clock: FakeClock) -> RecoveryManager:
    return make_manager(ttl=SOON, clock=clock)


@pytest.mark.parametrize("counter", [*COUNTERS, Bound])
async def test_each_page_of_a_revoked_user_closes_at_its_next_touch(
    quick: RecoveryManager, clock: FakeClock, counter: Any
) -> None:
    async with page(quick, ADA, counter) as open_page, page(quick, BOB, counter) as other:
        token = recovery_of(await open_page.join())["token"]
        others = recovery_of(await other.join())["token"]
        async with page(quick, ADA, counter) as away:
            left = recovery_of(await away.join())["token"]
        clock.advance(seconds=0.1)
        await quick.arevoke_user(ADA)
        clock.advance(seconds=0.1)
        assert await is_closed(open_page)
        for each in (token, left):
            assert await outcome(quick, ADA, each, counter) == "rejected"
        assert (await other.push("add"))["response"]["count"] == 1
    assert await outcome(quick, BOB, others, counter) == "recovered"


async def test_what_a_user_does_after_a_revocation_counts(
    quick: RecoveryManager, clock: FakeClock
) -> None:
    quick.revoke_user(ADA.pk)
    clock.advance(seconds=0.001)
    async with page(quick, ADA) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    assert await outcome(quick, ADA, token) == "recovered"


async def test_visitors_are_asked_after_by_nobody(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    calls = []
    for user in (AnonymousUser(), ADA):
        async with page(manager, user) as client:
            token = recovery_of(await client.join())["token"]
        before = storage.calls
        assert await outcome(manager, user, token) == "recovered"
        calls.append(storage.calls - before)
    assert calls[1] == calls[0] + 1


async def test_a_snapshot_of_a_user_says_whose_it_is(manager: RecoveryManager) -> None:
    persons = []
    # Whoever has neither a user nor a session isn't one person.
    for user in (ADA, AnonymousUser()):
        async with page(manager, user) as client:
            token = recovery_of(await client.join())["token"]
            await client.push("add")
        info = (await manager.ainspect(key_of(token))).info  # type: ignore[union-attr]
        persons.append(info.person)
    assert persons == [manager.digests_of_user(ADA)[0], ""]


async def test_a_fenced_page_of_a_revoked_user_makes_no_copy(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock)
    async with page(manager, ADA) as first, page(manager, ADA) as second:
        token = recovery_of(await first.join())["token"]
        await second.join(token=token)
        await second.push("add")
        clock.advance(seconds=1)
        manager.revoke_user(ADA)
        clock.advance(seconds=1)
        await first.cast("add")
        assert (await first.hear())["event"] == "phx_close"
        assert (await first.reply())["response"]["count"] == 1
        assert (await first.push("add"))["response"] == {"reason": "unmatched topic"}


async def test_an_older_token_of_a_revoked_user_gets_no_copy(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock)
    async with page(manager, ADA) as client:
        token = recovery_of(await client.join())["token"]
    async with page(manager, ADA) as client:
        await client.join(token=token)
        await client.push("add")
        assert await outcome(manager, ADA, token) == "copied"
        clock.advance(seconds=1)
        manager.revoke_user(ADA)
        assert await outcome(manager, ADA, token) == "rejected"


async def test_a_renewal_doesn_t_outlive_a_revocation(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock)
    async with page(manager, ADA) as client:
        await client.join()
        manager.revoke_user(ADA)
        clock.advance(seconds=1)
        await client.cast("renew")
        frame = await client.hear()
        assert frame["event"] == "phx_close"


async def test_an_outage_is_not_taken_for_an_answer(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    class Away(FlakyStorage):
        async def aload(self, key: str) -> bytes | None:
            if self.error is not None and key.startswith("person:"):
                raise self.error
            return await super(FlakyStorage, self).aload(key)

        def note_call(self) -> None:
            """Only the markers of persons are away."""

    storage = Away()
    storage.clock = clock
    manager = make_manager(storage=storage, clock=clock)
    async with page(manager, ADA) as client:
        token = recovery_of(await client.join())["token"]
    clock.advance(seconds=1)
    storage.stop()
    assert await outcome(manager, ADA, token) == "unavailable"
    storage.start()
    assert await outcome(manager, ADA, token) == "recovered"
    storage.stop()
    manager.revoke_user(ADA)
    assert await outcome(manager, ADA, token) == "unavailable"
    storage.start()
    assert await outcome(manager, ADA, token) == "rejected"


async def test_a_hung_handler_keeps_no_page_open(quick: RecoveryManager, clock: FakeClock) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    class Slow(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            started.set()
            await gate.wait()
            return await super().handle_event(event, payload)

    async with page(quick, ADA, Slow) as client:
        await client.join()
        await client.cast("add")
        await started.wait()
        quick.revoke_user(ADA)
        assert await is_closed(client)
        gate.set()


class LoginConsumer(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 0

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        await login(self.scope, await User.objects.aget(username="ada"))
        await sync_to_async(self.scope["session"].save)()
        await self.renew_recovery()
        return {}


@pytest.mark.django_db(transaction=True)
async def test_whoever_logs_in_on_a_page_has_it_closed_too(quick: RecoveryManager) -> None:
    ada = await sync_to_async(User.objects.create_user)("ada")
    scope: Any = {"session": SessionStore(), "user": AnonymousUser()}
    async with connected(LoginConsumer, quick, **scope) as client:
        await client.join()
        await client.cast("login")
        assert (await client.hear())["event"] == "recovery:token"
        await client.reply()
        # The state is the same, and what is stored says whose it is now.
        (info,) = quick.snapshots().items
        assert info.person in quick.digests_of_user(ada)
        await quick.arevoke_user(ada)
        assert await is_closed(client)


async def test_secrets_may_be_rotated_meanwhile(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    storage = FlakyStorage()
    storage.clock = clock

    def rotated() -> RecoveryManager:
        return RecoveryManager(
            secret=b"n" * 32, secret_fallbacks=[b"s" * 32], storage=storage, clock=clock
        )

    old = make_manager(storage=storage, clock=clock)
    for revoker, node in ((old, rotated()), (rotated(), old)):
        async with page(old, ADA) as client:
            token = recovery_of(await client.join())["token"]
        clock.advance(seconds=1)
        revoker.revoke_user(ADA)
        clock.advance(seconds=1)
        assert await outcome(node, ADA, token) == "rejected"


async def test_a_page_whose_socket_an_operator_revoked_is_closed(
    quick: RecoveryManager, clock: FakeClock
) -> None:
    async with page(quick, AnonymousUser()) as client:
        token = recovery_of(await client.join())["token"]
        (info,) = quick.snapshots().items
        quick.revoke_socket(info.socket_hash)
        assert await is_closed(client)
        assert (await client.push("add"))["response"] == {"reason": "unmatched topic"}
    # The marker has expired by now, and nothing is saved any more.
    clock.advance(seconds=10 * SOON)
    assert quick.count() == 0
    assert await outcome(quick, AnonymousUser(), token) == "expired"


class Tenant(Counter):
    """A consumer whose binding doesn't name the user."""

    async def get_recovery_binding(self) -> bytes:
        return b"tenant"


async def test_whoever_shows_it_a_token_of_a_revoked_user_is_rejected(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    async with page(manager, ADA, Tenant) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    clock.advance(seconds=1)
    manager.revoke_user(ADA)
    for user in (AnonymousUser(), BOB, ADA):
        assert await outcome(manager, user, token, Tenant) == "rejected"


async def test_what_was_nobodys_goes_along_with_a_login_after_a_revocation(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    async with page(manager, AnonymousUser()) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    clock.advance(seconds=1)
    manager.revoke_user(ADA)
    clock.advance(seconds=1)
    async with page(manager, ADA) as client:
        reply = recovery_of(await client.join(token=token))
        assert reply["outcome"] == "recovered"
    # It is hers from then on, which the snapshot says as well.
    (info,) = manager.snapshots().items
    assert info.person in manager.digests_of_user(ADA)
    clock.advance(seconds=1)
    manager.revoke_user(ADA)
    assert await outcome(manager, ADA, reply["token"]) == "rejected"


async def test_a_logout_on_the_page_does_not_outrun_a_revocation(
    manager: RecoveryManager,
) -> None:
    class Leaving(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            if event == "logout":
                cast(Any, self.scope)["user"] = AnonymousUser()
                await self.renew_recovery()
            return await super().handle_event(event, payload)

    async with page(manager, ADA, Leaving) as client:
        await client.join()
        manager.revoke_user(ADA)
        await client.cast("logout")
        assert (await client.hear())["event"] == "phx_close"


@pytest.mark.parametrize("skew", [-180, 180])
async def test_a_revokers_clock_is_off_by_no_more_than_it_is(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock, skew: int
) -> None:
    """As ``docs/revoking.md`` has it: a slow clock spares the newest tokens, a fast one none."""
    storage = FlakyStorage()
    storage.clock = clock
    node = make_manager(storage=storage, clock=clock)
    revoker = make_manager(storage=storage, clock=lambda: clock() + skew)

    async def left_page(seconds: int) -> str:
        async with page(node, ADA) as client:
            token = recovery_of(await client.join())["token"]
        clock.advance(seconds=seconds)
        return cast("str", token)

    old, new = await left_page(100), await left_page(1)
    if skew < 0:
        revoker.revoke_user(ADA)
        assert await outcome(node, ADA, new) == "recovered"
        clock.advance(seconds=-skew)
        revoker.revoke_user(ADA)
        later = await left_page(1)
    else:
        revoker.revoke_user(ADA)
        assert await outcome(node, ADA, await left_page(1)) == "rejected"
        clock.advance(seconds=skew)
        later = await left_page(1)
    assert await outcome(node, ADA, later) == "recovered"
    assert [await outcome(node, ADA, each) for each in (old, new)] == ["rejected"] * 2


@pytest.mark.parametrize("pk", [1, "1", "01", " 1 ", User(pk="01")])
async def test_a_primary_key_may_be_written_in_any_way(
    manager: RecoveryManager, clock: FakeClock, pk: Any
) -> None:
    async with page(manager, ADA) as client:
        token = recovery_of(await client.join())["token"]
    clock.advance(seconds=1)
    manager.revoke_user(pk)
    assert manager.digests_of_user(pk) == manager.digests_of_user(ADA)
    assert await outcome(manager, ADA, token) == "rejected"


class Named(models.Model):
    """A person with a name for a key, whom another application logs in."""

    name = models.CharField(primary_key=True, max_length=10)

    class Meta:
        app_label = "tests"
        managed = False

    def __str__(self) -> str:
        return self.name


def test_the_key_of_another_model_is_its_own(manager: RecoveryManager) -> None:
    assert manager.digests_of_user(Named(name="01")) != manager.digests_of_user(1)
    assert manager.digests_of_user(Named(name="01")) == manager.digests_of_user(Named(pk="01"))
    assert manager.digests_of_user(SimpleNamespace(pk="01")) != manager.digests_of_user(1)


@pytest.mark.parametrize("pk", ["ada", "", "1\x000", "\ud800", "1.5", object()])
async def test_what_can_be_no_primary_key_is_said(manager: RecoveryManager, pk: Any) -> None:
    with pytest.raises(ValueError, match=r"can't be the primary key of a user \(auth.User\)"):
        manager.revoke_user(pk)
    with pytest.raises(ValueError, match="can't be the primary key"):
        await manager.arevoke_user(pk)
    assert manager.count() == 0


def test_nobody_cannot_be_revoked(manager: RecoveryManager) -> None:
    with pytest.raises(ValueError, match="no primary key"):
        manager.revoke_user(AnonymousUser())
