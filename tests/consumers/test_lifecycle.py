"""What a mixin costs and keeps: threads, tasks, shared attributes, sudden ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import pytest
from asgiref.sync import ThreadSensitiveContext
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from recovery_app import RecoveryManager
from recovery_app._live import mailbox
from recovery_app._live.mailbox import CAPACITY, Mailbox
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.consumers import db as care
from recovery_app.serializers import JSONSerializer, MsgPackSerializer
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_events import stored
from tests.consumers.wire import TOPIC, connected, recovery_of


class Plain(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A consumer that overrides nothing that a recovered join calls."""

    recovery_fields = ("count",)
    count = 0


async def test_joins_heartbeats_and_touches_take_no_thread(
    make_manager: Callable[..., RecoveryManager],
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
) -> None:
    storage = FlakyStorage()
    storage.clock = clock
    manager = make_manager(storage=storage, clock=clock, ttl=0.4)
    hops: list[Any] = []
    loop = asyncio.get_running_loop()
    original = loop.run_in_executor

    def run_in_executor(executor: Any, call: Any, *args: Any) -> Any:
        hops.append(call)
        return original(executor, call, *args)

    async with connected(Plain, manager) as client:
        token = recovery_of(await client.join())["token"]
    async with connected(Plain, manager) as client:
        monkeypatch.setattr(loop, "run_in_executor", run_in_executor)
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"
        assert await client.hears_nothing()
        await storage.next_call()
        await client.push("phx_leave")
        assert hops == []


