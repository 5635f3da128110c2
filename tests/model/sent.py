"""What the server sends to one tab: messages of a group to its state, and pushes to its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.model.storage import Cellar

State = dict[str, Any]


@dataclass(eq=False)
class Sent:
    """The pushes that the pages in a tab were told, and what must be true of its state."""

    cellar: Cellar
    heard: dict[int, int] = field(default_factory=dict)
    """The last push that it was told, by the life of the state that pushed it."""
    may_miss: bool = False
    """Whether it was told that some are gone, and has had no push since."""
    life: int = 0
    """That of the state which the page works on."""

    def copy(self) -> Sent:
        """Return the same for a tab that begins with this one's storage."""
        return Sent(self.cellar, dict(self.heard), self.may_miss)

    # What a page is told.

    def hear_outcome(self, state: State) -> None:
        """Take the state of a join."""
        self.check_messages(state)
        self.life = state["life"]

    def hear_missed(self, is_possible: bool) -> None:
        """Note that pushes are gone."""
        assert is_possible, "It was told that pushes are gone, and none can be."
        self.may_miss = True

    def hear_push(self, push: dict[str, Any]) -> None:
        """See that it is the next one, or that it was told of those that are gone."""
        assert push.keys() == {"n", "life"}, push
        assert push["life"] == self.life, f"{push} is of a state that the page has left alone."
        last = self.heard.get(push["life"], 0)
        assert push["n"] > last, f"{push} was told after {last}."
        assert push["n"] == last + 1 or self.may_miss, f"{push} was told after {last}."
        self.heard[push["life"]] = push["n"]
        self.may_miss = False

    # Whether it fits together.

    def check_messages(self, state: State) -> None:
        """See that a state has messages of the log once and in order, and none left out."""
        first, *others = _split(state["messages"])
        is_told_once = len(others) == 1 and state["unknown"]
        is_possible = not others or is_told_once or self.cellar.is_trimmed
        assert is_possible, "It was told that messages are gone."
        assert not (first and state["unknown"]), f"It has messages from an unknown place: {state}."
        earliest, latest = state["since"]
        assert self._follows(first, earliest, latest), f"{state}: {self.cellar.log}"
        for part in others:
            assert self._follows(part, 0, len(self.cellar.log)), f"{state}: {self.cellar.log}"

    def check_end(self, state: State) -> None:
        """See that a state has all messages, and the page all pushes."""
        self.check_messages(state)
        assert self.has_all_messages(state), f"{state} lacks some of {self.cellar.log}."
        last = self.heard.get(state["life"], 0)
        assert last <= state["told"], f"It was told push {last} of {state['told']}."
        assert last == state["told"] or self.may_miss, f"The last push was {last}: {state}."

    def has_all_messages(self, state: State) -> bool:
        """Return whether a state has the messages up to the end of the log."""
        *before, last = _split(state["messages"])
        if before:
            return last == self.cellar.log[len(self.cellar.log) - len(last) :]
        if state["unknown"]:
            return False
        earliest, latest = state["since"]
        return any(last == self.cellar.log[since:] for since in range(earliest, latest + 1))

    def _follows(self, messages: Sequence[int], earliest: int, latest: int) -> bool:
        log = self.cellar.log
        places = range(earliest, latest + 1)
        return any(messages == log[place : place + len(messages)] for place in places)


def _split(messages: Sequence[int | None]) -> list[list[int]]:
    """Return the messages between those places where some are gone."""
    parts: list[list[int]] = [[]]
    for each in messages:
        if each is None:
            parts.append([])
        else:
            parts[-1].append(each)
    return parts
