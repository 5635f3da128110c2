"""What isn't of the protocol: the application's own frames, and its own saves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import BARE, Client, connected, recovery_of

TOPIC = "notes"
OTHER = "other"


class Notes(RecoveryConsumerMixin, AsyncWebsocketConsumer):
    """Keeps each text and each size of bytes that it receives."""

    recovery_fields = ("notes",)
    notes: list[Any] = []

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.notes.append(text_data if bytes_data is None else bytes_data.hex())
        if text_data == "fail":
            raise RuntimeError("on purpose")
        await self.send(text_data=f"{len(self.notes)}")


class SyncNotes(SyncRecoveryConsumerMixin, WebsocketConsumer):
    """The same, without async."""

    recovery_fields = ("notes",)
    notes: list[Any] = []

    def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.notes.append(text_data if bytes_data is None else bytes_data.hex())
        if text_data == "fail":
            raise RuntimeError("on purpose")
        self.send(text_data=f"{len(self.notes)}")


class JsonNotes(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Keeps each JSON value that it receives."""

    recovery_fields = ("notes",)
    notes: list[Any] = []

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.notes.append(content)
        if content == "fail":
            raise RuntimeError("on purpose")
        await self.send_json(len(self.notes))


class SyncJsonNotes(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    """The same, without async."""

    recovery_fields = ("notes",)
    notes: list[Any] = []

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"notes": self.notes}

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.notes.append(content)
        if content == "fail":
            raise RuntimeError("on purpose")
        self.send_json(len(self.notes))


raw = pytest.mark.parametrize("consumer", [Notes, SyncNotes])
json = pytest.mark.parametrize("consumer", [JsonNotes, SyncJsonNotes])


async def tell(client: Client, text: str) -> str:
    """Send a text that isn't of the protocol, and return the answer."""
    await client.raw.send_to(text_data=text)
    return str(await client.raw.receive_from(timeout=5))


async def notes_after(consumer: Any, manager: RecoveryManager, token: str) -> Any:
    """Return what a page finds that comes back with this token."""
    async with connected(consumer, manager) as client:
        reply = await client.join(TOPIC, token)
        assert recovery_of(reply)["outcome"] == "recovered"
        return reply["response"]["notes"]


@raw
async def test_a_raw_consumer_receives_text_and_bytes_and_they_are_saved(
    manager: RecoveryManager, consumer: Any
) -> None:
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        assert await tell(client, "hello") == "1"
        assert await tell(client, '{"json": true}') == "2"
        await client.raw.send_to(bytes_data=b"\xff\x00")
        assert await client.raw.receive_from(timeout=5) == "3"
        # The protocol's own frames are none of its business.
        assert (await client.push("look", topic=TOPIC))["status"] == "ok"
    expected = ["hello", '{"json": true}', "ff00"]
    assert await notes_after(consumer, manager, token) == expected


@raw
async def test_a_raw_consumer_receives_before_any_join(
    manager: RecoveryManager, consumer: Any
) -> None:
    for _ in range(2):
        async with connected(consumer, manager) as client:
            assert await tell(client, "hello") == "1"
            assert await tell(client, "again") == "2"
    # What the class has is for everyone.
    assert consumer.notes == []


@json
async def test_what_receive_json_changes_is_saved(manager: RecoveryManager, consumer: Any) -> None:
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        assert await tell(client, '{"a": 1}') == "1"
        # What is no JSON at all, it can't take.
        await client.raw.send_to(text_data="no JSON")
        await client.raw.send_to(bytes_data=b"\xff\x00")
        assert await client.hears_nothing()
    assert await notes_after(consumer, manager, token) == [{"a": 1}]
    assert consumer.notes == []


