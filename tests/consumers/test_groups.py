"""Group messages reach the topic that they are for, and can call nothing else."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any, cast

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.testing import WebsocketCommunicator

from recovery_app import RecoveryManager
from recovery_app.consumers import (
    RecoveryConsumerMixin,
    SyncRecoveryConsumerMixin,
    groups,
)
from recovery_app.consumers.groups import GroupTrackingLayer
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.test_events import stored
from tests.consumers.wire import TOPIC, connected, recovery_of

both = pytest.mark.parametrize("counter", COUNTERS)


async def tell(message: dict[str, Any], group: str = "everyone") -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group, message)


@both
async def test_a_group_message_changes_each_topic_and_is_saved(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join("room:1", start=10)
        await client.join("room:2", start=20)
        await tell({"type": "someone.added", "by": 1})
        heard = {}
        for _ in range(2):
            frame = await client.hear()
            heard[frame["topic"]] = frame["payload"]["count"]
        assert heard == {"room:1": 11, "room:2": 21}
        assert (await client.push("quiet", topic="room:1"))["status"] == "ok"
    async with connected(counter, manager) as client:
        assert manager.count() == 2


@both
async def test_a_group_handler_that_fails_changes_nothing(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await tell({"type": "someone.failed"})
        await tell({"type": "someone.added", "by": 1})
        assert (await client.hear())["payload"] == {"count": 1}
        await client.push("quiet")
        assert stored(manager)["count"] == 1


@both
async def test_no_group_message_calls_a_hook(manager: RecoveryManager, counter: Any) -> None:
    names = [name for name in dir(RecoveryConsumerMixin) if not name.startswith("__")]
    names += ["websocket.receive", "websocket.disconnect", "send", "close", "nothing.like.it"]
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        for name in names:
            text = '["1","2","lv:counter","add",{}]'
            await tell({"type": name, "text": text, "code": 1000, "state": {"count": 9}})
        await tell({"no": "type"})
        await tell({"type": "someone.added", "by": 1})
        assert (await client.hear())["payload"] == {"count": 1}
        assert (await client.push("quiet"))["status"] == "ok"
    async with connected(counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_a_message_to_the_connection_itself_calls_no_hook_either(
    manager: RecoveryManager,
) -> None:
    class Grouped(Counter):
        groups = ["connections"]

        async def greeted(self, message: dict[str, Any]) -> None:
            await self.send_json({"greeted": self.recovery_topic})

    async with connected(Grouped, manager) as client:
        for name in ("restore_state", "websocket.receive", "websocket.disconnect", "unknown"):
            await tell({"type": name, "text": "[]", "code": 1}, "connections")
        await tell({"type": "greeted"}, "connections")
        assert await client.raw.receive_json_from() == {"greeted": ""}


async def test_a_topic_that_was_left_hears_nothing(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        await client.push("phx_leave")
        await client.hear()
        await tell({"type": "someone.added", "by": 1})
        assert await client.hears_nothing()
        layer = get_channel_layer()
        assert isinstance(layer, InMemoryChannelLayer)
        assert not layer.groups.get("everyone")


async def test_pushing_needs_a_topic(manager: RecoveryManager) -> None:
    class Early(Counter):
        async def connect(self) -> None:
            with pytest.raises(RuntimeError, match="joined topic"):
                await self.push("event", {})
            await self.accept()

    async with connected(Early, manager) as client:
        assert recovery_of(await client.join(TOPIC))["outcome"] == "new"


async def test_a_consumer_without_a_channel_layer(manager: RecoveryManager, settings: Any) -> None:
    class Alone(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            self.count, self.items = 0, []
            return {}

    settings.CHANNEL_LAYERS = {}
    async with connected(Alone, manager) as client:
        await client.join()
        assert (await client.push("add"))["response"]["count"] == 1


async def test_a_layer_that_failed_once_is_heard_again(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = get_channel_layer()
    assert layer is not None
    receive = layer.receive
    failed: list[str] = []

    async def fail_at_first(name: str) -> Any:
        if not failed:
            failed.append(name)
            raise ConnectionError("the layer is gone")
        return await receive(name)

    monkeypatch.setattr(groups, "RETRY_SECONDS", 0)
    async with connected(Counter, manager) as client:
        monkeypatch.setattr(layer, "receive", fail_at_first)
        await client.join()
        await tell({"type": "someone.added", "by": 1})
        assert (await client.hear())["payload"] == {"count": 1}
    assert failed


@both
async def test_a_topic_hears_its_channel_once_its_name_was_asked_for(
    manager: RecoveryManager, counter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = AsyncJsonWebsocketConsumer if counter is Counter else JsonWebsocketConsumer
    mixin = RecoveryConsumerMixin if counter is Counter else SyncRecoveryConsumerMixin

    def someone_added(self: Any, message: dict[str, Any]) -> Any:
        return self.push("added", {"name": self.channel_name})

    def handle_event(self: Any, event: str, payload: Any) -> Any:
        return {"name": self.channel_name}

    members: dict[str, Any] = {"someone_added": someone_added, "handle_event": handle_event}
    if counter is Counter:
        members = {name: _awaiting(member) for name, member in members.items()}
    quiet: Any = type("Quiet", (mixin, kind), members)
    layer = get_channel_layer()
    assert layer is not None
    receive, heard = layer.receive, []

    async def note(name: str) -> Any:
        heard.append(name)
        # A layer may need the thread, which isn't to be had from inside a sync hook's context.
        await sync_to_async(str)()
        return await receive(name)

    async with connected(quiet, manager) as client:
        monkeypatch.setattr(layer, "receive", note)
        await client.join()
        assert heard == []
        name = (await client.push("name"))["response"]["name"]
        await layer.send(name, {"type": "someone.added"})
        assert (await client.hear())["payload"] == {"name": name}
        assert heard == [name, name]


def _awaiting(function: Any) -> Any:
    async def call(*args: Any) -> Any:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result

    return call


async def test_a_name_that_nobody_asked_for_is_let_go_by_a_layer_that_keeps_them(
    manager: RecoveryManager, settings: Any
) -> None:
    class Alone(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        pass

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.consumers.layers.SubscribingLayer"}}
    layer: Any = get_channel_layer()
    async with connected(Alone, manager) as client:
        await client.join("room:1")
        assert len(layer.subscribed) == 2
        await client.push("phx_leave", topic="room:1")
        assert (await client.hear())["event"] == "phx_close"
        assert await client.hears_nothing()
        assert len(layer.subscribed) == 1
    communicator = WebsocketCommunicator(Alone.as_asgi(), "/")
    communicator.scope.update(cast(Any, {"recovery": manager}))
    await communicator.connect()
    await communicator.send_json_to({"event": "phx_join", "payload": {}})
    await communicator.receive_from()
    assert len(layer.subscribed) == 2
    communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await communicator.future
    for _ in range(5):
        await asyncio.sleep(0)
    assert layer.subscribed == set()


async def test_without_a_layer_there_is_no_channel_name(
    manager: RecoveryManager, settings: Any
) -> None:
    class Alone(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        async def connect(self) -> None:
            assert not hasattr(self, "channel_name")
            await self.accept()

        async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
            return {"named": hasattr(self, "channel_name")}

    settings.CHANNEL_LAYERS = {}
    async with connected(Alone, manager) as client:
        await client.join()
        assert (await client.push("x"))["response"] == {"named": False}


@pytest.mark.parametrize("order", [("received", "greeted"), ("greeted", "received")])
async def test_the_connections_own_code_does_one_thing_at_a_time(
    manager: RecoveryManager, order: tuple[str, str]
) -> None:
    begun: list[str] = []
    gate = asyncio.Event()

    class Grouped(Counter):
        groups = ["connections"]

        async def greeted(self, message: dict[str, Any]) -> None:
            await self._do("greeted")

        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            await self._do("received")

        async def _do(self, what: str) -> None:
            begun.append(what)
            await self.send_json(what)
            await gate.wait()

    async with connected(Grouped, manager) as client:
        ways = {
            "received": lambda: client.raw.send_json_to("received"),
            "greeted": lambda: tell({"type": "greeted"}, "connections"),
        }
        await ways[order[0]]()
        assert await client.raw.receive_json_from() == order[0]
        await ways[order[1]]()
        await asyncio.sleep(0.05)
        assert begun == [order[0]]
        gate.set()
        assert await client.raw.receive_json_from() == order[1]


@both
async def test_a_layer_that_is_away_ends_no_connection(
    manager: RecoveryManager,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    counter: Any,
) -> None:
    class Told(counter):  # type: ignore[misc]
        def connected_told(self, message: dict[str, Any]) -> Any:
            return self.send_json({"told": self.channel_name == name})

    layer = get_channel_layer()
    assert layer is not None
    receive, name, failures = layer.receive, "", 0

    async def fail_at_first(channel: str) -> Any:
        nonlocal name, failures
        name = name or channel
        if failures < 3:
            failures += 1
            raise ConnectionError("the layer is away")
        return await receive(channel)

    monkeypatch.setattr(groups, "RETRY_SECONDS", 0)
    monkeypatch.setattr(layer, "receive", fail_at_first)
    async with connected(Told, manager) as client:
        await layer.send(name, {"type": "connected.told"})
        assert json.loads(await client.raw.receive_from(timeout=5)) == {"told": True}
        assert recovery_of(await client.join())["outcome"] == "new"
    assert failures == 3
    assert caplog.text.count("A channel layer failed") == 1


async def test_a_message_that_comes_behind_a_leave_is_too_late(manager: RecoveryManager) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    class Slow(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            started.set()
            await gate.wait()
            return await super().handle_event(event, payload)

    async with connected(Slow, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.cast("add")
        await started.wait()
        await client.cast("phx_leave")
        assert await client.hears_nothing()
        await tell({"type": "someone.added", "by": 1})
        gate.set()
        assert [(await client.hear())["event"] for _ in range(3)][-1] == "phx_close"
        assert await client.hears_nothing()
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_a_group_that_cannot_be_left_keeps_no_channel_in_the_others() -> None:
    left: list[str] = []

    class Failing(InMemoryChannelLayer):
        async def group_discard(self, group: str, channel: str) -> None:
            left.append(group)
            if len(left) == 1:
                raise OSError("the layer is away")
            await super().group_discard(group, channel)

    layer = GroupTrackingLayer(Failing())
    for group in ("a", "b", "c"):
        await layer.group_add(group, "a.channel")
    with pytest.raises(OSError, match="away"):
        await layer.discard_all()
    assert sorted(left) == ["a", "b", "c"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Nothing tells of a cancellation there.")
async def test_a_layer_that_fails_while_it_is_cancelled_keeps_no_connection() -> None:
    began = asyncio.Event()

    async def receive() -> dict[str, Any]:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("the layer's own, in place of the cancellation")

    receiving = asyncio.create_task(groups.receive_with_retry(receive))
    await began.wait()
    receiving.cancel()
    done, _ = await asyncio.wait((receiving,), timeout=30)
    assert done
    assert receiving.cancelled()
