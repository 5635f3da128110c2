"""What one client may cost: bytes, joins, snapshots, replies and lines in the log."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from recovery_app import RecoveryManager
from recovery_app._core import telemetry
from recovery_app._core.rates import Rate, TokenBucket, parse_rate
from recovery_app._live import limits, started
from recovery_app._live.limits import Backlog, RepeatBudget, is_longer
from recovery_app._live.mailbox import Mailbox
from recovery_app._live.replies import Reply
from recovery_app.signals import Observer, observers
from recovery_app.storages import MemoryStorage
from recovery_app.values import Incident
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.wire import TOPIC, connected, recovery_of
from tests.support.scale import scaled

CONNECTIONS = scaled(100, full=1_000)
FLOOD = scaled(2_000, full=12_000)
TOO_MANY = {"status": "error", "response": {"reason": "too many joins"}}


class Person:
    """A user who is logged in."""

    is_authenticated = True

    def __init__(self, pk: int) -> None:
        self.pk = pk


class Tally(Observer):
    """How often which storage call was made, and how many joins were refused."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.limited = 0

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        self.calls.append(operation)

    def join_limited(self) -> None:
        self.limited += 1


@pytest.fixture
def tally() -> Any:
    tally = Tally()
    observers.add(tally)
    yield tally
    observers.remove(tally)


# Frames.


@pytest.mark.parametrize(
    ("text", "is_too_long"),
    [("a" * 12, False), ("a" * 13, True), ("ä" * 6, False), ("ä" * 7, True), ("€€€€", False)],
)
def test_the_bytes_of_a_text_are_counted(text: str, is_too_long: bool) -> None:
    assert is_longer(text, 12) is is_too_long


