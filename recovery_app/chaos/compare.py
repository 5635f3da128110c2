"""The comparison of a run with faults with the same run without faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from recovery_app.chaos.client import EventReply

MAX_CHARACTERS = 200
"""Of a value, in the text of a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientResult:
    """The replies that a client got, by the number of the event, and its state at the end."""

    replies: Sequence[EventReply | None]
    state: dict[str, Any]
    problems: Sequence[str] = ()
    repeats: int = 0
    pushes: int = 0
    missed: int = 0
    """How often the client was told that pushes are gone."""


Results: TypeAlias = Sequence[ClientResult]


@dataclass(slots=True, kw_only=True)
class Comparison:
    """The differences between two runs.

    An event is lost if it has no reply, or isn't listed as applied in the state.
    """

    lost: int = 0
    applied_twice: int = 0
    repeats: int = 0
    forgotten: int = 0
    pushes: int = 0
    missed: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Return whether there are no differences."""
        return not (self.lost or self.applied_twice or self.differences)

    def __str__(self) -> str:
        text = f"{self.lost} lost, {self.applied_twice} applied twice"
        if not self.differences or self.lost or self.applied_twice:
            return text
        count = len(self.differences)
        return f"{text}, but {count} difference{'' if count == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """The rules of a comparison.

    ``ignored`` are keys whose values always differ, such as times. ``applied`` is the key of the
    state that lists the applied events, if there is one.
    """

    ignored: frozenset[str] = frozenset()
    applied: str | None = None

    def compare(self, before: Results, after: Results) -> Comparison:
        """Return the differences between the results without and with faults."""
        comparison = Comparison()
        for number, (expected, actual) in enumerate(zip(before, after, strict=True)):
            self._count(comparison, expected, actual)
            differences = [*actual.problems, *self._differences(expected, actual)]
            comparison.differences += [
                *(f"client {number}, without faults: {each}" for each in expected.problems),
                *(f"client {number}: {each}" for each in differences),
            ]
        return comparison

    def _count(self, comparison: Comparison, before: ClientResult, after: ClientResult) -> None:
        comparison.repeats += after.repeats
        comparison.pushes += after.pushes
        comparison.missed += after.missed
        comparison.forgotten += sum(bool(reply and reply.is_forgotten) for reply in after.replies)
        unanswered = after.replies.count(None)
        if self.applied is None:
            comparison.lost += unanswered
            return
        expected = Counter(map(str, before.state[self.applied]))
        actual = Counter(map(str, after.state[self.applied]))
        comparison.lost += max(unanswered, (expected - actual).total())
        comparison.applied_twice += (actual - expected).total()

    def _differences(self, before: ClientResult, after: ClientResult) -> Iterator[str]:
        replies = zip(before.replies, after.replies, strict=True)
        for number, (expected, actual) in enumerate(replies):
            if actual is None:
                yield f"event {number} has no reply"
            elif expected is None:
                yield f"event {number} had no reply without faults"
            elif not actual.is_forgotten:
                pair = ((each.status, each.response) for each in (expected, actual))
                yield from self._difference(f"event {number}'s reply", *pair)
        yield from self._difference("the state", before.state, after.state)

    def _difference(self, what: str, expected: Any, actual: Any) -> Iterator[str]:
        expected, actual = self._without_ignored(expected), self._without_ignored(actual)
        if expected != actual:
            shown, shown_before = str(actual)[:MAX_CHARACTERS], str(expected)[:MAX_CHARACTERS]
            yield f"{what} is {shown}, but without faults {shown_before}"

    def _without_ignored(self, value: Any) -> Any:
        if isinstance(value, dict):
            kept = [key for key in value if key not in self.ignored]
            return {key: self._without_ignored(value[key]) for key in kept}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._without_ignored, value))
        return value