async def test_a_state_that_came_back_whole_is_not_serialized_again(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    class Counting(JSONSerializer):
        written = 0

        def dumps(self, state: Any) -> bytes:
            self.written += 1
            return super().dumps(state)

    serializer = Counting()
    manager = make_manager(serializer=serializer)
    async with connected(Plain, manager) as client:
        token = recovery_of(await client.join())["token"]
    before = serializer.written
    async with connected(Plain, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"
    assert serializer.written == before


async def test_a_field_that_is_new_since_is_stored_with_the_join(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(Plain, manager) as client:
        token = recovery_of(await client.join())["token"]
    monkeypatch.setattr(Plain, "recovery_fields", ("count", "recovery_topic"))
    async with connected(Plain, manager) as client:
        await client.join(token=token)
        assert stored(manager) == {"count": 0, "recovery_topic": TOPIC}


async def test_a_state_of_another_serializer_is_stored_by_this_one_with_the_join(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    before = make_manager(storage=storage)
    after = make_manager(storage=storage, serializer=MsgPackSerializer())
    async with connected(Plain, before) as client:
        token = recovery_of(await client.join())["token"]
    (was,) = before.snapshots().items
    async with connected(Plain, after) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"
    (now,) = after.snapshots().items
    assert was.serializer != now.serializer == after.codec.name


async def test_joins_at_once_share_the_trip_to_the_databases_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trips: list[str] = []
    gate = asyncio.Event()

    async def go() -> None:
        trips.append("sets out")
        await gate.wait()

    def ask(times: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(care.close_old_connections()) for _ in range(times)]

    monkeypatch.setattr(care, "aclose_old_connections", go)

    async def set_out() -> None:
        # Nothing here waits for anything but the loop: all have their turns in it.
        for _ in range(20):
            await asyncio.sleep(0)

    first, *others = ask(100)
    await set_out()
    assert len(trips) == 1
    too_late = ask(2)
    await set_out()
    assert len(trips) == 2
    first.cancel()
    gate.set()
    await asyncio.gather(*others, *too_late)
    async with ThreadSensitiveContext():
        await asyncio.gather(*ask(2))
    assert len(trips) == 4


async def test_pages_go_on_while_the_databases_thread_waits_for_an_answer(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    gate = asyncio.Event()

    async def go() -> None:
        trips.append("sets out")
        await gate.wait()

    monkeypatch.setattr(care, "CARE_SECONDS", 0)
    monkeypatch.setattr(care, "PATIENCE_SECONDS", 0.01)
    async with connected(Counter, manager) as client:
        await client.join()
        monkeypatch.setattr(care, "aclose_old_connections", go)
        await client.push("add")
        for _ in range(20):
            await client.push("add")
        # They wait for it once, and not each.
        assert trips == ["sets out"]
        gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert care.is_due()
        await client.push("add")
        assert len(trips) > 1


async def test_connections_that_come_at_once_share_the_trip_too(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, set_out = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def go() -> None:
        order.append("trip")
        set_out.set()
        await gate.wait()

    class Coming(Plain):
        async def connect(self) -> None:
            order.append("connect")
            await self.accept()

    monkeypatch.setattr(care, "aclose_old_connections", go)
    application = Coming.as_asgi()
    clients = [WebsocketCommunicator(application, "/ws/websocket") for _ in range(10)]
    coming = [asyncio.create_task(client.connect(timeout=60)) for client in clients]
    await asyncio.wait_for(set_out.wait(), timeout=60)
    assert order == ["trip"]
    gate.set()
    assert [is_connected for is_connected, _ in await asyncio.gather(*coming)] == [True] * 10
    assert order == ["trip"] + ["connect"] * 10
    for client in clients:
        await client.disconnect(timeout=5)


async def test_the_trip_is_for_code_of_the_applications(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []

    async def go() -> None:
        trips.append("trip")

    class Leaving(Plain):
        async def disconnect(self, code: int) -> None:
            trips.append("disconnect")

    monkeypatch.setattr(care, "aclose_old_connections", go)
    monkeypatch.setattr(care, "CARE_SECONDS", 0)
    async with connected(Plain, manager):
        pass
    assert trips == []
    async with connected(Leaving, manager):
        assert trips == []
    assert trips == ["trip", "disconnect"]

    class Sending(Plain):
        async def accept(self, *args: Any, **options: Any) -> None:
            await super().accept(*args, **options)

    async with connected(Sending, manager):
        assert trips == ["trip", "disconnect", "trip"]


async def test_a_dispatch_behind_the_mixin_keeps_its_turn(manager: RecoveryManager) -> None:
    seen: list[str] = []

    class Watching(AsyncJsonWebsocketConsumer):
        async def dispatch(self, message: dict[str, Any]) -> None:
            seen.append(message["type"])
            await super().dispatch(message)

    class Watched(RecoveryConsumerMixin, Watching):
        pass

    async with connected(Watched, manager) as client:
        assert recovery_of(await client.join())["outcome"] == "new"
    assert seen == ["websocket.connect", "websocket.disconnect"]


async def test_what_a_hook_puts_into_the_context_is_there_in_the_next(
    manager: RecoveryManager,
) -> None:
    bound: ContextVar[str] = ContextVar("bound", default="nothing")

    class Binding(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            bound.set(topic)
            return await super().mount(topic, params)

        async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
            return {"bound": bound.get()}

    async with connected(Binding, manager) as client:
        for topic in ("room:1", "room:2"):
            await client.join(topic)
        assert (await client.push("x", topic="room:1"))["response"] == {"bound": "room:1"}


async def test_an_own_dispatch_sees_what_the_client_sends(manager: RecoveryManager) -> None:
    seen: list[str] = []

    class Watching(Counter):
        async def dispatch(self, message: dict[str, Any]) -> None:
            seen.append(message["type"])
            await super().dispatch(message)

    async with connected(Watching, manager) as client:
        await client.join()
        await client.raw.send_json_to("own")
        assert await client.raw.receive_json_from() == {"own": "own"}
    receive = "websocket.receive"
    assert seen == ["websocket.connect", receive, receive, "websocket.disconnect"]


async def test_what_connect_set_is_there_and_what_a_topic_sets_is_its_own(
    manager: RecoveryManager,
) -> None:
    class Connecting(Counter):
        async def connect(self) -> None:
            self.greeting = "hello"
            await self.accept()

        async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
            before, self.greeting = self.greeting, payload["greeting"]
            return {"before": before, "topic": self.recovery_topic, "name": self.channel_name}

    names = set()
    async with connected(Connecting, manager) as client:
        for topic in ("room:1", "room:2"):
            await client.join(topic)
            answer = (await client.push("x", {"greeting": topic}, topic=topic))["response"]
            assert (answer["before"], answer["topic"]) == ("hello", topic)
            names.add(answer["name"])
    assert len(names) == 2


async def test_an_event_in_the_works_is_finished_when_the_client_goes(
    manager: RecoveryManager,
) -> None:
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
        asyncio.get_running_loop().call_soon(gate.set)
    async with connected(Slow, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_a_server_that_ends_the_consumer_leaves_no_task(manager: RecoveryManager) -> None:
    before = asyncio.all_tasks()
    communicator = WebsocketCommunicator(Counter.as_asgi(), "/")
    communicator.scope.update(cast(Any, {"recovery": manager}))
    await communicator.connect()
    await communicator.send_json_to({"event": "phx_join", "payload": {}})
    await communicator.receive_from()
    communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await communicator.future
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_send_that_fails_ends_nothing(manager: RecoveryManager) -> None:
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise RuntimeError("the client went first")
        sent.append(message)

    consumer = Counter()
    task = asyncio.create_task(
        consumer({"type": "websocket", "recovery": manager}, incoming.get, send)
    )
    join = '{"event": "phx_join", "payload": {}}'
    await incoming.put({"type": "websocket.connect"})
    for text in (join, '{"event": "add", "payload": {}}'):
        await incoming.put({"type": "websocket.receive", "text": text})
    await incoming.put({"type": "websocket.disconnect", "code": 1006})
    await asyncio.wait_for(task, timeout=60)
    assert [message["type"] for message in sent] == ["websocket.accept"]
    (item,) = manager.snapshots().items
    assert item.topic == ""


async def test_hooks_may_be_plain_functions(manager: RecoveryManager) -> None:
    class Relaxed(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        def get_recoverable_state(self) -> dict[str, Any]:  # type: ignore[override]
            return {"n": self.n}

        def restore_state(self, state: dict[str, Any]) -> None:  # type: ignore[override]
            self.n = state["n"]

        def mount(self, topic: str, params: Any) -> None:  # type: ignore[override]
            self.n = 1

        def handle_event(self, event: str, payload: Any) -> Any:
            self.n += 1
            return {"n": self.n}

    async with connected(Relaxed, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("x")
    async with connected(Relaxed, manager) as client:
        await client.join(token=token)
        assert (await client.push("x"))["response"] == {"n": 3}


async def test_async_hooks_of_a_sync_consumer_are_refused(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Mixed(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
        async def mount(self, topic: str, params: Any) -> None:  # type: ignore[override]
            raise AssertionError("never run")

    async with connected(Mixed, manager) as client:
        assert (await client.join())["response"] == {"reason": "join crashed"}
    assert "use RecoveryConsumerMixin" in caplog.text


@pytest.mark.parametrize(
    "attributes",
    [{"recovery_topics": "lv:*"}, {"recovery_fields": "count"}, {"recovery_topics": ("a*b",)}],
)
def test_a_class_that_cannot_work_is_refused_at_once(attributes: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        type("Wrong", (RecoveryConsumerMixin, AsyncJsonWebsocketConsumer), attributes)


async def test_a_full_mailbox_slows_its_sender_down() -> None:
    gate, done = asyncio.Event(), []
    mailbox = Mailbox()

    async def work() -> None:
        await gate.wait()
        done.append(1)

    for _ in range(CAPACITY):
        await mailbox.post(work)
    assert not mailbox.try_post(work)
    waiting = asyncio.create_task(mailbox.post(work))
    gate.set()
    await waiting
    mailbox.close()
    await mailbox.ended()
    assert len(done) == CAPACITY + 1


async def test_all_who_wait_for_room_in_a_mailbox_get_their_turn() -> None:
    gate, done = asyncio.Event(), []
    box = Mailbox()

    async def work(number: int) -> None:
        await gate.wait()
        done.append(number)

    async def post_more(first: int) -> None:
        for number in range(first, first + 5):
            await box.post(partial(work, number))

    for _ in range(CAPACITY):
        await box.post(partial(work, 0))
    senders = [asyncio.create_task(post_more(first)) for first in (10, 20, 30)]
    await asyncio.sleep(0)
    senders.pop().cancel()
    gate.set()
    await asyncio.gather(*senders)
    box.close()
    await asyncio.wait_for(box.ended(), timeout=60)
    assert [n for n in done if 10 <= n < 20] == list(range(10, 15))
    assert [n for n in done if 20 <= n < 30] == list(range(20, 25))
    assert len(done) == CAPACITY + 10


async def test_a_group_that_floods_does_not_stop_the_timers(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        for _ in range(50):
            await client.cast("tell", {"type": "someone.added", "by": 1})
        counts: list[int] = []
        while len(counts) < 50:
            frame = await client.hear()
            if frame["event"] == "added":
                counts.append(frame["payload"]["count"])
        assert counts == list(range(1, 51))


async def test_a_server_that_ends_the_consumer_amid_a_second_join_leaves_no_task(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    class Stuck(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            started.set()
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr(mailbox, "CAPACITY", 1)
    before = asyncio.all_tasks()
    communicator = WebsocketCommunicator(Stuck.as_asgi(), "/")
    communicator.scope.update(cast(Any, {"recovery": manager}))
    await communicator.connect()
    join = {"event": "phx_join", "payload": {}}
    await communicator.send_json_to(join)
    await communicator.receive_from()
    await communicator.send_json_to({"event": "x", "payload": {}})
    await started.wait()
    for content in ({"event": "x", "payload": {}}, join):
        await communicator.send_json_to(content)
    for _ in range(20):
        await asyncio.sleep(0)
    communicator.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await communicator.future
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_database_error_in_connect_has_connections_closed(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(care, "CARE_SECONDS", 3600)

    class Failing(Counter):
        async def connect(self) -> None:
            await care.close_old_connections()
            assert not care.is_due()
            raise OperationalError("the database went away")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_message: Any) -> None:
        raise AssertionError("There is nothing to send.")

    with pytest.raises(OperationalError):
        await Failing()({"type": "websocket", "recovery": manager}, receive, send)
    assert care.is_due()
