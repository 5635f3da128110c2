"""Own the verdict: what differs between a run with faults and the same without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from recovery_app.chaos.client import Reply

SHOWN = 200
"""How many characters of a value a difference shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one client: its replies by number, and the state that it has at the end."""

    replies: Sequence[Reply | None]
    state: dict[str, Any]
    problems: Sequence[str] = ()
    repeats: int = 0


@dataclass(slots=True, kw_only=True)
class Verdict:
    """How the clients of two runs compare. ``differences`` are in words, empty if all is well.

    An event is lost that has no reply, or isn't in what the state says was applied.
    """

    lost: int = 0
    applied_twice: int = 0
    repeats: int = 0
    forgotten: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Say whether nothing at all differs."""
        return not (self.lost or self.applied_twice or self.differences)

    def __str__(self) -> str:
        verdict = f"{self.lost} lost, {self.applied_twice} applied twice"
        if not self.differences or self.lost or self.applied_twice:
            return verdict
        count = len(self.differences)
        return f"{verdict}, but {count} difference{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """How to compare. ``ignored`` are keys that differ by nature, such as times.

    ``applied`` is the key of the state that lists what was applied, where there is one.
    """

    ignored: frozenset[str] = frozenset()
    applied: str | None = None

    def compare(self, expected: Sequence[Result], found: Sequence[Result]) -> Verdict:
        """Give the verdict over all clients."""
        verdict = Verdict()
        for number, (before, after) in enumerate(zip(expected, found, strict=True)):
            verdict.repeats += after.repeats
            self._count(verdict, before, after)
            differences = [*after.problems, *self._differences(before, after)]
            verdict.differences += [
                f"client {number}, without faults: {each}" for each in before.problems
            ]
            verdict.differences += [f"client {number}: {each}" for each in differences]
            verdict.forgotten += sum(bool(reply and reply.is_forgotten) for reply in after.replies)
        return verdict

    def _count(self, verdict: Verdict, before: Result, after: Result) -> None:
        unanswered = sum(reply is None for reply in after.replies)
        if self.applied is None:
            verdict.lost += unanswered
            return
        wanted, there = (Counter(map(str, each.state[self.applied])) for each in (before, after))
        verdict.lost += max(unanswered, (wanted - there).total())
        verdict.applied_twice += (there - wanted).total()

    def _differences(self, before: Result, after: Result) -> Iterator[str]:
        for number, (wanted, got) in enumerate(zip(before.replies, after.replies, strict=True)):
            if got is None:
                yield f"event {number} has no reply"
            elif wanted is None:
                yield f"event {number} had no reply without faults"
            elif not got.is_forgotten and self._told(wanted) != self._told(got):
                yield _differ(f"event {number}'s reply", self._told(wanted), self._told(got))
        wanted_state, state = (
            self._without_ignored(before.state),
            self._without_ignored(after.state),
        )
        if wanted_state != state:
            yield _differ("the state", wanted_state, state)

    def _told(self, reply: Reply) -> tuple[str, Any]:
        return reply.status, self._without_ignored(reply.response)

    def _without_ignored(self, value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: each for key, each in value.items() if key not in self.ignored}
            return {key: self._without_ignored(each) for key, each in kept.items()}
        return [self._without_ignored(each) for each in value] if isinstance(value, list) else value


def _differ(what: str, wanted: object, got: object) -> str:
    return f"{what} is {str(got)[:SHOWN]}, and without faults {str(wanted)[:SHOWN]}"
