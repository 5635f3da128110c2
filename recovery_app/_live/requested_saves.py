"""Saves that the application requests by ``save_recovery()``."""

from __future__ import annotations

from recovery_app._live.interfaces import Work
from recovery_app._live.mailbox import Mailbox


class RequestedSaves:
    """Makes a requested save when the state is consistent.

    Half of an event must never be stored, because it would be applied again on top of that. So
    during an event, the requested save is made by the event's own, in one step with its number.
    """

    __slots__ = ("_is_due", "_mailbox", "_save", "is_in_event", "is_in_handler")

    def __init__(self, mailbox: Mailbox, save: Work) -> None:
        self.is_in_event = False
        """Whether a handler of the client's event is running."""
        self.is_in_handler = False
        """Whether another handler is running, in the topic's turn."""
        self._is_due = False
        self._mailbox = mailbox
        self._save = save

    async def request(self) -> None:
        """Save now; during an event, when its handler is done."""
        if self.is_in_event:
            self._is_due = True
        elif self.is_in_handler:
            await self._save()
        else:
            # From a task of the application's own.
            await self._mailbox.perform(self._save)

    def take_due(self) -> bool:
        """Return whether a save was left to the event's own, and reset that."""
        is_due, self._is_due = self._is_due, False
        return is_due

    def release(self) -> None:
        """Drop the reference to the topic."""
        del self._save
