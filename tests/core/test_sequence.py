"""The numbered events of a socket: what is kept of their answers, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app._live.replies import MAX_REPLIES, MAX_REPLY_BYTES, Reply, ReplyCache

REPLIES = st.lists(st.builds(Reply, st.booleans(), st.binary(max_size=40)), max_size=100)


def reply(number: int) -> Reply:
    return Reply(number % 3 > 0, b'{"number":%d}' % number)


def replies_to(count: int) -> ReplyCache:
    replies = ReplyCache()
    for number in range(1, count + 1):
        replies.add(reply(number))
    return replies


def test_each_answer_is_found_by_its_number() -> None:
    replies = replies_to(20)
    assert [replies.find(number) for number in range(1, 21)] == [*map(reply, range(1, 21))]


def test_what_was_never_applied_has_no_reply() -> None:
    assert ReplyCache().find(1) is None
    assert ReplyCache(7).find(7) is None
    assert [replies_to(3).find(number) for number in (0, 4, 5)] == [None] * 3


@pytest.mark.parametrize("acknowledged", [0, 1, 7, 19, 20, 21, 2**53])
def test_what_is_acknowledged_is_forgotten(acknowledged: int) -> None:
    replies = replies_to(20)
    replies.acknowledge(acknowledged)
    for number in range(1, 21):
        known = None if number <= acknowledged else reply(number)
        assert replies.find(number) == known
    replies.add(reply(21))
    assert replies.find(21) == reply(21)


def test_an_older_acknowledgement_brings_nothing_back_and_takes_nothing() -> None:
    replies = replies_to(5)
    replies.acknowledge(3)
    replies.acknowledge(1)
    assert [replies.find(number) for number in (3, 4, 5)] == [None, reply(4), reply(5)]


def test_of_too_many_answers_the_oldest_go() -> None:
    replies = replies_to(MAX_REPLIES + 2)
    assert replies.find(2) is None
    assert replies.find(3) == reply(3)


def test_of_too_large_answers_the_oldest_are_emptied() -> None:
    replies = ReplyCache()
    half, refusal = Reply(True, b"x" * (MAX_REPLY_BYTES // 2)), Reply(False, b"x" * 100)
    for each in (refusal, half, half, half):
        replies.add(each)
    emptied = [Reply(False, b"{}"), Reply(True, b"{}")]
    assert [replies.find(number) for number in (1, 2)] == emptied
    # Beside those two there is no room for the whole of two halves.
    assert [replies.find(number) for number in (3, 4)] == [Reply(True, b"{}"), half]
    replies.add(Reply(True, b"x" * (MAX_REPLY_BYTES + 1)))
    assert {replies.find(number) for number in (2, 3, 4, 5)} == {Reply(True, b"{}")}
    replies.add(half)
    assert replies.find(6) == half
    assert replies.find(1) == Reply(False, b"{}")
    assert len(replies.pack()) < MAX_REPLY_BYTES
    replies.acknowledge(6)
    assert replies.pack() == b""


def test_only_what_is_stored_is_safe() -> None:
    replies = replies_to(2)
    assert (replies.applied, replies.safe, replies.is_safe) == (2, 0, False)
    replies.safe = 2
    assert replies.is_safe
    assert ReplyCache(2).is_safe


@given(REPLIES, st.integers(0, 100))
def test_what_is_packed_comes_back(answers: list[Reply], acknowledged: int) -> None:
    replies = ReplyCache()
    for each in answers:
        replies.add(each)
    replies.acknowledge(acknowledged)
    again = ReplyCache(replies.applied, replies.pack())
    for number in range(1, len(answers) + 1):
        assert again.find(number) == replies.find(number)
    assert again.pack() == replies.pack()


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20])
def test_answers_that_are_cut_short_are_all_forgotten(cut: int) -> None:
    packed = replies_to(3).pack()
    found = ReplyCache(3, packed[:-cut])
    assert [found.find(number) for number in (1, 2, 3)] == [None] * 3
