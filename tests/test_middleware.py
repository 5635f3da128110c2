"""How the current manager reaches views and consumers, and how another takes its place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path

from recovery_app import RecoveryManager, get_manager
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.middleware import (
    RecoveryMiddleware,
    RecoveryMiddlewareStack,
    RecoveryScopeMiddleware,
    current_manager,
    override_manager,
)

VIEWS = ["/sync/", "/async/"]


class Counter(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 0

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count}


def count(request: Any) -> JsonResponse:
    state = request.recovery.recover(request.GET["token"])
    return JsonResponse(state)


async def acount(request: Any) -> JsonResponse:
    state = await request.recovery.arecover(request.GET["token"])
    return JsonResponse(state)


urlpatterns = [path("sync/", count), path("async/", acount)]
websockets: list[Any] = [path("ws/", Counter.as_asgi())]  # type: ignore[arg-type]


def make_manager() -> RecoveryManager:
    return RecoveryManager(secret="a secret of thirty-two bytes or more", cleanup_interval=None)


@pytest.fixture
def manager() -> Iterator[RecoveryManager]:
    with make_manager() as manager:
        yield manager


@pytest.fixture
def other() -> Iterator[RecoveryManager]:
    with make_manager() as manager:
        yield manager


@pytest.fixture
def pages(settings: Any) -> None:
    """Serve the two views through the middleware."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["recovery_app.middleware.RecoveryMiddleware"]


def save(manager: RecoveryManager) -> dict[str, str]:
    """Save a state; give what to ask a view for it with."""
    token = manager.create_token("socket")
    manager.save(token, {"count": 3})
    return {"token": token}


# HTTP


@pytest.mark.parametrize("url", VIEWS)
@pytest.mark.usefixtures("pages")
def test_request_has_the_manager(url: str) -> None:
    answer = Client().get(url, save(get_manager()))
    assert answer.json() == {"count": 3}


@pytest.mark.parametrize("url", VIEWS)
@pytest.mark.usefixtures("pages")
async def test_request_under_asgi_has_the_manager(url: str) -> None:
    answer = await AsyncClient().get(url, save(get_manager()))
    assert answer.json() == {"count": 3}


@pytest.mark.parametrize("url", VIEWS)
@pytest.mark.usefixtures("pages")
def test_request_has_the_manager_in_its_place(url: str, manager: RecoveryManager) -> None:
    with override_manager(manager):
        answer = Client().get(url, save(manager))
    assert answer.json() == {"count": 3}


@pytest.mark.parametrize("url", VIEWS)
@pytest.mark.usefixtures("pages")
async def test_request_under_asgi_has_the_manager_in_its_place(
    url: str, manager: RecoveryManager
) -> None:
    with override_manager(manager):
        answer = await AsyncClient().get(url, save(manager))
    assert answer.json() == {"count": 3}


def test_middleware_is_what_it_wraps() -> None:
    def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    async def aget_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert not iscoroutinefunction(RecoveryMiddleware(get_response))
    assert iscoroutinefunction(RecoveryMiddleware(aget_response))


def test_each_request_has_the_manager_of_its_time(settings: Any) -> None:
    def get_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = RecoveryMiddleware(get_response)
    before, after = HttpRequest(), HttpRequest()
    middleware(before)
    settings.RECOVERY = {"TTL": 5}
    middleware(after)
    assert before.recovery is not after.recovery  # type: ignore[attr-defined]
    assert after.recovery is get_manager()  # type: ignore[attr-defined]


# ASGI


async def test_scope_has_the_manager(manager: RecoveryManager) -> None:
    scopes: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    given = {"type": "websocket", "path": "/ws/"}
    middleware = RecoveryScopeMiddleware(inner)
    await middleware(given, None, None)
    with override_manager(manager):
        await middleware(given, None, None)
    assert [scope["recovery"] for scope in scopes] == [get_manager(), manager]
    assert scopes[0] == {**given, "recovery": get_manager()}
    assert "recovery" not in given


async def test_scope_keeps_the_manager_that_it_brings(
    manager: RecoveryManager, other: RecoveryManager
) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        assert scope["recovery"] is manager

    with override_manager(other):
        await RecoveryScopeMiddleware(inner)({"type": "websocket", "recovery": manager}, None, None)


async def connect(manager: RecoveryManager, cookies: str = "") -> WebsocketCommunicator:
    """Connect to the consumer through the whole stack."""
    application = RecoveryMiddlewareStack(URLRouter(websockets))
    communicator = WebsocketCommunicator(application, "/ws/", [(b"cookie", cookies.encode())])
    communicator.scope["recovery"] = manager  # type: ignore[typeddict-unknown-key]
    connected, _ = await communicator.connect()
    assert connected
    return communicator


