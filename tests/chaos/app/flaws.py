"""Bugs of a server that the kit must find; ``CHAOS_FLAW`` is the name of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recovery_app._live import numbering
from recovery_app._live.session import Session
from recovery_app._live.topic import Topic

SAVE_EVERY = 8


def _apply_repeats() -> None:
    """Apply an event again when it is sent again."""
    apply_once = Topic._apply_once

    async def apply_always(self: Topic, session: Session, frame: Any, numbers: Any) -> Any:
        if numbers.seq > session.sequence.applied:
            return await apply_once(self, session, frame, numbers)
        answer = await self._apply(session, frame)
        await self._keep(session)
        return numbering.told(answer, safe=session.sequence.safe)

    Topic._apply_once = apply_always  # type: ignore[method-assign]


def _save_later() -> None:
    """Claim that each event is saved, but save only some."""
    save_good = Session.save_good

    async def save_some(self: Session) -> None:
        if self.sequence.applied % SAVE_EVERY == 0:
            await save_good(self)
        self.sequence.safe = self.sequence.applied

    Session.save_good = save_some  # type: ignore[method-assign]


FLAWS: dict[str, Callable[[], None]] = {
    "applies_repeats": _apply_repeats,
    "saves_later": _save_later,
}


def apply(name: str | None) -> None:
    """Apply the flaw with this name, if any."""
    if name:
        FLAWS[name]()
