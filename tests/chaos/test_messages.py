"""The verdict on durable groups, by itself."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app.chaos.messages import Message, MessageVerdict, PageMessages, judge
from recovery_app.chaos.publishers import Publishing

SENT = [
    Message(id="0-1", group="a", publisher=0),
    Message(id="0-2", group="b", publisher=0),
    Message(id="0-3", group="a", publisher=0),
    Message(id="1-1", group="a", publisher=1, is_certain=False),
    Message(id="1-1-2", group="a", publisher=1),
]
ALL = "0-1 1-1-2 0-2 0-3"


def verdict(*pages: str, groups: str = "ab") -> MessageVerdict:
    """Return the verdict on pages that have handled these, with ``-`` for what they have missed."""
    handled = ([None if each == "-" else each for each in page.split()] for page in pages)
    return judge(SENT, [PageMessages(groups=list(groups), handled=each) for each in handled])


def test_each_message_once_and_in_order_is_good() -> None:
    found = verdict(ALL, "0-2 0-1 1-1-2 0-3")
    assert found.is_good
    assert str(found) == (
        "messages: 4 published, 1 uncertain, 8 handled, 0 pages told of missed ones; "
        "0 lost, 0 twice, 0 out of order"
    )


@pytest.mark.parametrize(
    ("page", "counts"),
    [
        ("0-1 1-1-2 0-3", {"lost": 1}),
        ("0-1 1-1-2 0-2 0-3 0-1 0-1", {"twice": 2}),
        # Out of order for its publisher, and for the other page.
        ("0-3 0-1 1-1-2 0-2", {"out_of_order": 2}),
        # Only the other page's order is another.
        ("1-1-2 0-1 0-2 0-3", {"out_of_order": 1}),
        (f"{ALL} 7-7", {}),
        (f"{ALL} 1-1", {"lost": 1}),
    ],
)
def test_other_pages_are_found(page: str, counts: dict[str, Any]) -> None:
    found = verdict(ALL, page)
    names = ("lost", "twice", "out_of_order")
    assert {name: getattr(found, name) for name in names if getattr(found, name)} == counts
    assert found.differences
    assert not found.is_good


def test_an_uncertain_message_may_be_there_for_all_or_for_none() -> None:
    assert verdict(f"{ALL} 1-1", f"{ALL} 1-1").is_good
    assert verdict(ALL, ALL).is_good


def test_a_page_that_was_told_has_lost_nothing() -> None:
    found = verdict(ALL, "0-1 - 0-3")
    assert (found.is_good, found.missing_pages) == (True, 1)


def test_what_a_failover_undoes_is_told_to_whoever_has_handled_it() -> None:
    for pages in ((ALL, f"{ALL} 1-1 -"), (f"{ALL} 1-1 -", ALL), (f"{ALL} 1-1 -", "- 0-1")):
        assert verdict(*pages).is_good
    # Nothing undoes what is certain, and nobody else is told.
    assert not verdict(ALL, f"{ALL} 7-7 -").is_good
    assert verdict(f"{ALL} 1-1", ALL, f"{ALL} 1-1 -").lost == 1
    assert not judge(SENT, [PageMessages(groups=["b"], handled=["0-2", "1-1", None])]).is_good


def test_a_message_of_another_group_is_strange() -> None:
    assert not judge(SENT, [PageMessages(groups=["b"], handled=["0-2", "0-1"])]).is_good


def test_each_page_is_in_two_groups() -> None:
    publishing = Publishing(
        module="m", message={}, handled="handled", groups=3, group="room:{number}"
    )
    assert publishing.params_of(2, {"a": 1, "rooms": "{groups}"}) == {
        "a": 1,
        "rooms": ["room:2", "room:0"],
    }