async def ask(communicator: WebsocketCommunicator, event: str, **payload: Any) -> dict[str, Any]:
    """Send a frame and give the response to it."""
    await communicator.send_json_to({"event": event, "payload": payload})
    frame: dict[str, Any] = await communicator.receive_json_from()
    response: dict[str, Any] = frame["payload"]["response"]
    return response


async def join(communicator: WebsocketCommunicator, token: str | None = None) -> dict[str, Any]:
    """Join and give the reply's part on the recovery."""
    response = await ask(communicator, "phx_join", _recovery=token)
    recovery: dict[str, Any] = response["_recovery"]
    return recovery


async def test_consumer_in_the_stack_recovers(manager: RecoveryManager) -> None:
    first = await connect(manager)
    token = (await join(first))["token"]
    assert await ask(first, "add") == {"count": 1}
    await first.disconnect()
    second = await connect(manager)
    assert (await join(second, token))["outcome"] == "recovered"
    assert await ask(second, "add") == {"count": 2}
    await second.disconnect()
    assert manager.count() == 1


@pytest.mark.django_db(transaction=True)
async def test_consumer_in_the_stack_knows_the_user(manager: RecoveryManager) -> None:
    @sync_to_async
    def log_in(name: str) -> str:
        client = Client()
        client.force_login(get_user_model().objects.create_user(name))
        return client.cookies.output(header="", attrs=[]).strip()

    ann, bob = await log_in("ann"), await log_in("bob")
    communicator = await connect(manager, ann)
    token = (await join(communicator))["token"]
    await communicator.disconnect()
    outcomes = []
    for cookies in (bob, "", "sessionid=made-up", ann):
        communicator = await connect(manager, cookies)
        outcomes.append((await join(communicator, token))["outcome"])
        await communicator.disconnect()
    assert outcomes == ["rejected", "rejected", "rejected", "recovered"]


# Another manager in its place


def test_current_manager_is_that_of_the_process() -> None:
    assert current_manager() is get_manager()


def test_override_ends_with_its_block(manager: RecoveryManager, other: RecoveryManager) -> None:
    with override_manager(manager) as given:
        assert given is current_manager() is manager
        with override_manager(other):
            assert current_manager() is other
        assert current_manager() is manager
    assert current_manager() is get_manager()


def test_override_ends_with_an_exception(manager: RecoveryManager) -> None:
    with pytest.raises(ZeroDivisionError), override_manager(manager):
        raise ZeroDivisionError
    assert current_manager() is get_manager()


def test_override_closes_nothing(manager: RecoveryManager) -> None:
    before = get_manager()
    with override_manager(manager):
        asked_for = save(manager)
    assert manager.recover(asked_for["token"]) == {"count": 3}
    assert get_manager() is before


def test_override_is_for_its_thread_alone(manager: RecoveryManager, other: RecoveryManager) -> None:
    found: dict[str, RecoveryManager] = {}
    both_are_in, all_have_looked = threading.Barrier(3), threading.Barrier(3)

    def look(name: str, mine: RecoveryManager) -> None:
        with override_manager(mine):
            both_are_in.wait(10)
            found[name] = current_manager()
            all_have_looked.wait(10)

    threads = [threading.Thread(target=look, args=each) for each in (("a", manager), ("b", other))]
    for thread in threads:
        thread.start()
    both_are_in.wait(10)
    found["main"] = current_manager()
    all_have_looked.wait(10)
    for thread in threads:
        thread.join()
    assert found == {"a": manager, "b": other, "main": get_manager()}


async def test_override_is_for_its_task_alone(
    manager: RecoveryManager, other: RecoveryManager
) -> None:
    inside = {name: asyncio.Event() for name in "ab"}

    async def look(name: str, after: str, mine: RecoveryManager) -> RecoveryManager:
        with override_manager(mine):
            inside[name].set()
            await inside[after].wait()
            return current_manager()

    first, second = await asyncio.gather(look("a", "b", manager), look("b", "a", other))
    assert (first, second) == (manager, other)
    assert current_manager() is get_manager()


@pytest.mark.parametrize("run", [asyncio.to_thread, sync_to_async(lambda function: function())])
async def test_override_reaches_what_is_called_inside(
    manager: RecoveryManager, run: Callable[..., Any]
) -> None:
    async def in_a_task() -> RecoveryManager:
        return current_manager()

    with override_manager(manager):
        assert await run(current_manager) is manager
        assert await asyncio.create_task(in_a_task()) is manager


@pytest.fixture
def overridden(manager: RecoveryManager) -> Iterator[RecoveryManager]:
    with override_manager(manager):
        yield manager


def test_override_in_a_fixture_reaches_the_test(overridden: RecoveryManager) -> None:
    assert current_manager() is overridden


async def test_override_in_a_fixture_reaches_an_async_test(overridden: RecoveryManager) -> None:
    assert current_manager() is overridden
