"""The end of a log that is at hand: it has what a page lacks, or says that it doesn't."""

from __future__ import annotations

import pytest

from recovery_app._live import group_reader
from recovery_app._live.group_reader import _Tail
from recovery_app.storages.messages import Messages


def items_of(first: int, last: int) -> list[tuple[str, bytes]]:
    return [(str(number), b"%d" % number) for number in range(first, last + 1)]


def test_what_is_behind_a_place_is_found_in_order() -> None:
    tail = _Tail()
    tail.begin("0")
    assert tail.find("0", 5) == Messages([])
    tail.add(items_of(1, 20))
    for after in range(21):
        for limit in (1, 5, 20, 30):
            last = min(after + limit, 20)
            assert tail.find(str(after), limit) == Messages(items_of(after + 1, last))
    assert tail.find("elsewhere", 5) is None


def test_only_so_much_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_reader, "RECENT", 10)
    tail = _Tail()
    tail.begin("0")
    tail.add(items_of(1, 25))
    assert [tail.find(str(after), 20) is None for after in (0, 14, 15, 25)] == [
        True,
        True,
        False,
        False,
    ]
    assert tail.find("15", 20) == Messages(items_of(16, 25))
    tail.begin("40")
    assert (tail.find("25", 1), tail.find("40", 1)) == (None, Messages([]))


def test_large_messages_are_not_kept_by_the_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_reader, "RECENT_BYTES", 10)
    tail = _Tail()
    tail.begin("0")
    tail.add([("1", b"12345"), ("2", b"12345"), ("3", b"123")])
    assert tail.find("0", 5) is None
    assert tail.find("1", 5) == Messages([("2", b"12345"), ("3", b"123")])
    tail.add([("4", b"longer than all that")])
    assert (tail.find("3", 5), tail.find("4", 5)) == (None, Messages([]))
    tail.begin("9")
    tail.add([("10", b"1234567890")])
    assert tail.find("9", 5) == Messages([("10", b"1234567890")])
