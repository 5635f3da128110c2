"""Events: what they change is safe before the reply, and what fails changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live.limits import Backlog
from recovery_app._live.mailbox import Mailbox
from recovery_app._live.protocol import from_json
from recovery_app.snapshots import Snapshot
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import BARE, TOPIC, connected, recovery_of

both = pytest.mark.parametrize("counter", COUNTERS)


def stored(manager: RecoveryManager) -> dict[str, Any]:
    """Return the one state that the storage holds."""
    (item,) = manager.snapshots().items
    data = manager.storage.load(item.socket_hash)
    assert data is not None
    return manager.codec.decode(Snapshot.from_bytes(data).state)


@both
async def test_an_event_is_safe_before_its_reply(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        for count in range(1, 4):
            reply = await client.push("add")
            assert reply["response"]["count"] == stored(manager)["count"] == count


@both
@pytest.mark.parametrize("event", ["break", "wrong"])
async def test_a_handler_that_fails_changes_nothing(
    manager: RecoveryManager, counter: Any, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await client.push("add")
        failed = await client.push(event)
        assert failed == {"status": "error", "response": {"reason": "event crashed"}}
        assert stored(manager)["count"] == 1
        assert (await client.push("add"))["response"]["count"] == 2
    assert "A handler failed." in caplog.text


@both
async def test_a_state_that_cannot_be_stored_is_refused(
    manager: RecoveryManager, counter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await client.push("add")
        failed = await client.push("odd")
        assert failed == {"status": "error", "response": {"reason": "unserializable"}}
        assert (await client.push("add"))["response"]["count"] == 2
        assert stored(manager) == {"count": 2, "items": []}
    assert 'state["items"][0]' in caplog.text


async def test_a_state_that_is_too_large_keeps_the_older_one(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    manager = make_manager(max_state_bytes=100)
    async with connected(Counter, manager) as client:
        await client.join()
        await client.push("keep", {"item": "small"})
        failed = await client.push("keep", {"item": "x" * 200})
        assert failed == {"status": "error", "response": {"reason": "too_large"}}
        assert (await client.push("quiet"))["response"] == {}
    assert stored(manager)["items"] == ["small"]


@both
async def test_no_answer_is_an_empty_one(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        assert await client.push("quiet") == {"status": "ok", "response": {}}


@both
async def test_a_push_comes_in_the_clients_shape(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await client.cast("push")
        assert await client.hear() == {
            "join_ref": "1",
            "ref": None,
            "topic": TOPIC,
            "event": "pushed",
            "payload": {"count": 0},
        }
        assert (await client.reply())["status"] == "ok"


@both
async def test_a_binary_push_brings_bytes(manager: RecoveryManager, counter: Any) -> None:
    parts = [b"1", b"77", TOPIC.encode(), b"bytes"]
    head = bytes([0, *map(len, parts)])
    async with connected(counter, manager) as client:
        await client.join()
        await client.raw.send_to(bytes_data=head + b"".join(parts) + b"\x00\xff data")
        frame = await client.hear()
        assert (frame["ref"], frame["payload"]["status"]) == ("77", "ok")
        assert stored(manager)["items"] == [b"\x00\xff data"]


async def test_half_a_surrogate_pair_is_mended(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        frame = '["1","5","lv:counter","keep",{"item":"cut \\ud83d"}]'
        await client.raw.send_to(text_data=frame)
        assert (await client.reply())["status"] == "ok"
        assert stored(manager)["items"] == ["cut \ufffd"]


MALFORMED = [
    "not JSON",
    "null",
    "[]",
    "[" * 2_000,
    '{"a":' * 2_000,
    "[" * 200 + "]" * 200,
    "[1,2,3,4,5]",
    '["1","2","lv:counter","add"]',
    '["1","2","lv:counter","add",{},{}]',
    '["1","2","lv:counter","add",[]]',
    '["1","2","lv:counter","add","text"]',
    '["1","2","lv:counter","add",7]',
    '["1","2","lv:counter",null,{}]',
    '["1","2",null,"add",{}]',
    '["1","2",{"a":1},"add",{}]',
    '["1",{},"lv:counter","add",{}]',
    '[[],"2","lv:counter","add",{}]',
    '[true,"2","lv:counter","add",{}]',
    '["1",1.5,"lv:counter","add",{}]',
    '["1","2","lv:counter","add",{"\\ud800":' + "[" * 2_000,
    "\x00",
    '["1","2","lv:counter","add",{"by":NaN}]',
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:40])
async def test_what_is_no_frame_changes_nothing(
    manager: RecoveryManager, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.raw.send_to(text_data=text)
        with contextlib.suppress(ValueError):
            own = from_json(text)
            assert json.loads(await client.raw.receive_from()) == {"own": own}
        assert await client.hears_nothing()
        assert (await client.push("add"))["response"]["count"] == 1
    assert token not in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x01\x01\x01\x01\x01abcd",
        b"\x00\xff\xff\xff\xff",
        b"\x00\x01\x01\x01\x01\xff\xff\xff\xff",
        bytes(range(255, -1, -1)),
    ],
)
async def test_binary_rubbish_is_ignored(manager: RecoveryManager, data: bytes) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        await client.raw.send_to(bytes_data=data)
        assert await client.hears_nothing()
        assert (await client.push("add"))["response"]["count"] == 1


@both
async def test_other_json_goes_to_the_consumers_own_receiver(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        for content in ({"type": "ping"}, {"event": "x", "more": 1}, [1, 2], "text", 5):
            await client.raw.send_to(text_data=json.dumps(content))
            assert json.loads(await client.raw.receive_from()) == {"own": content}
        await client.raw.send_to(text_data='"fail"')
        assert await client.hears_nothing()


async def test_a_bare_object_needs_no_payload(manager: RecoveryManager) -> None:
    async with connected(Counter, manager, shape=BARE) as client:
        await client.raw.send_to(text_data='{"event": "phx_join"}')
        answer = json.loads(await client.raw.receive_from())
        assert answer["event"] == "phx_reply"
        assert answer["topic"] == ""
        await client.raw.send_to(text_data='{"event": "heartbeat"}')
        assert (await client.reply())["status"] == "ok"


async def test_nothing_is_saved_that_did_not_change(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as client:
        await client.join()
        before = storage.calls
        await client.push("quiet")
        await client.push("break")
        assert storage.calls == before
        await client.push("add")
        assert storage.calls == before + 1


async def test_saves_can_be_gathered(make_manager: Callable[..., RecoveryManager]) -> None:
    class Gathering(Counter):
        recovery_save_interval = 0.05

    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Gathering, manager) as client:
        await client.join()
        before = storage.calls
        for _ in range(5):
            await client.push("add")
        assert storage.calls == before
        await storage.next_call()
        assert storage.calls == before + 1
        assert stored(manager)["count"] == 5
        assert (await client.push("break"))["status"] == "error"
        assert (await client.push("add"))["response"]["count"] == 6
    assert stored(manager)["count"] == 6


async def test_events_that_came_before_the_end_are_applied(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        for _ in range(20):
            await client.cast("add")
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 20


async def test_a_full_mailbox_only_puts_off_what_is_gathered(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gathering(Counter):
        recovery_save_interval = 0.01

    posted: list[Any] = []
    again = asyncio.Event()
    try_post = Mailbox.try_post

    def full_at_first(self: Mailbox, work: Any, size_bytes: int = 0) -> bool:
        if getattr(work, "__name__", "") != "_flush":
            return try_post(self, work, size_bytes)
        posted.append(work)
        if len(posted) > 1:
            again.set()
        return again.is_set() and try_post(self, work)

    monkeypatch.setattr(Mailbox, "try_post", full_at_first)
    async with connected(Gathering, manager) as client:
        await client.join()
        await client.push("add")
        await asyncio.wait_for(again.wait(), timeout=60)
        assert (await client.push("quiet"))["status"] == "ok"
        assert stored(manager)["count"] == 1


async def test_a_field_that_a_failed_handler_made_is_gone(manager: RecoveryManager) -> None:
    class Drafting(Counter):
        recovery_fields = (*Counter.recovery_fields, "draft")  # type: ignore[assignment]

        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            if event == "draft":
                self.draft = "half"
                raise RuntimeError("a handler that fails")
            return await super().handle_event(event, payload)

    async with connected(Drafting, manager) as client:
        await client.join()
        assert (await client.push("draft"))["status"] == "error"
        await client.push("add")
        assert stored(manager) == {"count": 1, "items": []}


async def test_an_answer_may_be_any_mapping(manager: RecoveryManager) -> None:
    class Mapped(Counter):
        async def handle_event(self, event: str, payload: Any) -> Any:
            return MappingProxyType({"inner": MappingProxyType({"n": 1})})

    async with connected(Mapped, manager) as client:
        await client.join()
        assert (await client.push("x"))["response"] == {"inner": {"n": 1}}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 can't tell whose end it is")
async def test_a_handler_that_awaits_what_was_cancelled_fails_alone(
    manager: RecoveryManager,
) -> None:
    class Waiting(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            if event == "wait":
                self.count += 1000
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            return await super().handle_event(event, payload)

    async with connected(Waiting, manager) as client:
        await client.join()
        assert (await client.push("wait"))["response"] == {"reason": "event crashed"}
        assert (await client.push("add"))["response"]["count"] == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 can't tell whose end it is")
async def test_a_mailbox_outlives_work_that_lets_a_cancellation_out() -> None:
    backlog = Backlog(100)
    mailbox = Mailbox(backlog)
    done: list[str] = []

    async def fail() -> None:
        raise asyncio.CancelledError

    async def work() -> None:
        done.append("work")

    await mailbox.post(fail, 100)
    await mailbox.post(work, 100)
    mailbox.close()
    await mailbox.ended()
    assert done == ["work"]
    assert backlog.try_add(100)
