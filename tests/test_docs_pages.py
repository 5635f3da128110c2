"""What the how-to pages show is run, and what they claim is tested."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest

from recovery_app import RecoveryManager
from recovery_app.exceptions import TokenSuperseded
from recovery_app.middleware import override_manager
from tests.consumers.wire import BARE, Client, connected, recovery_of
from tests.support.pages import missing_tests, python_blocks, read_page, rows_with_tests

TYPED = ("with_dataclass", "with_msgspec", "with_pydantic")
Load = Callable[[str, str], Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that makes a package of a page's blocks, and returns one of its modules."""

    def make(page: str, name: str) -> Any:
        package = ModuleType("shop")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, "shop", package)
        for found, code in python_blocks(page).items():
            module = ModuleType(f"shop.{found}")
            module.__package__ = "shop"
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(compile(code, f"{page}.md: {found}.py", "exec"), module.__dict__)
        return sys.modules[f"shop.{name}"]

    return make


@pytest.fixture
def manager() -> Any:
    """Return a manager that keeps states in memory."""
    with RecoveryManager(secret=b"s" * 32) as manager, override_manager(manager):
        yield manager


# An existing consumer


async def ask(client: Client, **content: Any) -> dict[str, Any]:
    """Send a frame of the application's own, and return its next one."""
    await client.raw.send_to(text_data=json.dumps(content))
    return await client.hear()


@pytest.mark.parametrize("step", ["before", "step_1", "step_2"])
async def test_a_page_from_before_the_deploy_works_after_each_step(
    step: str, load: Load, manager: RecoveryManager
) -> None:
    consumer = load("existing-consumers", step).BasketConsumer
    async with connected(consumer, manager, shape=BARE) as client:
        assert await ask(client, action="add", item="tea") == {"items": ["tea"]}
        assert await ask(client, action="add", item="milk") == {"items": ["tea", "milk"]}
    assert manager.count() == 0


async def test_frames_of_the_applications_own_are_saved_after_step_1(
    load: Load, manager: RecoveryManager
) -> None:
    consumer = load("existing-consumers", "step_1").BasketConsumer
    async with connected(consumer, manager, shape=BARE) as client:
        token = recovery_of(await client.join(topic=""))["token"]
        assert await ask(client, action="add", item="tea") == {"items": ["tea"]}
    async with connected(consumer, manager, shape=BARE) as client:
        await client.send("", "phx_join", {"_recovery": token})
        assert await client.hear() == {"items": ["tea"]}
        assert recovery_of(await client.reply())["outcome"] == "recovered"


async def test_an_event_is_saved_after_step_2(load: Load, manager: RecoveryManager) -> None:
    consumer = load("existing-consumers", "step_2").BasketConsumer
    async with connected(consumer, manager) as client:
        first = await client.join("basket")
        assert first["response"]["items"] == []
        await client.push("add", {"item": "tea"}, topic="basket")
    async with connected(consumer, manager) as client:
        again = await client.join("basket", recovery_of(first)["token"])
    assert again["response"]["items"] == ["tea"]


# A typed state


@pytest.mark.parametrize("name", TYPED)
async def test_a_typed_state_comes_back_with_its_types(
    name: str, load: Load, manager: RecoveryManager
) -> None:
    module = load("typed-state", name)
    seen: list[Any] = []

    class Watched(module.OrderConsumer):  # type: ignore[name-defined,misc]
        def restore_state(self, state: dict[str, Any]) -> None:
            super().restore_state(state)
            seen.append(self.order)

    async with connected(Watched, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("want", {"by": "2027-01-31"})
        await client.push("add", {"product": "tea"})
    async with connected(Watched, manager) as client:
        again = await client.join(token=token)
    assert recovery_of(again)["outcome"] == "recovered"
    assert again["response"]["wanted_by"] == "2027-01-31"
    (order,) = seen
    assert isinstance(order, module.Order)
    assert order.wanted_by == date(2027, 1, 31)
    lines = getattr(order, "lines", [])
    products = [line.product for line in lines] or order.products
    assert products == ["tea"]


# Without a consumer


def test_a_task_goes_on_where_it_stopped(
    load: Load, manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = load("by-hand", "tasks")
    monkeypatch.setattr(tasks, "get_manager", lambda: manager)
    handled: list[int] = []

    def handle(row: int) -> None:
        if row == 2 and handled == [0, 1]:
            handled.append(-1)
            raise RuntimeError("the worker is killed")
        handled.append(row)

    token = tasks.start_import()
    with pytest.raises(RuntimeError):
        tasks.run_import(token, range(4), handle)
    assert tasks.run_import(token, range(4), handle) == 4
    assert handled == [0, 1, -1, 2, 3]


def test_a_task_that_is_revoked_stops(
    load: Load, manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = load("by-hand", "tasks")
    monkeypatch.setattr(tasks, "get_manager", lambda: manager)
    token = tasks.start_import()

    def revoke(row: int) -> None:
        manager.revoke(token, binding=tasks.BINDING)

    with pytest.raises(TokenSuperseded):
        tasks.run_import(token, range(4), revoke)


async def test_server_sent_events_tell_each_change_and_the_end(
    load: Load, manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = load("by-hand", "views")
    tasks = load("by-hand", "tasks")
    for module in (views, tasks):
        monkeypatch.setattr(module, "get_manager", lambda: manager)
    monkeypatch.setattr(views, "POLL_SECONDS", 0)
    monkeypatch.setattr(views, "start_import", tasks.start_import)
    request: Any = HttpRequest()
    request.session = Session()
    views.start(request)
    response = await views.progress(request)
    assert response["Content-Type"] == "text/event-stream"
    chunks = aiter(response.streaming_content)
    assert await anext(chunks) == b'data: {"done": 0}\n\n'
    tasks.run_import(request.session["import"], range(2), lambda row: None)
    assert await anext(chunks) == b'data: {"done": 2}\n\n'
    manager.revoke(request.session["import"], binding=tasks.BINDING)
    assert [chunk async for chunk in chunks] == [b"event: gone\ndata: {}\n\n"]


class Session(dict[str, Any]):
    """A session that is loaded."""

    async def aget(self, key: str) -> Any:
        return self[key]


# What the pages claim


def test_each_rule_has_a_test_that_exists() -> None:
    page = read_page("their-issues")
    rows = rows_with_tests(page)
    assert len(rows) > 15
    assert [missing for _, tests in rows for missing in missing_tests(tests)] == []
