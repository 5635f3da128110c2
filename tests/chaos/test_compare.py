"""The comparison of two runs."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app.chaos.client import EventReply
from recovery_app.chaos.compare import ClientResult, Comparer

COUNTED = Comparer(applied="applied")


def ok(**response: Any) -> EventReply:
    return EventReply(status="ok", response=response)


def result(*applied: int, replies: int = 3, **more: Any) -> ClientResult:
    """Return a result whose state lists the applied events."""
    answers = [ok(n=number) for number in range(replies)]
    return ClientResult(replies=answers, state={"applied": list(applied)}, **more)


GOOD = result(1, 2, 3)


def test_nothing_differs() -> None:
    comparison = COUNTED.compare([GOOD, GOOD], [GOOD, result(1, 2, 3, repeats=4)])
    assert comparison.is_equal
    assert comparison.repeats == 4
    assert str(comparison) == "0 lost, 0 applied twice"


@pytest.mark.parametrize(
    ("applied", "lost", "twice"),
    [((1, 3), 1, 0), ((), 3, 0), ((1, 2, 2, 3), 0, 1), ((1, 1, 1, 3), 1, 2), ((1, 2, 3, 4), 0, 1)],
)
def test_lost_and_repeated_events_are_counted(
    applied: tuple[int, ...], lost: int, twice: int
) -> None:
    comparison = COUNTED.compare([GOOD, GOOD], [GOOD, result(*applied)])
    assert not comparison.is_equal
    assert str(comparison) == f"{lost} lost, {twice} applied twice"
    assert comparison.differences[0].startswith("client 1: the state is {'applied': [")


def test_another_order_is_a_difference() -> None:
    comparison = COUNTED.compare([GOOD], [result(2, 1, 3)])
    assert not comparison.is_equal
    assert str(comparison) == "0 lost, 0 applied twice, but 1 difference"


@pytest.mark.parametrize("comparer", [COUNTED, Comparer()])
def test_an_event_without_a_reply_is_lost(comparer: Comparer) -> None:
    actual = ClientResult(replies=[ok(n=0), None, ok(n=2)], state=GOOD.state)
    comparison = comparer.compare([GOOD], [actual])
    assert comparison.lost == 1
    assert comparison.differences == ["client 0: event 1 has no reply"]


def test_another_state_is_a_difference_without_a_list_of_applied_events() -> None:
    comparison = Comparer().compare([GOOD], [result(1, 2)])
    assert not comparison.is_equal
    assert str(comparison) == "0 lost, 0 applied twice, but 1 difference"


@pytest.mark.parametrize("reply", [ok(n=9), EventReply(status="error", response={"n": 1})])
def test_another_reply_is_a_difference(reply: EventReply) -> None:
    actual = ClientResult(replies=[ok(n=0), reply, ok(n=2)], state=GOOD.state)
    (difference,) = COUNTED.compare([GOOD], [actual]).differences
    assert difference.startswith("client 0: event 1's reply is (")


def test_a_forgotten_reply_is_counted_and_not_compared() -> None:
    forgotten = EventReply(status="ok", response={}, is_forgotten=True)
    actual = ClientResult(replies=[ok(n=0), forgotten, ok(n=2)], state=GOOD.state)
    comparison = COUNTED.compare([GOOD], [actual])
    assert comparison.is_equal
    assert comparison.forgotten == 1


def test_a_problem_of_the_client_is_a_difference() -> None:
    comparison = COUNTED.compare(
        [GOOD], [result(1, 2, 3, problems=["the outcome of a join was new"])]
    )
    assert comparison.differences == ["client 0: the outcome of a join was new"]


def test_a_problem_without_faults_is_a_difference() -> None:
    broken = ClientResult(
        replies=[None, ok(n=1), ok(n=2)], state=GOOD.state, problems=["no progress"]
    )
    comparison = COUNTED.compare([broken], [GOOD])
    assert comparison.differences == [
        "client 0, without faults: no progress",
        "client 0: event 0 had no reply without faults",
    ]


def test_keys_are_ignored_at_any_depth() -> None:
    before, after = (
        ClientResult(
            replies=[ok(quote={"at": number, "total": 5}, list=[{"at": number}])],
            state={"at": number, "total": 5},
        )
        for number in range(2)
    )
    assert Comparer(ignored=frozenset({"at"})).compare([before], [after]).is_equal
    assert len(Comparer().compare([before], [after]).differences) == 2