@pytest.mark.parametrize("consumer", [JsonNotes, SyncJsonNotes, Notes, SyncNotes])
async def test_a_receiver_that_raises_is_rolled_back(
    manager: RecoveryManager, consumer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        await tell(client, '"kept"')
        await client.raw.send_to(text_data='"fail"' if "Json" in consumer.__name__ else "fail")
        assert await tell(client, '"kept too"') == "2"
    assert len(await notes_after(consumer, manager, token)) == 2
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.event == "handler_failed"  # type: ignore[attr-defined]
    assert record.topic == TOPIC  # type: ignore[attr-defined]


async def test_of_several_topics_the_one_without_a_name_has_the_frames(
    manager: RecoveryManager,
) -> None:
    async with connected(JsonNotes, manager, shape=BARE) as client:
        token = recovery_of(await client.join(""))["token"]
        await client.raw.send_json_to([None, "1", OTHER, "phx_join", {}])
        assert (await client.raw.receive_json_from())[3] == "phx_reply"
        assert await tell(client, "1") == "1"
    async with connected(JsonNotes, manager, shape=BARE) as client:
        assert (await client.join("", token))["response"]["notes"] == [1]


async def test_of_several_named_topics_none_has_the_frames(manager: RecoveryManager) -> None:
    class Own(JsonNotes):
        async def connect(self) -> None:
            self.notes = []
            await self.accept()

    async with connected(Own, manager) as client:
        await client.join(TOPIC)
        token = recovery_of(await client.join(OTHER))["token"]
        assert await tell(client, "1") == "1"
    async with connected(Own, manager) as client:
        assert (await client.join(OTHER, token))["response"]["notes"] == []


async def test_topics_share_no_list_with_each_other_or_the_connection(
    manager: RecoveryManager,
) -> None:
    class Own(JsonNotes):
        async def connect(self) -> None:
            self.notes = ["from connect"]
            await self.accept()

        async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
            self.notes.append(event)
            return {"notes": self.notes}

    async with connected(Own, manager) as client:
        assert await tell(client, "1") == "2"
        for topic in (TOPIC, OTHER):
            await client.join(topic)
            reply = await client.push("add", topic=topic)
            assert reply["response"]["notes"] == ["from connect", 1, "add"]
        assert await tell(client, "2") == "3"


@json
async def test_after_an_outage_a_frame_starts_a_snapshot_as_an_event_does(
    make_manager: Callable[..., RecoveryManager], consumer: Any
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
    async with connected(consumer, manager) as client:
        storage.stop()
        assert recovery_of(await client.join(TOPIC, token))["outcome"] == "unavailable"
        storage.start()
        assert await tell(client, '"kept"') == "1"
        frame = await client.hear()
        assert frame["event"] == "recovery:token"
    assert await notes_after(consumer, manager, frame["payload"]["token"]) == ["kept"]


async def test_frames_and_events_keep_their_order(manager: RecoveryManager) -> None:
    async with connected(Notes, manager) as client:
        await client.join(TOPIC)
        await client.raw.send_to(text_data="first")
        await client.cast("look", topic=TOPIC)
        assert await client.raw.receive_from(timeout=5) == "1"
        assert (await client.reply())["response"] == {"notes": ["first"]}


async def test_a_decoder_of_ones_own_takes_all_text(manager: RecoveryManager) -> None:
    class Shouting(JsonNotes):
        @classmethod
        async def decode_json(cls, text_data: str) -> Any:
            return text_data.upper()

    async with connected(Shouting, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        assert await tell(client, "no JSON") == "1"
    assert await notes_after(Shouting, manager, token) == ["NO JSON"]


# save_recovery()


class Gathering(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Saves only when it says so."""

    recovery_fields = ("count",)
    recovery_save_interval = 600
    count = 0
    task: asyncio.Task[None]
    over: asyncio.Event

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> None:
        if event == "later":
            self.task = asyncio.create_task(self._count_later())
            return
        self.count += 1
        if event == "save":
            await self.save_recovery()
            self.count += 10

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.count += 1
        await self.save_recovery()
        self.count += 100
        await self.send_json("saved")
        await self.over.wait()

    async def _count_later(self) -> None:
        self.count += 1
        await self.save_recovery()
        await self.push("saved", {})


class SyncGathering(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    """The same for one way, without async."""

    recovery_fields = ("count",)
    recovery_save_interval = 600
    count = 0

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    def handle_event(self, event: str, payload: Any) -> None:
        self.count += 1
        if event == "save":
            self.save_recovery()
            self.count += 10


async def stored(manager: RecoveryManager, consumer: Any, act: Callable[[Client], Any]) -> int:
    """Return the count that a page finds while the connection that did something is open."""
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        await act(client)
        async with connected(consumer, manager) as other:
            count: int = (await other.join(TOPIC, token))["response"]["count"]
            return count


@pytest.mark.parametrize("consumer", [Gathering, SyncGathering])
async def test_in_an_event_a_save_is_one_step_with_the_event(
    manager: RecoveryManager, consumer: Any
) -> None:
    async def act(client: Client) -> None:
        await client.push("add", topic=TOPIC)
        await client.push("save", topic=TOPIC)

    assert await stored(manager, consumer, act) == 12


async def test_without_it_saves_are_gathered(manager: RecoveryManager) -> None:
    async def act(client: Client) -> None:
        await client.push("add", topic=TOPIC)

    assert await stored(manager, Gathering, act) == 0


async def test_in_a_receiver_it_saves_at_once(manager: RecoveryManager) -> None:
    class Held(Gathering):
        over = asyncio.Event()

    async with connected(Held, manager) as client:
        token = recovery_of(await client.join(TOPIC))["token"]
        assert await tell(client, "1") == '"saved"'
        async with connected(Held, manager) as other:
            assert (await other.join(TOPIC, token))["response"]["count"] == 1
        Held.over.set()


async def test_in_a_task_it_saves_in_its_turn(manager: RecoveryManager) -> None:
    async def act(client: Client) -> None:
        await client.push("later", topic=TOPIC)
        assert (await client.hear())["event"] == "saved"

    assert await stored(manager, Gathering, act) == 1


async def test_a_task_learns_that_its_state_cant_be_stored(manager: RecoveryManager) -> None:
    class Odd(Gathering):
        async def _count_later(self) -> None:
            self.count = object()  # type: ignore[assignment]
            try:
                await self.save_recovery()
            except Exception as error:
                await self.push("raised", {"error": type(error).__name__})

    async with connected(Odd, manager) as client:
        await client.join(TOPIC)
        await client.cast("later", topic=TOPIC)
        frames = [await client.hear(), await client.hear()]
    assert {"error": "UnserializableState"} in [frame["payload"] for frame in frames]


async def test_it_needs_a_joined_topic(manager: RecoveryManager) -> None:
    consumer = Gathering()
    with pytest.raises(RuntimeError, match="joined topic"):
        await consumer.save_recovery()
    with pytest.raises(RuntimeError, match="joined topic"):
        await asyncio.to_thread(SyncGathering().save_recovery)
