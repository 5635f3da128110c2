"""A page's state, stored by its HTTP view and recovered by the page's first join."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path

from recovery_app import RecoveryManager, astart_state, groups, start_state
from recovery_app._visitors import COOKIE_NAME, attach_visitor
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import StorageUnavailable
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage, MemoryStorage
from tests.clock import FakeClock
from tests.consumers.wire import connected, recovery_of

TOPIC = "lv:cart"
PAGE = "{% load recovery %}{% recovery_state %}"


class Cart(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_topics = (TOPIC,)
    recovery_fields = ("items",)
    recovery_version = 3

    async def mount(self, topic: str, params: Any) -> dict[str, Any]:
        self.items: list[str] = []
        return {"mounted": True}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"items": self.items}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.items.append(payload["item"])
        return {"items": self.items}


class TeamCart(Cart):
    """A consumer that names view and person itself."""

    async def get_recovery_view(self, topic: str) -> str:
        return "cart of a team"

    async def get_recovery_binding(self) -> bytes:
        kwargs: Any = self.scope["url_route"]["kwargs"]
        person: Any = await super().get_recovery_binding()
        own: bytes = b"%d" % kwargs["team"] + person
        return own


class SyncCart(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_topics = (TOPIC,)
    recovery_fields = ("items",)

    def get_recovery_view(self, topic: str) -> str:
        return "cart"

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"items": self.items}  # type: ignore[attr-defined]


CONSUMERS: dict[str, Any] = {"plain": Cart, "own": TeamCart, "sync": SyncCart}
ROUTE: dict[str, Any] = {"args": (), "kwargs": {"team": 7}}


def rendered(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


def view(request: HttpRequest) -> HttpResponse:
    kind = CONSUMERS[request.GET.get("consumer", "plain")]
    start_state(request, kind, TOPIC, {"items": ["tea"]}, kwargs=ROUTE["kwargs"])
    return rendered(request)


async def aview(request: HttpRequest) -> HttpResponse:
    kind = CONSUMERS[request.GET.get("consumer", "plain")]
    await astart_state(request, kind, TOPIC, {"items": ["tea"]}, kwargs=ROUTE["kwargs"])
    return rendered(request)


urlpatterns = [path("page/", view), path("apage/", aview), path("none/", rendered)]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "recovery_app.middleware.RecoveryMiddleware",
    ]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> Any:
    with RecoveryManager(secret=b"s" * 32, clock=clock) as made, override_manager(made):
        yield made


def token_in(response: Any) -> str | None:
    found = re.search(
        r'<script id="recovery-state" type="application/json">(.*?)</script>',
        response.content.decode(),
    )
    return None if found is None else json.loads(found[1])[TOPIC]


def scope_of(client: Any, **scope: Any) -> dict[str, Any]:
    """Return the scope of a WebSocket from the browser that had the page."""
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    return {"cookies": cookies, "user": AnonymousUser(), "url_route": ROUTE, **scope}


async def get(client: Any, url: str) -> Any:
    return (
        await sync_to_async(client.get)(url)
        if isinstance(client, Client)
        else await client.get(url)
    )


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize(("browser", "url"), [(Client, "/page/"), (AsyncClient, "/apage/")])
async def test_the_first_join_recovers_it(
    manager: RecoveryManager, browser: type[Any], url: str, consumer: str
) -> None:
    client = browser()
    response = await get(client, f"{url}?consumer={consumer}")
    token = token_in(response)
    kind = CONSUMERS[consumer]
    async with connected(kind, manager, **scope_of(client)) as page:
        reply = await page.join(TOPIC, token)
        assert reply["response"]["items"] == ["tea"], "and mount() was not called"
        found = recovery_of(reply)
        assert found["outcome"] == "recovered"
        assert found["token"] not in (None, token)


async def test_a_state_that_is_recovered_is_like_any_other(manager: RecoveryManager) -> None:
    client = AsyncClient()
    token = token_in(await client.get("/apage/"))
    async with connected(Cart, manager, **scope_of(client)) as page:
        own = recovery_of(await page.join(TOPIC, token))["token"]
        await page.push("add", {"item": "milk"}, topic=TOPIC)
    async with connected(Cart, manager, **scope_of(client)) as page:
        reply = await page.join(TOPIC, own)
        assert reply["response"]["items"] == ["tea", "milk"]
        assert recovery_of(reply)["outcome"] == "recovered"


async def test_the_token_is_good_for_the_first_join_only(manager: RecoveryManager) -> None:
    client = AsyncClient()
    token = token_in(await client.get("/apage/"))
    async with connected(Cart, manager, **scope_of(client)) as page:
        await page.join(TOPIC, token)
        await page.push("add", {"item": "milk"}, topic=TOPIC)
        async with connected(Cart, manager, **scope_of(client)) as replayed:
            reply = await replayed.join(TOPIC, token)
            assert reply["response"]["mounted"], "no state, and no copy of one either"
            assert recovery_of(reply)["outcome"] == "superseded"
        assert (await page.push("add", {"item": "jam"}, topic=TOPIC))["response"]["items"][
            -1
        ] == "jam"


async def test_a_join_whose_reply_was_lost_loses_nothing(manager: RecoveryManager) -> None:
    client = AsyncClient()
    token = token_in(await client.get("/apage/"))
    for _ in range(3):
        async with connected(Cart, manager, **scope_of(client)) as page:
            reply = await page.join(TOPIC, token)
            assert recovery_of(reply)["outcome"] == "recovered"
            assert reply["response"]["items"] == ["tea"]


@pytest.mark.parametrize(
    ("consumer", "changed"),
    [
        ("plain", {"cookies": {}}),
        ("plain", {"url_route": {"args": (), "kwargs": {"team": 8}}}),
        ("plain", {"user": User(pk=5, password="x")}),
        ("own", {"url_route": {"args": (), "kwargs": {"team": 8}}}),
    ],
    ids=["browser", "route", "user", "own"],
)
async def test_it_is_bound_like_any_other(
    manager: RecoveryManager, consumer: str, changed: dict[str, Any]
) -> None:
    client = AsyncClient()
    token = token_in(await client.get(f"/apage/?consumer={consumer}"))
    async with connected(CONSUMERS[consumer], manager, **scope_of(client, **changed)) as page:
        reply = await page.join(TOPIC, token)
        assert recovery_of(reply)["outcome"] == "rejected"


async def test_another_consumer_has_no_use_for_it(manager: RecoveryManager) -> None:
    client = AsyncClient()
    token = token_in(await client.get("/apage/?consumer=own"))
    async with connected(Cart, manager, **scope_of(client)) as page:
        assert recovery_of(await page.join(TOPIC, token))["outcome"] == "rejected"


@pytest.mark.parametrize(("browser", "url"), [(Client, "/page/"), (AsyncClient, "/apage/")])
@pytest.mark.django_db(transaction=True)
async def test_a_user_s_is_theirs(manager: RecoveryManager, browser: Any, url: str) -> None:
    user = await User.objects.acreate_user("ann", password="ann")
    client = browser()
    await sync_to_async(client.force_login)(user)
    token = token_in(await get(client, url))
    async with connected(Cart, manager, **scope_of(client, user=user)) as page:
        assert recovery_of(await page.join(TOPIC, token))["outcome"] == "recovered"
    token = token_in(await get(client, url))
    async with connected(Cart, manager, **scope_of(client)) as page:
        assert recovery_of(await page.join(TOPIC, token))["outcome"] == "rejected"


@pytest.mark.django_db(transaction=True)
async def test_a_revocation_of_the_user_ends_it(manager: RecoveryManager, clock: FakeClock) -> None:
    user = await User.objects.acreate_user("ann", password="ann")
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    token = token_in(await client.get("/apage/"))
    clock.advance(seconds=1)
    await manager.arevoke_user(user)
    async with connected(Cart, manager, **scope_of(client, user=user)) as page:
        assert recovery_of(await page.join(TOPIC, token))["outcome"] == "rejected"


async def test_it_waits_for_as_long_as_a_snapshot_lives(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    client = AsyncClient()
    token = token_in(await client.get("/apage/"))
    clock.advance(seconds=manager.ttl + 1)
    async with connected(Cart, manager, **scope_of(client)) as page:
        assert recovery_of(await page.join(TOPIC, token))["outcome"] == "expired"


@pytest.mark.parametrize("url", ["/page/", "/apage/"])
def test_no_cache_stores_the_page(manager: RecoveryManager, url: str) -> None:
    client = Client()
    response = client.get(url)
    assert set(response["Cache-Control"].split(", ")) == {"private", "no-store"}
    assert response["Vary"] == "Cookie"
    assert COOKIE_NAME in response.cookies, "the visitor to whom the token is bound"


def test_a_page_without_a_state_has_no_element(manager: RecoveryManager) -> None:
    response = Client().get("/none/")
    assert response.content == b""
    assert "Cache-Control" not in response


class Away(MemoryStorage):
    """A storage that can't be reached."""

    def save_fenced(self, *_args: Any, **_options: Any) -> Any:
        raise StorageUnavailable("The storage", "a save")

    async def asave_fenced(self, *_args: Any, **_options: Any) -> Any:
        raise StorageUnavailable("The storage", "a save")


