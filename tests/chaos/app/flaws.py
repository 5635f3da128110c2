"""Faults of a server for the kit to find, by the name in ``CHAOS_FLAW``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recovery_app._live import numbering
from recovery_app._live.durable_state import DurableState
from recovery_app._live.groups import TopicGroups
from recovery_app._live.handlers import Handlers
from recovery_app._live.pushes import PushLog
from recovery_app._live.session import Session
from recovery_app.storages.messages import Messages

SAVE_EVERY = 8


def _apply_repeats() -> None:
    """Apply an event that comes again a second time."""
    apply_once = Handlers.apply_once

    async def forget(self: Handlers, session: Session, message: Any, numbers: Any) -> Any:
        if numbers.seq > session.replies.applied:
            return await apply_once(self, session, message, numbers)
        reply = await self.apply(session, message)
        await session.save()
        return numbering.with_numbers(reply, safe=session.replies.safe)

    Handlers.apply_once = forget  # type: ignore[method-assign]


def _save_later() -> None:
    """Return that each event is safe, and save now and then."""
    save = DurableState.save

    async def boast(self: DurableState, *, force: bool = False) -> None:
        if self.replies.applied % SAVE_EVERY == 0:
            await save(self, force=force)
        self.replies.safe = self.replies.applied

    DurableState.save = boast  # type: ignore[method-assign]


def _forget_positions() -> None:
    """Store no new places in the logs of groups."""
    pack = TopicGroups.pack

    def stale(self: TopicGroups) -> bytes:
        self._first = getattr(self, "_first", None) or pack(self)  # type: ignore[attr-defined]
        pack(self)
        return self._first  # type: ignore[attr-defined,no-any-return]

    TopicGroups.pack = stale  # type: ignore[method-assign]


def _skip_what_was_missed() -> None:
    """Begin at the end of each log again after a join."""
    read = TopicGroups.read

    async def skip(self: TopicGroups, group: str) -> Messages | None:
        if group not in self.__dict__.setdefault("_skipped", set()):
            self.__dict__["_skipped"].add(group)
            self.move(group, await self.newest(group) or "")
        return await read(self, group)

    TopicGroups.read = skip  # type: ignore[method-assign]


def _push_nothing_again() -> None:
    """Take what was pushed for what has arrived."""
    restore = PushLog.restore

    def assume(self: PushLog, stored: bytes) -> None:
        restore(self, stored)
        self._sent = self._newest

    PushLog.restore = assume  # type: ignore[method-assign]


FLAWS: dict[str, Callable[[], None]] = {
    "applies_repeats": _apply_repeats,
    "saves_later": _save_later,
    "forgets_positions": _forget_positions,
    "skips_messages": _skip_what_was_missed,
    "pushes_nothing_again": _push_nothing_again,
}


def have(name: str | None) -> None:
    """Break the server in this way, or leave it alone."""
    if name:
        FLAWS[name]()
