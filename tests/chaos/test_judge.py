"""Whatever differs between two runs is seen and said."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app.chaos.client import Reply
from recovery_app.chaos.judge import Judge, Result

COUNTED = Judge(applied="applied")


def ok(**response: Any) -> Reply:
    return Reply(status="ok", response=response)


def result(*applied: int, replies: int = 3, **more: Any) -> Result:
    """Give a result whose state says what was applied."""
    told = [ok(n=number) for number in range(replies)]
    return Result(replies=told, state={"applied": list(applied)}, **more)


GOOD = result(1, 2, 3)


def test_nothing_differs() -> None:
    verdict = COUNTED.compare([GOOD, GOOD], [GOOD, result(1, 2, 3, repeats=4)])
    assert verdict.is_good
    assert verdict.repeats == 4
    assert str(verdict) == "0 lost, 0 applied twice"


@pytest.mark.parametrize(
    ("applied", "lost", "twice"),
    [((1, 3), 1, 0), ((), 3, 0), ((1, 2, 2, 3), 0, 1), ((1, 1, 1, 3), 1, 2), ((1, 2, 3, 4), 0, 1)],
)
def test_what_is_lost_and_what_is_applied_twice_is_counted(
    applied: tuple[int, ...], lost: int, twice: int
) -> None:
    verdict = COUNTED.compare([GOOD, GOOD], [GOOD, result(*applied)])
    assert not verdict.is_good
    assert str(verdict) == f"{lost} lost, {twice} applied twice"
    assert verdict.differences[0].startswith("client 1: the state is {'applied': [")


def test_another_order_is_a_difference() -> None:
    verdict = COUNTED.compare([GOOD], [result(2, 1, 3)])
    assert not verdict.is_good
    assert str(verdict) == "0 lost, 0 applied twice, but 1 difference"


@pytest.mark.parametrize("judge", [COUNTED, Judge()])
def test_an_event_without_a_reply_is_lost(judge: Judge) -> None:
    found = Result(replies=[ok(n=0), None, ok(n=2)], state=GOOD.state)
    verdict = judge.compare([GOOD], [found])
    assert verdict.lost == 1
    assert verdict.differences == ["client 0: event 1 has no reply"]


def test_without_a_list_of_what_was_applied_a_state_that_differs_is_bad() -> None:
    verdict = Judge().compare([GOOD], [result(1, 2)])
    assert not verdict.is_good
    assert str(verdict) == "0 lost, 0 applied twice, but 1 difference"


@pytest.mark.parametrize("reply", [ok(n=9), Reply(status="error", response={"n": 1})])
def test_another_reply_is_a_difference(reply: Reply) -> None:
    found = Result(replies=[ok(n=0), reply, ok(n=2)], state=GOOD.state)
    (difference,) = COUNTED.compare([GOOD], [found]).differences
    assert difference.startswith("client 0: event 1's reply is (")


def test_a_reply_that_is_known_no_more_is_counted_and_not_compared() -> None:
    forgotten = Reply(status="ok", response={}, is_forgotten=True)
    found = Result(replies=[ok(n=0), forgotten, ok(n=2)], state=GOOD.state)
    verdict = COUNTED.compare([GOOD], [found])
    assert verdict.is_good
    assert verdict.forgotten == 1


def test_what_the_client_has_to_say_is_a_difference() -> None:
    verdict = COUNTED.compare([GOOD], [result(1, 2, 3, problems=["a join's outcome was new"])])
    assert verdict.differences == ["client 0: a join's outcome was new"]


def test_a_run_that_went_wrong_without_faults_is_no_measure() -> None:
    broken = Result(replies=[None, ok(n=1), ok(n=2)], state=GOOD.state, problems=["stuck"])
    verdict = COUNTED.compare([broken], [GOOD])
    assert verdict.differences == [
        "client 0, without faults: stuck",
        "client 0: event 0 had no reply without faults",
    ]


def test_what_differs_by_nature_is_ignored_at_any_depth() -> None:
    before, after = (
        Result(
            replies=[ok(quote={"at": number, "total": 5}, list=[{"at": number}])],
            state={"at": number, "total": 5},
        )
        for number in range(2)
    )
    assert Judge(ignored=frozenset({"at"})).compare([before], [after]).is_good
    assert len(Judge().compare([before], [after]).differences) == 2
