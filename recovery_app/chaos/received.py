"""The server's numbered pushes, as the kit's client receives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ACKNOWLEDGED_AFTER = 32


@dataclass(slots=True)
class ReceivedPushes:
    """Which pushes a client has: each once and in order, or it was told that some are gone."""

    count: int = 0
    repeats: int = 0
    missed: int = 0
    """How often the server told that some are gone."""

    _received: int = 0
    _acknowledged: int = 0
    _may_leave_out: bool = False

    @property
    def newest(self) -> int | None:
        """Return the number for a join."""
        return self._received or None

    @property
    def is_due(self) -> bool:
        """Return whether to tell the server which pushes have arrived."""
        return self._received >= self._acknowledged + ACKNOWLEDGED_AFTER

    def acknowledge(self) -> int:
        """Return what to tell the server."""
        self._acknowledged = self._received
        return self._received

    def handle_join(self, recovery: Mapping[str, Any]) -> None:
        """Go on with the pushes of the state that a join has given."""
        if recovery.get("outcome") != "recovered" and recovery.get("token"):
            self._received = self._acknowledged = 0
        self._may_leave_out = bool(recovery.get("missed"))
        self.missed += self._may_leave_out

    def receive(self, payload: Mapping[str, Any]) -> Iterator[str]:
        """Take a push; yield a problem if there is a gap that nobody told of."""
        number = payload.get("_push")
        if not isinstance(number, int):
            return
        if number <= self._received:
            self.repeats += 1
            return
        if number > self._received + 1 and not self._may_leave_out:
            yield f"push {number} came after push {self._received}"
        self._may_leave_out = False
        self._received = number
        self.count += 1
