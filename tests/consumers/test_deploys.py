"""Several versions of the code at once: a state goes up through them, and a topic's name too."""

from __future__ import annotations

from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.signals import recovery_failed
from tests.consumers.test_events import stored
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import connected, recovery_of

TOPIC = "lv:cart"


class CartOfVersion1(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Names in a list."""

    recovery_version = 1
    recovery_fields = ("items",)
    __qualname__ = "Cart"

    async def mount(self, topic: str, params: Any) -> None:
        self.items: list[Any] = []

    async def handle_event(self, event: str, payload: Any) -> None:
        self.items.append(payload["name"])


class CartOfVersion2(CartOfVersion1):
    """Each with how many."""

    recovery_version = 2
    __qualname__ = "Cart"

    async def handle_event(self, event: str, payload: Any) -> None:
        self.items.append({"name": payload["name"], "quantity": payload.get("quantity", 1)})

    async def migrate_state(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        if version < 2:
            state["items"] = [{"name": name, "quantity": 1} for name in state["items"]]
        return state


class CartOfVersion3(CartOfVersion2):
    """Called lines, in a currency."""

    recovery_version = 3
    recovery_fields = ("lines", "currency")  # type: ignore[assignment]
    __qualname__ = "Cart"

    async def mount(self, topic: str, params: Any) -> None:
        self.lines: list[Any] = []
        self.currency = "EUR"

    async def handle_event(self, event: str, payload: Any) -> None:
        self.lines.append({"name": payload["name"], "quantity": payload.get("quantity", 1)})

    async def migrate_state(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        state = await super().migrate_state(state, version)
        if version < 3:
            state = {"lines": state["items"], "currency": "EUR"}
        return state


TEA, MILK = ({"name": name, "quantity": 1} for name in ("tea", "milk"))


class Tab:
    """A page that goes from node to node with the newest token that it was told."""

    def __init__(self, manager: RecoveryManager) -> None:
        self.manager = manager
        self.token: str | None = None

    async def visit(self, node: Any, *names: str, topic: str = TOPIC) -> str:
        """Join there, put things into the cart, and give the outcome."""
        async with connected(node, self.manager) as client:
            told = recovery_of(await client.join(topic, self.token))
            self.token = told["token"] or self.token
            for name in names:
                assert (await client.push("add", {"name": name}, topic=topic))["status"] == "ok"
        outcome: str = told["outcome"]
        return outcome


@pytest.fixture
def tab(manager: RecoveryManager) -> Tab:
    return Tab(manager)


def versions(manager: RecoveryManager) -> list[int]:
    return [item.version for item in manager.snapshots().items]


async def test_a_state_goes_up_one_version_at_a_time(tab: Tab) -> None:
    assert await tab.visit(CartOfVersion1, "tea") == "new"
    assert await tab.visit(CartOfVersion2, "milk") == "recovered"
    assert stored(tab.manager) == {"items": [TEA, MILK]}
    assert await tab.visit(CartOfVersion3) == "recovered"
    assert stored(tab.manager) == {"lines": [TEA, MILK], "currency": "EUR"}
    assert versions(tab.manager) == [3]


async def test_a_state_goes_up_two_versions_at_once(tab: Tab) -> None:
    await tab.visit(CartOfVersion1, "tea")
    assert await tab.visit(CartOfVersion3, "milk") == "recovered"
    assert stored(tab.manager) == {"lines": [TEA, MILK], "currency": "EUR"}


async def test_a_page_thrown_among_nodes_of_three_versions_loses_nothing(tab: Tab) -> None:
    await tab.visit(CartOfVersion1, "tea")
    assert await tab.visit(CartOfVersion2) == "recovered"
    (key,) = (item.socket_hash for item in tab.manager.snapshots().items)
    before = tab.manager.storage.load(key)
    assert await tab.visit(CartOfVersion1) == "version"
    assert tab.manager.storage.load(key) == before
    assert await tab.visit(CartOfVersion3, "milk") == "recovered"
    before = tab.manager.storage.load(key)
    for older in (CartOfVersion1, CartOfVersion2):
        assert await tab.visit(older) == "version"
        assert tab.manager.storage.load(key) == before
    assert tab.manager.count() == 1
    assert await tab.visit(CartOfVersion3) == "recovered"
    assert stored(tab.manager) == {"lines": [TEA, MILK], "currency": "EUR"}


async def test_an_old_connection_goes_on_beside_the_migrated_state(tab: Tab) -> None:
    async with connected(CartOfVersion1, tab.manager) as old:
        tab.token = recovery_of(await old.join(TOPIC))["token"]
        await old.push("add", {"name": "tea"}, topic=TOPIC)
        assert await tab.visit(CartOfVersion3, "milk") == "recovered"
        await old.cast("add", {"name": "sugar"}, topic=TOPIC)
        own = await told_token(old)
        assert (await old.reply())["status"] == "ok"
    assert sorted(versions(tab.manager)) == [1, 3]
    assert await tab.visit(CartOfVersion3) == "recovered"
    tab.token = own
    assert await tab.visit(CartOfVersion2) == "recovered"
    assert sorted(versions(tab.manager)) == [2, 3]


class SyncCart(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    """A cart of a sync consumer."""

    recovery_version = 1
    recovery_fields = ("items",)

    def mount(self, topic: str, params: Any) -> None:
        self.items: list[Any] = []

    def handle_event(self, event: str, payload: Any) -> None:
        self.items.append(payload["name"])


def with_migration(base: Any, migrate_state: Any) -> Any:
    """Make the next version of a cart, with this migration."""
    members = {"recovery_version": 2, "migrate_state": migrate_state}
    made = type(base.__name__, (base,), members)
    made.__qualname__ = base.__qualname__
    return made


def raising(self: Any, state: dict[str, Any], version: int) -> dict[str, Any]:
    state["items"].clear()
    raise KeyError("a field that never was")


def forgetful(self: Any, state: dict[str, Any], version: int) -> None:
    state["items"].clear()


def unstorable(self: Any, state: dict[str, Any], version: int) -> dict[str, Any]:
    return {"items": [object()]}


def mended(self: Any, state: dict[str, Any], version: int) -> dict[str, Any]:
    return {"items": [name.upper() for name in state["items"]]}


@pytest.mark.parametrize("migration", [raising, forgetful, unstorable])
@pytest.mark.parametrize("cart", [CartOfVersion1, SyncCart])
async def test_a_migration_that_fails_costs_nothing_but_a_try(
    tab: Tab, cart: Any, migration: Any
) -> None:
    failures: list[str | None] = []

    def hear(socket_id: str | None, **_kwargs: Any) -> None:
        failures.append(socket_id)

    await tab.visit(cart, "tea")
    (item,) = tab.manager.snapshots().items
    token = tab.token
    recovery_failed.connect(hear)
    try:
        assert await tab.visit(with_migration(cart, migration)) == "failed"
    finally:
        recovery_failed.disconnect(hear)
    assert failures == [item.socket_id]
    # The page keeps its token, and what it stands for is as it was.
    assert tab.token == token
    assert stored(tab.manager) == {"items": ["tea"]}
    assert versions(tab.manager) == [1]
    assert await tab.visit(with_migration(cart, mended)) == "recovered"
    assert stored(tab.manager) == {"items": ["TEA"]}
    assert versions(tab.manager) == [2]


async def test_a_migration_that_fails_can_be_rolled_back(tab: Tab) -> None:
    await tab.visit(CartOfVersion1, "tea")
    assert await tab.visit(with_migration(CartOfVersion1, raising)) == "failed"
    assert await tab.visit(CartOfVersion1, "milk") == "recovered"
    assert stored(tab.manager) == {"items": ["tea", "milk"]}


# A topic's name


class RenamedCart(CartOfVersion1):
    """The same cart on a topic of another name."""

    recovery_topics = ("lv:basket", "lv:cart")
    __qualname__ = "Cart"


class FaithfulCart(RenamedCart):
    """One that knows by which name the tokens were made."""

    __qualname__ = "Cart"

    async def get_recovery_view(self, topic: str) -> str:
        return "lv:cart" if topic == "lv:basket" else topic


async def test_a_token_is_no_good_under_another_topic(tab: Tab) -> None:
    await tab.visit(CartOfVersion1, "tea")
    assert await tab.visit(RenamedCart, topic="lv:basket") == "rejected"


async def test_the_old_name_of_the_view_brings_the_state_to_the_new_topic(tab: Tab) -> None:
    await tab.visit(CartOfVersion1, "tea")
    assert await tab.visit(FaithfulCart, "milk", topic="lv:basket") == "recovered"
    (item,) = tab.manager.snapshots().items
    assert (item.view, item.topic) == ("lv:cart", "lv:basket")
    # Pages that were loaded before the deploy still join by the old name, on old nodes and new.
    assert await tab.visit(FaithfulCart, "sugar") == "recovered"
    assert await tab.visit(CartOfVersion1) == "recovered"
    assert stored(tab.manager) == {"items": ["tea", "milk", "sugar"]}


async def test_a_page_of_before_is_told_that_the_old_topic_is_gone(tab: Tab) -> None:
    class Forgetful(FaithfulCart):
        recovery_topics = ("lv:basket",)  # type: ignore[assignment]

    async with connected(Forgetful, tab.manager) as client:
        assert await client.join(TOPIC) == {
            "status": "error",
            "response": {"reason": "unmatched topic"},
        }


async def test_a_consumer_that_moved_can_keep_its_name(tab: Tab) -> None:
    class Moved(CartOfVersion1):
        __module__ = "elsewhere"
        __qualname__ = "Cart"

    class Kept(Moved):
        __module__ = CartOfVersion1.__module__
        __qualname__ = "Cart"

    for kind, outcome in ((Moved, "rejected"), (Kept, "recovered")):
        tab.token = None
        await tab.visit(CartOfVersion1, "tea")
        assert await tab.visit(kind) == outcome
