"""The numbered events of a socket: what is kept of their answers, and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app._live.replies import MAX_REPLIES, MAX_REPLY_BYTES, Answer, ReplyCache

ANSWERS = st.lists(st.builds(Answer, st.booleans(), st.binary(max_size=40)), max_size=100)


def answer(number: int) -> Answer:
    return Answer(number % 3 > 0, b'{"number":%d}' % number)


def sequence_of(count: int) -> ReplyCache:
    sequence = ReplyCache()
    for number in range(1, count + 1):
        sequence.answered(answer(number))
    return sequence


def test_each_answer_is_found_by_its_number() -> None:
    sequence = sequence_of(20)
    assert [sequence.find(number) for number in range(1, 21)] == [*map(answer, range(1, 21))]


def test_what_was_never_applied_has_no_answer() -> None:
    assert ReplyCache().find(1) is None
    assert ReplyCache(7).find(7) is None
    assert [sequence_of(3).find(number) for number in (0, 4, 5)] == [None] * 3


@pytest.mark.parametrize("acknowledged", [0, 1, 7, 19, 20, 21, 2**53])
def test_what_is_acknowledged_is_forgotten(acknowledged: int) -> None:
    sequence = sequence_of(20)
    sequence.acknowledge(acknowledged)
    for number in range(1, 21):
        known = None if number <= acknowledged else answer(number)
        assert sequence.find(number) == known
    sequence.answered(answer(21))
    assert sequence.find(21) == answer(21)


def test_an_older_acknowledgement_brings_nothing_back_and_takes_nothing() -> None:
    sequence = sequence_of(5)
    sequence.acknowledge(3)
    sequence.acknowledge(1)
    assert [sequence.find(number) for number in (3, 4, 5)] == [None, answer(4), answer(5)]


def test_of_too_many_answers_the_oldest_go() -> None:
    sequence = sequence_of(MAX_REPLIES + 2)
    assert sequence.find(2) is None
    assert sequence.find(3) == answer(3)


def test_of_too_large_answers_the_oldest_are_emptied() -> None:
    sequence = ReplyCache()
    half, refusal = Answer(True, b"x" * (MAX_REPLY_BYTES // 2)), Answer(False, b"x" * 100)
    for each in (refusal, half, half, half):
        sequence.answered(each)
    emptied = [Answer(False, b"{}"), Answer(True, b"{}")]
    assert [sequence.find(number) for number in (1, 2)] == emptied
    # Beside those two there is no room for the whole of two halves.
    assert [sequence.find(number) for number in (3, 4)] == [Answer(True, b"{}"), half]
    sequence.answered(Answer(True, b"x" * (MAX_REPLY_BYTES + 1)))
    assert {sequence.find(number) for number in (2, 3, 4, 5)} == {Answer(True, b"{}")}
    sequence.answered(half)
    assert sequence.find(6) == half
    assert sequence.find(1) == Answer(False, b"{}")
    assert len(sequence.pack()) < MAX_REPLY_BYTES
    sequence.acknowledge(6)
    assert sequence.pack() == b""


def test_only_what_is_stored_is_safe() -> None:
    sequence = sequence_of(2)
    assert (sequence.applied, sequence.safe, sequence.is_safe) == (2, 0, False)
    sequence.safe = 2
    assert sequence.is_safe
    assert ReplyCache(2).is_safe


@given(ANSWERS, st.integers(0, 100))
def test_what_is_packed_comes_back(answers: list[Answer], acknowledged: int) -> None:
    sequence = ReplyCache()
    for each in answers:
        sequence.answered(each)
    sequence.acknowledge(acknowledged)
    again = ReplyCache(sequence.applied, sequence.pack())
    for number in range(1, len(answers) + 1):
        assert again.find(number) == sequence.find(number)
    assert again.pack() == sequence.pack()


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20])
def test_answers_that_are_cut_short_are_all_forgotten(cut: int) -> None:
    packed = sequence_of(3).pack()
    found = ReplyCache(3, packed[:-cut])
    assert [found.find(number) for number in (1, 2, 3)] == [None] * 3
