"""Joining: fresh, recovered, refused, twice; in each shape, async and sync."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from channels.layers import get_channel_layer
from django.utils.translation import gettext_lazy

from recovery_app import RecoveryManager
from recovery_app.consumers import JoinRefused
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.wire import BARE, SHAPES, TOPIC, V1, V2, connected, recovery_of

both = pytest.mark.parametrize("counter", COUNTERS)


@both
@pytest.mark.parametrize("shape", SHAPES)
async def test_state_comes_back_on_a_new_connection(
    manager: RecoveryManager, counter: Any, shape: str
) -> None:
    topic = "" if shape == BARE else TOPIC
    async with connected(counter, manager, shape=shape) as client:
        first = await client.join(topic, start=5)
        assert first["response"]["mounted"] == topic
        assert first["response"]["params"] == {"start": 5}
        assert recovery_of(first)["outcome"] == "new"
        assert (await client.push("add", {"by": 2}, topic=topic))["response"]["count"] == 7
    async with connected(counter, manager, shape=shape) as client:
        second = await client.join(topic, recovery_of(first)["token"], start=5)
    assert second["response"]["count"] == 7
    assert "mounted" not in second["response"]
    recovery = recovery_of(second)
    assert recovery == {
        "token": recovery["token"],
        "outcome": "recovered",
        "ttl": 300,
        "seq": 0,
        "owner": recovery["owner"],
    }
    assert recovery["token"] != recovery_of(first)["token"]


async def test_a_fresh_mount_is_safe_before_its_reply(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=3))["token"]
        assert manager.snapshots().items[0].topic == TOPIC
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 3


async def test_the_token_may_stand_in_the_pages_params(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        first = await client.join(params={"_recovery": None, "page": 1})
        assert first["response"]["params"] == {"params": {"page": 1}}
        await client.push("add")
    async with connected(Counter, manager) as client:
        token = recovery_of(first)["token"]
        again = await client.join(params={"_recovery": token})
    assert recovery_of(again)["outcome"] == "recovered"


@both
async def test_a_lost_reply_to_a_join_loses_nothing(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    for _ in range(3):
        async with connected(counter, manager) as client:
            assert recovery_of(await client.join(token=token))["outcome"] == "recovered"


async def test_a_token_that_was_followed_by_an_event_gets_a_copy(
    manager: RecoveryManager,
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
    async with connected(Counter, manager) as client:
        await client.join(token=token)
        await client.push("add")
    async with connected(Counter, manager) as client:
        reply = await client.join(token=token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("copied", 1)


@pytest.mark.parametrize("token", ["", "x", "A" * 64, 7, [], {}, True, "é" * 64, "A" * 10_000])
async def test_a_bad_token_gives_a_fresh_start(manager: RecoveryManager, token: Any) -> None:
    async with connected(Counter, manager) as client:
        reply = await client.join(token=token, start=1)
    recovery = recovery_of(reply)
    assert recovery["outcome"] == "rejected"
    assert len(recovery["token"]) == 64
    assert reply["response"]["mounted"] == TOPIC


async def test_an_expired_and_a_vanished_state_are_told_apart(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    async with connected(Counter, manager) as client:
        old = recovery_of(await client.join())["token"]
    clock.advance(seconds=301)
    async with connected(Counter, manager) as client:
        late = recovery_of(await client.join(token=old))
    assert late["outcome"] == "expired"
    manager.storage.delete(manager.snapshots().items[0].socket_hash)
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=late["token"]))["outcome"] == "not_found"


@both
async def test_a_refused_join_is_told_why(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        reply = await client.join(refuse=True)
        assert reply == {"status": "error", "response": {"reason": "not today"}}
        assert (await client.push("add"))["response"] == {"reason": "unmatched topic"}
        assert recovery_of(await client.join())["outcome"] == "new"


async def test_a_topic_that_is_not_served_is_unmatched(manager: RecoveryManager) -> None:
    unmatched = {"status": "error", "response": {"reason": "unmatched topic"}}
    async with connected(Counter, manager) as client:
        for topic in ("lv:other", "room", "phoenix", "room:" + "x" * 300, "room:\x00"):
            assert await client.join(topic) == unmatched
            assert await client.push("add", topic=topic) == unmatched
        assert recovery_of(await client.join("room:1"))["outcome"] == "new"


@both
async def test_a_second_join_closes_the_first(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        first = await client.join()
        await client.push("add")
        token = recovery_of(first)["token"]
        await client.send(TOPIC, "phx_join", {"_recovery": token}, ref="9", join_ref="9")
        closed = await client.hear()
        assert (closed["event"], closed["join_ref"], closed["topic"]) == ("phx_close", "1", TOPIC)
        reply = await client.hear()
        assert reply["ref"] == reply["join_ref"] == "9"
        assert reply["payload"]["response"]["count"] == 1


async def test_events_before_a_second_join_are_applied_first(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        for _ in range(10):
            await client.cast("add")
        await client.send(TOPIC, "phx_join", {"_recovery": token}, ref="99", join_ref="99")
        frames = [await client.hear() for _ in range(12)]
    assert frames[-1]["payload"]["response"]["count"] == 10


async def test_leaving_keeps_the_state(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
        assert await client.push("phx_leave") == {"status": "ok", "response": {}}
        closed = await client.hear()
        assert (closed["event"], closed["join_ref"]) == ("phx_close", "1")
        assert (await client.push("add"))["response"] == {"reason": "unmatched topic"}
        assert await client.push("phx_leave") == {"status": "ok", "response": {}}
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_a_slow_join_that_the_client_gave_up_loses_nothing(
    manager: RecoveryManager,
) -> None:
    gate = asyncio.Event()

    class Slow(Counter):
        async def after_recover(self, takeover: Any) -> dict[str, Any]:
            await gate.wait()
            return await super().after_recover(takeover)

    async with connected(Slow, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    async with connected(Slow, manager) as client:
        payload = {"_recovery": token}
        await client.send(TOPIC, "phx_join", payload, ref="1", join_ref="1")
        await client.send(TOPIC, "phx_leave", {}, ref="2", join_ref="1")
        await client.send(TOPIC, "phx_join", payload, ref="3", join_ref="3")
        gate.set()
        frames = [await client.hear() for _ in range(4)]
    assert [frame["ref"] for frame in frames] == ["1", "2", "1", "3"]
    assert frames[-1]["payload"]["response"]["count"] == 1
    assert recovery_of(frames[-1]["payload"])["outcome"] == "recovered"


async def test_frames_of_an_earlier_join_are_ignored(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        await client.send(TOPIC, "add", {}, ref="7", join_ref="an older one")
        await client.send(TOPIC, "phx_leave", {}, ref="8", join_ref="an older one")
        assert await client.hears_nothing()
        assert (await client.push("add"))["response"]["count"] == 1


@pytest.mark.parametrize("shape", [V2, V1])
async def test_refs_come_back_as_they_came(manager: RecoveryManager, shape: str) -> None:
    async with connected(Counter, manager, shape=shape) as client:
        for ref in ("4", 4, "", None, "a" * 64):
            await client.send("phoenix", "heartbeat", {}, ref=ref)
            frame = await client.hear()
            assert frame["ref"] == ref
            assert type(frame["ref"]) is type(ref)
            assert frame["topic"] == "phoenix"


async def test_several_topics_are_separate(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join("room:1", start=10)
        await client.join("room:2", start=20)
        assert (await client.push("add", topic="room:1"))["response"]["count"] == 11
        assert (await client.push("add", topic="room:2"))["response"]["count"] == 21
        await client.push("phx_leave", topic="room:1")
        await client.hear()
        assert (await client.push("add", topic="room:2"))["response"]["count"] == 22
    assert manager.count() == 2


async def test_a_connection_may_join_so_many_topics(manager: RecoveryManager) -> None:
    class Narrow(Counter):
        recovery_max_topics = 2

    async with connected(Narrow, manager) as client:
        await client.join("room:1")
        await client.join("room:2")
        assert (await client.join("room:3"))["response"] == {"reason": "too many topics"}
        assert (await client.push("add", topic="room:2"))["status"] == "ok"


async def test_leaving_and_joining_at_once_loses_no_event(manager: RecoveryManager) -> None:
    class Slow(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await asyncio.sleep(0.001)
            return await super().handle_event(event, payload)

    async with connected(Slow, manager) as client:
        token = recovery_of(await client.join())["token"]
        for _ in range(5):
            await client.cast("add")
        await client.cast("phx_leave")
        await client.send(TOPIC, "phx_join", {"_recovery": token}, ref="99", join_ref="99")
        frames = [await client.hear() for _ in range(8)]
    assert frames[-2]["event"] == "phx_close"
    assert frames[-1]["payload"]["response"]["count"] == 5


async def test_a_flood_of_joins_slows_its_sender_down(manager: RecoveryManager) -> None:
    gate = asyncio.Event()

    class Slow(Counter):
        recovery_max_topics = 3

        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            await gate.wait()
            return await super().mount(topic, params)

    before = len(asyncio.all_tasks())
    async with connected(Slow, manager) as client:
        for number in range(50):
            ref = str(number)
            await client.send(TOPIC, "phx_join", {}, ref=ref, join_ref=ref)
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) < before + 20
        gate.set()
        while (await client.hear())["ref"] != "49":
            pass


async def test_a_mount_whose_reply_cannot_be_sent_leaves_no_snapshot(
    manager: RecoveryManager,
) -> None:
    class Odd(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            return {**await super().mount(topic, params), "odd": object()}

    async with connected(Odd, manager) as client:
        assert (await client.join())["response"] == {"reason": "join crashed"}
    assert manager.storage.count() == 0


async def test_a_default_of_the_class_stays_as_it_is(manager: RecoveryManager) -> None:
    class Listing(Counter):
        items: list[Any] = []

        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            self.count = 0
            return {"items": list(self.items)}

    for _ in range(2):
        async with connected(Listing, manager) as client:
            assert (await client.join())["response"]["items"] == []
            await client.push("keep", {"item": "a"})
            assert (await client.join("room:1"))["response"]["items"] == []
    assert Listing.items == []


async def test_a_refusal_may_be_a_lazy_translation(manager: RecoveryManager) -> None:
    class Refusing(Counter):
        async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
            raise JoinRefused(cast(str, gettext_lazy("not you")))

    async with connected(Refusing, manager) as client:
        assert (await client.join())["response"] == {"reason": "not you"}


async def test_a_refusal_that_cannot_be_tidied_up_holds_nothing_up(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(Counter):
        async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
            await self.channel_layer.group_add("everyone", self.channel_name)
            raise JoinRefused("not you")

    async def fail(*_args: Any) -> None:
        raise ConnectionError("the layer is gone")

    async with connected(Refusing, manager) as client:
        monkeypatch.setattr(get_channel_layer(), "group_discard", fail)
        await client.join()
        await client.raw.send_input({"type": "websocket.disconnect", "code": 1001})
        await client.raw.wait(timeout=2)