@pytest.mark.parametrize("kind", ["text", "bytes"])
async def test_a_frame_that_is_too_large_closes_the_connection(
    make_manager: Callable[..., RecoveryManager], kind: str
) -> None:
    manager = make_manager(max_frame_bytes=1000)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        assert (await client.push("add", {"text": "x" * 900}))["response"]["count"] == 1
        large = "x" * 1001
        sent = large if kind == "text" else large.encode()
        await client.raw.send_input({"type": "websocket.receive", kind: sent})
        closed = await client.raw.receive_output(timeout=5)
        assert closed == {"type": "websocket.close", "code": 1009}
        await client.cast("add")
        assert await client.raw.receive_nothing()
    async with connected(Counter, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


@pytest.mark.parametrize("ref", ["a" * 65, 2**53, -(2**53), 10**30])
async def test_a_ref_that_is_too_long_is_ignored(manager: RecoveryManager, ref: Any) -> None:
    class Quiet(Counter):
        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            """Take what isn't of the protocol."""

    async with connected(Quiet, manager) as client:
        await client.send("phoenix", "heartbeat", {}, ref=ref)
        await client.send("phoenix", "heartbeat", {}, ref="1", join_ref=ref)
        assert await client.hears_nothing()


async def test_waiting_frames_are_limited_by_their_bytes() -> None:
    gate, done = asyncio.Event(), []
    backlog = Backlog(1000)
    one, other = Mailbox(backlog), Mailbox(backlog)

    async def work() -> None:
        await gate.wait()
        done.append(1)

    assert one.try_post(work, 2000)
    assert not other.try_post(work, 1)
    assert other.try_post(work)
    waiting = [asyncio.create_task(box.post(work, 600)) for box in (one, other, one)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in waiting)
    gate.set()
    await asyncio.wait_for(asyncio.gather(*waiting), timeout=60)
    for box in (one, other):
        box.close()
        await asyncio.wait_for(box.ended(), timeout=60)
    assert len(done) == 5
    # A sender that waited for too long finds nobody there.
    assert one.try_post(work, 600)


async def test_a_flood_of_large_events_is_slowed_down_and_handled(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    manager = make_manager(max_frame_bytes=10_000)
    async with connected(Counter, manager) as client:
        await client.join()
        for _ in range(100):
            await client.cast("add", {"text": "x" * 9_000})
        for count in range(1, 101):
            assert (await client.reply())["response"]["count"] == count


# Joins.


@pytest.mark.parametrize(
    ("text", "rate"),
    [("20/s", Rate(20, 100)), ("90/m", Rate(1.5, 450)), (None, None)],
)
def test_a_rate_is_read(text: str | None, rate: Rate | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "20", "0/s", "-1/s", "20/h", "1.5/s", "20/s ", 20, "２/s"])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_rate(text)


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = TokenBucket(Rate(2, 10), 0)
    assert sum(bucket.take(0) for _ in range(50)) == 10
    assert sum(bucket.take(1) for _ in range(50)) == 2
    assert not bucket.take(0)
    assert sum(bucket.take(1000) for _ in range(50)) == 10


async def test_a_flood_of_joins_is_refused_before_it_costs_anything(
    manager: RecoveryManager, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "recovery_app")
    async with connected(Counter, manager) as client:
        for number in range(100):
            recovery_of(await client.join(f"room:{number}"))
        calls, lines = len(tally.calls), len(caplog.records)
        for _ in range(FLOOD):
            await client.send(TOPIC, "phx_join", {}, ref="1", join_ref="1")
            assert await client.reply() == TOO_MANY
        assert (len(tally.calls), len(caplog.records)) == (calls, lines)
        assert tally.limited == FLOOD


async def test_joins_are_possible_again_after_a_while(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock, join_rate="1/s")
    async with connected(Counter, manager) as client:
        for number in range(5):
            recovery_of(await client.join(f"room:{number}"))
        assert await client.join("room:6") == TOO_MANY
        clock.advance(seconds=1)
        recovery_of(await client.join("room:6"))
        assert await client.join("room:7") == TOO_MANY
        # What is joined goes on.
        assert (await client.push("add", topic="room:1"))["status"] == "ok"


async def test_a_person_is_limited_on_all_connections_together(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    manager = make_manager(clock=clock, join_rate="1/s")

    async def joins(user: Any) -> int:
        async with connected(Counter, manager, user=user) as client:
            replies = [await client.join(f"room:{number}") for number in range(5)]
        return sum(reply["status"] == "ok" for reply in replies)

    assert [await joins(Person(1)) for _ in range(2)] == [5, 0]
    assert await joins(Person(2)) == 5
    assert [await joins(AnonymousUser()) for _ in range(2)] == [5, 5]


# Snapshots.


@pytest.mark.parametrize("consumer", COUNTERS)
async def test_a_connection_keeps_few_of_the_snapshots_that_it_started(
    make_manager: Callable[..., RecoveryManager],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    consumer: Any,
) -> None:
    monkeypatch.setattr(started, "KEPT_AT_LEAST", 6)

    class Few(consumer):  # type: ignore[misc]
        recovery_max_topics = 3

    storage = MemoryStorage(clock=clock)
    manager = make_manager(storage=storage, clock=clock, join_rate=None)
    tokens = []
    async with connected(Few, manager) as client:
        for number in range(20):
            topic = f"room:{number}"
            tokens.append((topic, recovery_of(await client.join(topic))["token"]))
            await client.push("phx_leave", topic=topic)
            await client.hear()
        tokens += [
            (topic, recovery_of(await client.join(topic))["token"])
            for topic in ("room:a", "room:b", "room:c")
        ]
        await client.push("add", topic="room:a")
        clock.advance(seconds=started.LAST_SECONDS)
        assert storage.count() == 6
    assert storage.count() == 6
    outcomes = []
    for topic, token in tokens:
        async with connected(Few, manager) as client:
            outcomes.append(recovery_of(await client.join(topic, token=token))["outcome"])
    assert outcomes == ["not_found"] * 17 + ["recovered"] * 6


async def test_what_another_connection_took_over_is_not_deleted(
    make_manager: Callable[..., RecoveryManager],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(started, "KEPT_AT_LEAST", 2)

    class Few(Counter):
        recovery_max_topics = 1

    manager = make_manager(clock=clock, join_rate=None)
    async with connected(Few, manager) as one, connected(Few, manager) as two:
        token = recovery_of(await one.join())["token"]
        await one.push("add")
        token = recovery_of(await two.join(token=token))["token"]
        await two.push("add")
        for number in range(5):
            await one.cast("phx_leave", topic=TOPIC if not number else f"room:{number - 1}")
            while (await one.hear())["event"] != "phx_close":
                pass
            recovery_of(await one.join(f"room:{number}"))
    clock.advance(seconds=started.LAST_SECONDS)
    async with connected(Few, manager) as three:
        assert recovery_of(await three.join(token=token))["outcome"] == "recovered"


# Replies.


def test_repeated_replies_are_emptied_when_the_client_has_had_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FREE_REPEAT_BYTES", 1000)
    budget = RepeatBudget()
    reply = Reply(is_ok=False, response=b'{"text":"' + b"x" * 389 + b'"}')
    replies = [budget.repeat(reply, sent_bytes=50) for _ in range(20)]
    assert replies[:2] == [reply] * 2
    assert replies.count(Reply(is_ok=False, response=b"{}")) == 20 - replies.count(reply)
    assert replies.count(reply) <= (1000 + 20 * 50) / 400
    assert budget.repeat(None, sent_bytes=0) == Reply(is_ok=True, response=b"{}")


# Memory.


async def _come_and_go(manager: RecoveryManager, consumer: Any, number: int) -> None:
    async with connected(consumer, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add", {"_seq": 1})
        await client.cast("break", {})
        await client.hear()
        await client.join("room:3", _recv=None, group=f"group {number}")
        await client.cast("break", {}, topic="room:3")
        await client.hear()
        if number % 2:
            await client.join("room:1", refuse=True)
            await client.join("room:2", token=token)
            await client.push("phx_leave", topic="room:2")
            await client.hear()


left_to_the_collector = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="asyncio of Python 3.10 keeps cancelled tasks in a cycle."
)


@left_to_the_collector
@pytest.mark.parametrize("consumer", COUNTERS)
async def test_closed_connections_leave_nothing_to_the_garbage_collector(
    make_manager: Callable[..., RecoveryManager], consumer: Any
) -> None:
    manager = make_manager()
    for number in range(2):
        await _come_and_go(manager, consumer, number)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for number in range(CONNECTIONS):
            await _come_and_go(manager, consumer, number)
        await asyncio.sleep(0.05)
        gc.collect()
        ours = {_name(each) for each in gc.garbage if _is_ours(each)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == set()


def _name(each: object) -> str:
    return f"{type(each).__module__}.{type(each).__qualname__}"


def _is_ours(each: object) -> bool:
    """Return whether it may be a connection's, and not of an earlier test's storage.

    Those go when the thread ends that wrote their journal, which may be now.
    """
    name = _name(each)
    if name.startswith("recovery_app.storages.") or type(each) is Incident:
        return False
    return name.startswith(("recovery_app.", "tests.consumers."))


@left_to_the_collector
async def test_a_connection_that_is_cut_amid_its_work_leaves_nothing_either(
    manager: RecoveryManager,
) -> None:
    class Stuck(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await asyncio.Event().wait()
            return None

    async def cut() -> None:
        communicator = WebsocketCommunicator(Stuck.as_asgi(), "/")
        communicator.scope.update(cast(Any, {"recovery": manager}))
        await communicator.connect()
        await communicator.send_json_to(["1", "1", TOPIC, "phx_join", {}])
        await communicator.receive_from()
        for _ in range(3):
            await communicator.send_json_to(["1", "1", TOPIC, "add", {}])
        await asyncio.sleep(0.01)
        communicator.future.cancel()
        with suppress(asyncio.CancelledError):
            await communicator.future

    await cut()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(20):
            await cut()
        await asyncio.sleep(0.05)
        gc.collect()
        ours = {_name(each) for each in gc.garbage if _is_ours(each)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == set()


@pytest.mark.parametrize("consumer", COUNTERS)
async def test_a_joined_topic_has_dropped_the_payload_of_its_join(
    manager: RecoveryManager, consumer: Any
) -> None:
    class Forgetful(consumer):  # type: ignore[misc]
        pass

    mark = json.loads('"a mark that nobody else has"')
    async with connected(Forgetful, manager) as client:
        await client.join(mark=mark)
        found = [
            each for each in gc.get_objects() if isinstance(each, dict) and each.get("mark") == mark
        ]
        assert found == []


# The log.


async def test_an_error_is_logged_once_a_minute_with_a_count(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(telemetry, "throttle", telemetry.LogThrottle(clock))
    async with connected(Counter, manager) as client:
        await client.join()
        for minute in (1, 2):
            for _ in range(50):
                await client.push("break")
            await client.push("wrong")
            assert len(caplog.records) == 2 * minute
            clock.advance(seconds=telemetry.THROTTLE_SECONDS)
    first, _, second, _ = caplog.records
    assert (vars(first)["left_out"], vars(second)["left_out"]) == (0, 49)
    assert "49 similar lines" in second.getMessage()
    assert second.exc_info is not None


async def test_a_client_cannot_tell_errors_apart_for_the_log(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            raise KeyError(event)

    async with connected(Picky, manager) as client:
        await client.join()
        for number in range(50):
            await client.push(f"event {number}")
    assert len(caplog.records) == 1
