"""The one tab: what was pushed in it, what it was told, and whether both fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.model.sent import Sent
from tests.model.wire import Wire

RECOVERED, COPIED = "recovered", "copied"
UNDECIDED = ("version", "failed", "unavailable")
"""Outcomes after which the state may still come back."""
RETRIED = ("version", "unavailable")
"""Those after which a page that has shown a token waits for it, for a while."""


@dataclass(eq=False)
class Tab:
    """One tab: the page in it, and what that was told of the events pushed."""

    number: int
    page: int
    pushed: list[int] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    settled: dict[int, dict[str, Any]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Those of a state that is lost."""
    promised: set[int] = field(default_factory=set)
    """Those that were pushed by the page that is in the tab now."""
    wire: Wire | None = None
    """That by which it joined last."""
    outcomes: list[str] = field(default_factory=list)
    doubtful: set[int] = field(default_factory=set)
    """Those that were told as lost with a copy: another tab may have applied them all the same."""
    is_unsaved: bool = False
    """Whether it works on a state that was never saved, as the storage was away at the join."""
    sent: Sent | None = None
    """What the server sends in this world, if it does."""
    is_judged: bool = True
    """False once it went on without its state: the older one may come back instead."""

    @property
    def is_joined(self) -> bool:
        return self.wire is not None and self.wire.is_held and not self.wire.is_cut

    @property
    def unsettled(self) -> list[int]:
        over = self.settled.keys() | self.lost
        return [number for number in self.pushed if number not in over]

    @property
    def expected(self) -> list[int]:
        """Return the state that all of this makes."""
        without = self.lost | self.gone | self.failing
        return [number for number in self.pushed if number not in without]

    def reload(self, page: int) -> None:
        """Have another page in it, which knows no promise and no connection."""
        self.page = page
        self.wire = None
        self.promised.clear()

    def copy_of(self, other: Tab, kept: set[int]) -> None:
        """Begin with what the other tab was told, and the events in its storage."""
        unknown = set(other.unsettled) - kept
        self.pushed = [number for number in other.pushed if number not in unknown]
        self.failing = set(other.failing)
        self.settled = dict(other.settled)
        self.lost, self.gone = set(other.lost), set(other.gone)
        self.doubtful = set(other.doubtful)
        self.sent = other.sent and other.sent.copy()
        self.is_unsaved, self.is_judged = other.is_unsaved, other.is_judged

    # What a page is told.

    def hear_outcome(
        self, detail: dict[str, Any], wire: Wire, may_lose: Callable[[str], bool]
    ) -> None:
        """Take a join's outcome."""
        outcome = detail["outcome"]
        if outcome in RETRIED and self.outcomes[-1:] not in ([each] for each in RETRIED):
            assert detail["isWaiting"] == wire.shows_token, f"It went on at once: {detail}."
        self.outcomes.append(outcome)
        if detail["isWaiting"]:
            assert outcome in UNDECIDED
            return
        self.wire = wire
        if self.sent:
            self.sent.hear_outcome(detail["response"])
        events = detail["response"]["events"]
        if outcome in (RECOVERED, COPIED):
            assert outcome == RECOVERED or may_lose(outcome), "A copy where nobody is ahead."
            self.check_told(events)
            self.is_unsaved = False
            return
        assert events == []
        if outcome in UNDECIDED:
            self.is_unsaved = True
            self.is_judged &= not wire.shows_token
            self.gone |= self.settled.keys()
            return
        is_first = outcome == "new" and not self.gone and not self.settled
        assert is_first or self.is_unsaved or may_lose(outcome), f"The state was lost: {outcome}."
        self.is_unsaved = False
        self.gone |= self.settled.keys()

    def hear_lost(self, detail: dict[str, Any], may_lose: Callable[[str], bool]) -> None:
        """Take note of events that are told as lost."""
        reason = detail["reason"]
        assert reason in UNDECIDED or self.is_unsaved or may_lose(reason), detail
        for event in detail["events"]:
            number = event["payload"]["id"]
            assert number in self.pushed
            assert number not in self.lost, f"{number} is told as lost once more."
            self.lost.add(number)
            if reason == COPIED:
                self.doubtful.add(number)

    def hear_reply(
        self, number: int, detail: dict[str, Any], *, is_promised: bool, may_be_copied: bool
    ) -> None:
        """Take the reply to an event: for its promise or, after a reload, for the page.

        Of an event that a copy is known to contain, only the status is told.
        """
        assert is_promised == (number in self.promised), f"{number} was told in the wrong way."
        assert number not in self.settled, f"{number} is settled once more."
        assert number not in self.lost, f"{number} was lost, and is settled."
        self.settled[number] = detail
        response = detail["response"]
        if number in self.failing:
            assert detail["status"] == "error", detail
            assert response == {"reason": "event crashed"} or (may_be_copied and not response)
            return
        assert detail["status"] == "ok", detail
        if (is_promised and not may_be_copied) or response:
            assert response.get("id") == number, f"{number} has the reply {response}."

    # Whether it fits together.

    def check_told(self, events: list[int]) -> None:
        """See that nothing was applied twice, nor out of order, in a state that is told."""
        assert len(set(events)) == len(events), f"Applied twice: {events}."
        own = [number for number in self.pushed if number in events]
        assert [number for number in events if number in own] == own, f"Out of order: {events}."
        assert not self.failing.intersection(events), f"Failed and applied: {events}."

    def check_state(self, events: list[int]) -> None:
        """See that a state is what all of the pushed events make, and each is where it was told."""
        self.check_told(events)
        if not self.is_judged:
            return
        own = [each for each in events if each in self.pushed and each not in self.doubtful]
        assert own == self.expected, f"{own} is there, and not {self.expected}."
        for number in own:
            place = self.settled[number]["response"].get("place", events.index(number) + 1)
            assert events[place - 1] == number, f"{number} was told to be at {place}: {events}."