@pytest.mark.parametrize("url", ["/page/", "/apage/"])
def test_an_outage_leaves_the_page_to_its_mount(url: str) -> None:
    away = RecoveryManager(secret=b"s" * 32, storage=Away())
    with away, override_manager(away):
        response = Client().get(url)
    assert (response.status_code, token_in(response)) == (200, None)


def request_of(manager: RecoveryManager) -> HttpRequest:
    request = RequestFactory().get("/")
    attach_visitor(request)
    request.recovery = manager  # type: ignore[attr-defined]
    return request


@pytest.mark.parametrize("state", [{"items": [object()]}, {"items": ["x" * 2_000_000]}])
def test_a_state_that_cannot_be_kept_is_logged(
    manager: RecoveryManager, state: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert start_state(request_of(manager), Cart, TOPIC, state) is None
    assert [record.event for record in caplog.records] == ["mount_unsaved"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("topic", "state"), [("lv:other", {}), (TOPIC, {"items": [], "itmes": []}), ("\x00", {})]
)
def test_mistakes_are_refused(manager: RecoveryManager, topic: str, state: Any) -> None:
    with pytest.raises(ValueError, match=r"topic|itmes"):
        start_state(request_of(manager), Cart, topic, state)
    assert manager.count() == 0


def test_it_needs_the_middleware() -> None:
    with pytest.raises(ImproperlyConfigured, match="RecoveryMiddleware"):
        start_state(RequestFactory().get("/"), Cart, TOPIC, {"items": []})


def test_it_is_too_late_once_the_view_has_returned(manager: RecoveryManager) -> None:
    request = request_of(manager)
    attach_visitor(request).finish(HttpResponse())
    with pytest.raises(RuntimeError, match="in the view"):
        start_state(request, Cart, TOPIC, {"items": []})


# Durable groups.


class Room(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_topics = (TOPIC,)
    recovery_fields = ("lines", "missed")
    missed = 0

    async def mount(self, topic: str, params: Any) -> None:
        self.lines: list[str] = []

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        await self.join_group("room:1")
        return {"lines": self.lines}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        return {"lines": self.lines, "missed": self.missed}

    async def chat_message(self, message: Any) -> None:
        self.lines.append(message["text"])

    async def missed_messages(self, group: str) -> None:
        self.missed += 1


def say(text: str) -> None:
    groups.publish("room:1", {"type": "chat.message", "text": text})


def room_view(request: HttpRequest) -> HttpResponse:
    places = groups.positions("room:1", "room:2")
    say("behind the places")
    start_state(request, Room, TOPIC, {"lines": ["loaded"]}, groups=places)
    return rendered(request)


async def aroom_view(request: HttpRequest) -> HttpResponse:
    places = await groups.apositions("room:1", "room:2")
    await sync_to_async(say)("behind the places")
    await astart_state(request, Room, TOPIC, {"lines": ["loaded"]}, groups=places)
    return await sync_to_async(rendered)(request)


urlpatterns += [path("room/", room_view), path("aroom/", aroom_view)]


@pytest.mark.parametrize(("browser", "url"), [(Client, "/room/"), (AsyncClient, "/aroom/")])
async def test_what_is_published_before_the_join_is_handled_once(
    manager: RecoveryManager, browser: type[Any], url: str
) -> None:
    say("before the places")
    client = browser()
    token = token_in(await get(client, url))
    await sync_to_async(say)("before the join")
    scope: Any = {"url_route": {"args": (), "kwargs": {}}}
    async with connected(Room, manager, **scope_of(client, **scope)) as page:
        reply = await page.join(TOPIC, token)
        assert (recovery_of(reply)["outcome"], reply["response"]["lines"]) == (
            "recovered",
            ["loaded"],
        )
        await sync_to_async(say)("now")
        found = (await page.push("state", topic=TOPIC))["response"]
        while "now" not in found["lines"]:
            found = (await page.push("state", topic=TOPIC))["response"]
    lines = ["loaded", "behind the places", "before the join", "now"]
    assert found == {"lines": lines, "missed": 0}


def test_without_places_nothing_is_stored(manager: RecoveryManager) -> None:
    class Away(MemoryStorage):
        def newest_position(self, group: str) -> str:
            raise StorageUnavailable("Away", "group")

    with RecoveryManager(secret=b"s" * 32, storage=Away()) as away, override_manager(away):
        assert groups.positions("room:1") is None
        response = Client().get("/room/")
    assert token_in(response) is None


def test_names_are_no_places(manager: RecoveryManager) -> None:
    request = RequestFactory().get("/")
    attach_visitor(request)
    names: Any = ["room:1"]
    request.recovery = manager  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="positions"):
        start_state(request, Room, TOPIC, {"lines": []}, groups=names)
    places = {f"room:{number}": "1" for number in range(101)}
    with pytest.raises(ValueError, match="100"):
        start_state(request, Room, TOPIC, {"lines": []}, groups=places)


@pytest.mark.django_db(transaction=True)
async def test_a_sync_call_in_an_async_view_is_told_as_that() -> None:
    with (
        override_manager(RecoveryManager(secret="s" * 32, storage=DatabaseStorage())) as manager,
        manager,
    ):
        with pytest.raises(SynchronousOnlyOperation):
            groups.positions("room:1")
        request = RequestFactory().get("/")
        attach_visitor(request)
        request.recovery = manager  # type: ignore[attr-defined]
        with pytest.raises(SynchronousOnlyOperation):
            start_state(request, Cart, TOPIC, {"items": []})
