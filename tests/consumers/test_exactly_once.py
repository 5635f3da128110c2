"""Numbered events: each is applied once, whatever is lost or comes twice on the way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import replies
from recovery_app._live.replies import (
    MAX_LINES,
    MAX_REPLIES,
    MAX_REPLY_BYTES,
    Reply,
    ReplyCache,
)
from recovery_app.storages import MemoryStorage
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import Client, connected, recovery_of

both = pytest.mark.parametrize("counter", COUNTERS)

Manage = Callable[..., RecoveryManager]


async def send(client: Client, seq: Any, event: str = "add", **payload: Any) -> dict[str, Any]:
    """Push a numbered event and give the reply's payload."""
    return await client.push(event, {**payload, "_seq": seq})


def told(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what an event's reply tells of numbers."""
    part: dict[str, Any] = reply["response"]["_recovery"]
    return part


async def state_under(
    manager: RecoveryManager, token: str, counter: Any = Counter
) -> tuple[int, int]:
    """Return the count and the number of a new connection with the token."""
    async with connected(counter, manager) as client:
        reply = await client.join(token=token)
        assert recovery_of(reply)["outcome"] == "recovered"
        return reply["response"]["count"], recovery_of(reply)["seq"]


@both
async def test_number_and_state_are_safe_before_the_reply(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        for number in (1, 2, 3):
            reply = await send(client, number)
            assert told(reply) == {"seq": number}
            assert reply["response"]["count"] == number
            (info,) = manager.snapshots().items
            found = manager.inspect(info.socket_hash)
            assert found is not None
            assert found.state is not None
            assert (found.info.applied_seq, found.state["count"]) == (number, number)


@both
async def test_an_event_that_comes_twice_is_applied_once_and_answered_twice(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        first = await send(client, 1, by=5)
        again = await send(client, 1, by=5)
        assert told(again) == {"seq": 1, "repeat": True}
        assert again["status"] == "ok"
        assert {**again["response"], "_recovery": told(first)} == first["response"]
        assert (await send(client, 2))["response"]["count"] == 6


@both
async def test_a_new_connection_knows_what_was_applied_and_answered(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        replies = [await send(client, number, by=number) for number in (1, 2, 3)]
    async with connected(counter, manager) as client:
        reply = await client.join(token=token)
        assert recovery_of(reply)["seq"] == 3
        for number, first in enumerate(replies, 1):
            again = await send(client, number, by=number)
            assert told(again) == {"seq": 3, "repeat": True}
            assert again["response"]["count"] == first["response"]["count"]
        assert (await send(client, 4))["response"]["count"] == 7


@both
async def test_an_acknowledged_answer_is_no_longer_known(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await send(client, 1)
        await client.push("add", {"_seq": 2, "_ack": 1})
        assert await send(client, 1) == {
            "status": "ok",
            "response": {"_recovery": {"seq": 2, "repeat": True}},
        }
        assert (await send(client, 2))["response"]["count"] == 2


async def test_answers_that_nobody_acknowledges_are_few(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        for number in range(1, MAX_REPLIES + 3):
            await send(client, number)
        assert "count" not in (await send(client, 2))["response"]
        assert (await send(client, 3))["response"]["count"] == 3
        assert told(await send(client, 2))["repeat"]


async def test_an_answer_too_long_to_be_kept_keeps_its_status(manager: RecoveryManager) -> None:
    class Wordy(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
            await super().handle_event(event, payload)
            return {"text": "x" * MAX_REPLY_BYTES}

    async with connected(Wordy, manager) as client:
        token = recovery_of(await client.join())["token"]
        first = await send(client, 1, "break")
        assert len((await send(client, 2))["response"]["text"]) == MAX_REPLY_BYTES
    async with connected(Wordy, manager) as client:
        await client.join(token=token)
        again = [await send(client, number) for number in (1, 2)]
    assert [first["status"], *(each["status"] for each in again)] == ["error", "error", "ok"]
    assert [each["response"] for each in again] == [{"_recovery": {"seq": 2, "repeat": True}}] * 2


@both
async def test_a_gap_is_answered_with_the_number_to_go_on_from(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        await client.join()
        await send(client, 1)
        assert await send(client, 3) == {
            "status": "error",
            "response": {"reason": "seq_gap", "seq": 1, "_recovery": {"seq": 1}},
        }
        assert (await send(client, 2))["response"]["count"] == 2


@pytest.mark.parametrize("seq", [0, -1, 1.0, "1", None, True, [1], {}, 2**53, 10**30])
async def test_a_number_that_is_none_is_refused(manager: RecoveryManager, seq: Any) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        assert await send(client, seq) == {
            "status": "error",
            "response": {"reason": "bad_seq", "_recovery": {"seq": 0}},
        }
        refused = await client.push("add", {"_seq": 1, "_ack": seq})
        if seq != 0 or isinstance(seq, bool):
            assert refused["response"]["reason"] == "bad_seq"
            assert (await send(client, 1))["response"]["count"] == 1


@both
@pytest.mark.parametrize(
    ("event", "reason"),
    [("break", "event crashed"), ("wrong", "event crashed"), ("odd", "unserializable")],
)
async def test_an_event_that_fails_counts_and_changes_nothing(
    manager: RecoveryManager, counter: Any, event: str, reason: str
) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
        failed = await send(client, 2, event)
        assert failed == {
            "status": "error",
            "response": {"reason": reason, "_recovery": {"seq": 2}},
        }
    async with connected(counter, manager) as client:
        assert recovery_of(await client.join(token=token))["seq"] == 2
        again = await send(client, 2, event)
        assert again["status"] == "error"
        assert again["response"]["reason"] == reason
        assert told(again) == {"seq": 2, "repeat": True}
        assert (await send(client, 3))["response"]["count"] == 2


async def test_the_first_event_of_all_may_fail(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        assert told(await send(client, 1, "break")) == {"seq": 1}
    assert await state_under(manager, token) == (0, 1)


@both
async def test_events_without_a_number_are_served_as_before(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
        assert (await client.push("add", {"_ack": 1}))["response"] == {
            "count": 2,
            "items": 0,
            "payload": "{}",
        }
        assert told(await send(client, 2)) == {"seq": 2}
    assert await state_under(manager, token, counter) == (3, 2)


async def test_neither_number_is_seen_by_the_application(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        reply = await client.push("add", {"by": 2, "_seq": 1, "_ack": 0})
    assert reply["response"]["payload"] == "{'by': 2}"


async def test_no_line_is_seen_by_the_application(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        reply = await client.join(_line="a")
        assert reply["response"]["params"] == {}
        reply = await client.push("quiet-not", {"_seq": 1, "_line": "a", "x": 1})
        assert reply["response"]["payload"] == "{'x': 1}"


@pytest.mark.parametrize("line", [7, None, [], "x" * 33, "é", "\n"])
async def test_a_line_that_is_no_short_word_is_refused(manager: RecoveryManager, line: Any) -> None:
    async with connected(Counter, manager) as client:
        await client.join()
        reply = await client.push("add", {"_seq": 1, "_line": line})
        assert (reply["status"], reply["response"]["reason"]) == ("error", "bad_seq")


@both
async def test_a_number_of_another_line_is_not_taken_for_ones_own(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as one:
        told_first = recovery_of(await one.join(_line="one"))
        assert told_first["lines"] == []
        await one.push("add", {"_seq": 1, "_line": "one"})
    async with connected(counter, manager) as other:
        token = recovery_of(await other.join(_line="two", token=told_first["token"]))["token"]
        await other.push("add", {"_seq": 2, "_line": "two"})
    async with connected(counter, manager) as one:
        reply = recovery_of(await one.join(_line="one", token=token))
        assert (reply["seq"], reply["lines"]) == (2, [["one", 1], ["two", 2]])
        taken = await one.push("add", {"_seq": 2, "_line": "one"})
        assert taken["status"] == "error"
        assert taken["response"] == {"reason": "seq_taken", "seq": 2, "_recovery": {"seq": 2}}
        own = await one.push("add", {"_seq": 1, "_line": "one"})
        assert own["response"]["_recovery"]["repeat"]
        unnamed = await one.push("add", {"_seq": 2})
        assert unnamed["response"]["_recovery"]["repeat"]
        following = await one.push("add", {"_seq": 3, "_line": "one"})
        assert following["response"]["count"] == 3


async def test_lines_that_take_turns_are_bounded(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        for number in range(1, 3 * MAX_LINES + 1):
            await client.push("add", {"_seq": number, "_line": f"{number % 2}", "_ack": number - 1})
    async with connected(Counter, manager) as client:
        lines = recovery_of(await client.join(token=token, _line="1"))["lines"]
    assert len(lines) == MAX_LINES
    assert lines[-1] == ["0", 3 * MAX_LINES]


def test_replies_with_lines_are_dropped_but_not_misread_by_an_earlier_version() -> None:
    cache = ReplyCache()
    cache.add(Reply(is_ok=False, response=b'{"a": 1}'), "one")
    cache.add(Reply(is_ok=True, response=b"{}"), "two")
    again = ReplyCache(2, cache.pack())
    assert again.lines == [("one", 1), ("two", 2)]
    assert again.find(1) == Reply(is_ok=False, response=b'{"a": 1}')
    assert replies._unpack(cache.pack()) == []
    again.acknowledge(2)
    assert ReplyCache(2, again.pack()).describe() == {
        "seq": 2,
        "lines": [("one", 1), ("two", 2)],
        "errors": [1],
    }


@pytest.mark.parametrize("cut", range(1, 20))
def test_lines_that_are_cut_short_are_dropped(cut: int) -> None:
    cache = ReplyCache()
    cache.add(Reply(is_ok=True, response=b"{}"), "one")
    ReplyCache(1, cache.pack()[:-cut])


async def test_what_a_handler_says_under_our_key_gives_way(manager: RecoveryManager) -> None:
    class Saying(Counter):
        async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
            return {"_recovery": {"seq": 99}, "text": "}"}

    async with connected(Saying, manager) as client:
        await client.join()
        for is_repeat in ({}, {"repeat": True}):
            assert (await send(client, 1))["response"] == {
                "text": "}",
                "_recovery": {"seq": 1, **is_repeat},
            }


async def test_a_fresh_start_counts_from_1_again(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
        await send(client, 2)
    (info,) = manager.snapshots().items
    manager.revoke_socket(info.socket_hash)
    async with connected(Counter, manager) as client:
        part = recovery_of(await client.join(token=token))
        assert (part["outcome"], part["seq"]) == ("not_found", 0)
        assert (await send(client, 3))["response"]["seq"] == 0
        assert told(await send(client, 1)) == {"seq": 1}


# Outages.


@both
async def test_an_outage_leaves_the_number_behind_until_the_next_save(
    make_manager: Manage, counter: Any
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
        storage.stop()
        for number in (2, 3):
            reply = await send(client, number)
            assert (reply["response"]["count"], told(reply)["seq"]) == (number, 1)
        assert told(await send(client, 5))["seq"] == 1
        storage.start()
        assert told(await send(client, 4)) == {"seq": 4}
    assert await state_under(manager, token, counter) == (4, 4)


@both
async def test_a_repeat_makes_safe_what_an_outage_left(make_manager: Manage, counter: Any) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        storage.stop()
        assert told(await send(client, 1)) == {"seq": 0}
        storage.start()
        again = await send(client, 1)
        assert (told(again), again["response"]["count"]) == ({"seq": 1, "repeat": True}, 1)
    assert await state_under(manager, token, counter) == (1, 1)


async def test_a_number_is_lost_with_its_state_and_comes_again(make_manager: Manage) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as lost:
        token = recovery_of(await lost.join())["token"]
        await send(lost, 1)
        storage.stop()
        await send(lost, 2, by=10)
        storage.start()
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join(token=token))["seq"] == 1
            assert (await send(client, 2, by=10))["response"]["count"] == 11


async def test_the_end_of_a_connection_makes_safe_what_an_outage_left(
    make_manager: Manage,
) -> None:
    storage = FlakyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        storage.stop()
        await send(client, 1)
        await client.push("add")
        storage.start()
    assert await state_under(manager, token) == (2, 1)


# Several connections.


@both
async def test_a_connection_that_was_taken_over_takes_its_numbers_along(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as old, connected(counter, manager) as new:
        token = recovery_of(await old.join())["token"]
        await send(old, 1)
        taken = recovery_of(await new.join(token=token))
        assert taken["seq"] == 1
        await send(new, 2, by=10)
        await old.cast("add", {"by": 100, "_seq": 2})
        pushed = await old.hear()
        assert pushed["event"] == "recovery:token"
        assert told(await old.reply()) == {"seq": 2}
        assert told(await send(old, 2))["repeat"]
    assert await state_under(manager, taken["token"], counter) == (11, 2)
    assert await state_under(manager, pushed["payload"]["token"], counter) == (101, 2)


async def test_a_join_whose_reply_is_lost_can_be_tried_again(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
    for _ in range(3):
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join(token=token))["seq"] == 1
    async with connected(Counter, manager) as client:
        newest = recovery_of(await client.join(token=token))["token"]
        assert (await send(client, 2))["response"]["count"] == 2
    assert await state_under(manager, newest) == (2, 2)


# Gathered saves.


class Gathering(Counter):
    recovery_save_interval = 3600


async def test_gathered_saves_tell_what_is_safe_so_far(manager: RecoveryManager) -> None:
    async with connected(Gathering, manager) as client:
        token = recovery_of(await client.join())["token"]
        for number in (1, 2, 3):
            assert told(await send(client, number)) == {"seq": 0}
        assert told(await send(client, 2)) == {"seq": 0, "repeat": True}
        assert (await send(client, 5))["response"]["seq"] == 3
    # The end of the connection is the last flush.
    assert await state_under(manager, token, Gathering) == (3, 3)


async def test_a_flush_makes_numbers_safe(manager: RecoveryManager) -> None:
    class Soon(Counter):
        recovery_save_interval = 0.01

    async with connected(Soon, manager) as client:
        await client.join()
        for number in itertools.count(1):
            safe = told(await send(client, number))["seq"]
            if safe > 1:
                break
            await asyncio.sleep(0.005)
        (info,) = manager.snapshots().items
        assert info.applied_seq is not None
        assert safe <= info.applied_seq <= number


async def test_a_failed_event_counts_with_gathered_saves_too(manager: RecoveryManager) -> None:
    async with connected(Gathering, manager) as client:
        token = recovery_of(await client.join())["token"]
        await send(client, 1)
        await send(client, 2, "break")
    assert await state_under(manager, token, Gathering) == (1, 2)


async def test_a_crash_loses_a_gathered_state_and_its_numbers_together(
    make_manager: Manage,
) -> None:
    storage = MemoryStorage()
    manager = make_manager(storage=storage)
    async with connected(Gathering, manager) as crashed:
        token = recovery_of(await crashed.join())["token"]
        await send(crashed, 1)
        async with connected(Gathering, manager) as client:
            assert recovery_of(await client.join(token=token))["seq"] == 0
            assert (await send(client, 1))["response"]["count"] == 1


def test_a_number_before_all_remembered_lines_is_nobodys() -> None:
    cache = ReplyCache()
    for number in range(MAX_LINES):
        cache.add(Reply(is_ok=True, response=b"{}"), f"line {number}")
    assert not cache.is_taken(1, "line 0")
    assert cache.is_taken(2, "line 0")
    cache.add(Reply(is_ok=True, response=b"{}"), "another")
    assert cache.is_taken(1, "line 0")
    assert cache.is_taken(1, "somebody's")
    assert not cache.is_taken(2, "line 1")
    # A client without lines numbers for itself alone.
    assert not cache.is_taken(1, "")
