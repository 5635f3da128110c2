"""The application's handlers, run in the turn of one topic: each changes the state or fails."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from recovery_app._core.state_codec import trimmed
from recovery_app._core.telemetry import log_failure
from recovery_app._live.interfaces import Application
from recovery_app._live.join import Join, Joined
from recovery_app._live.limits import RepeatBudget
from recovery_app._live.numbering import Numbers, with_numbers
from recovery_app._live.protocol import Message, to_json
from recovery_app._live.pushes import PushLog
from recovery_app._live.replies import Reply
from recovery_app._live.requested_saves import RequestedSaves
from recovery_app._live.session import Session
from recovery_app._live.timers import Timers
from recovery_app.exceptions import SnapshotError
from recovery_app.signals import observers


class Handlers:
    """Runs the handlers of a topic, and saves what they make of the state.

    After an error the application goes back to the last consistent state, and what the handler
    wanted to push is dropped.
    """

    __slots__ = ("_application", "_repeats", "_saves", "_timers", "_topic", "pushes")

    def __init__(
        self,
        application: Application,
        saves: RequestedSaves,
        timers: Timers,
        *,
        repeats: RepeatBudget,
        topic: str,
    ) -> None:
        self.pushes: PushLog | None = None
        """The pushes of a client that has them numbered."""
        self._application = application
        self._saves = saves
        self._timers = timers
        self._repeats = repeats
        self._topic = topic

    def join(self, join: Join) -> Awaitable[Joined]:
        """Carry out a join, which calls hooks."""
        self.pushes = join.pushes
        return join.carry_out() if join.pushes is None else self._join_and_push(join)

    async def _join_and_push(self, join: Join) -> Joined:
        self._begin()
        try:
            return await join.carry_out()
        finally:
            self._end()

    async def apply_once(self, session: Session, message: Message, numbers: Numbers) -> Reply:
        """Apply an event unless it was, or another is due; its number is stored with the state."""
        replies = session.replies
        replies.acknowledge(numbers.ack)
        if numbers.seq > replies.applied + 1:
            gap = refusal(reason="seq_gap", seq=replies.applied)
            return with_numbers(gap, safe=replies.safe)
        is_repeat = numbers.seq <= replies.applied
        if is_repeat and replies.is_taken(numbers.seq, numbers.line):
            taken = refusal(reason="seq_taken", seq=replies.applied)
            return with_numbers(taken, safe=replies.safe)
        if is_repeat:
            observers.event_repeated()
            found = replies.find(numbers.seq)
            reply = self._repeats.repeat(found, sent_bytes=message.size_bytes)
        else:
            reply = await self.apply(session, message)
            replies.add(reply, numbers.line)
        if not self.gathers_save():
            await session.save()
        return with_numbers(reply, safe=replies.safe, is_repeat=is_repeat)

    async def apply(self, session: Session, message: Message) -> Reply:
        """Handle an event; after an error go back to the last consistent state."""
        self._saves.is_in_event = True
        self._begin()
        try:
            response, state = await self._application.handle_event(message.event, message.payload)
            if not isinstance(response, (Mapping, type(None))):
                raise TypeError(
                    f"handle_event returned {type(response).__name__}, not a dict or None."
                )
            reply = Reply(is_ok=True, response=trimmed(to_json(response or {})))
            self._commit(session, state)
        except Exception as error:
            await self._roll_back(session, error, message.event)
            if isinstance(error, SnapshotError):
                return refusal(reason=error.reason)
            return refusal(reason="event crashed")
        finally:
            self._saves.is_in_event = False
            self._end()
        return reply

    async def change(self, session: Session, handled: Awaitable[bytes], *, handling: str) -> None:
        """Save what another handler makes of the state."""
        self._saves.is_in_handler = True
        self._begin()
        try:
            self._commit(session, await handled)
        except Exception as error:
            await self._roll_back(session, error, handling)
        finally:
            self._saves.is_in_handler = False
            self._end()
        if not self.gathers_save():
            await session.save()

    def gathers_save(self) -> bool:
        """Leave the save to a later flush, where saves are gathered; return whether they are."""
        if self._saves.take_due() or not self._application.save_interval:
            return False
        self._timers.gather_save(self._application.save_interval)
        return True

    def release(self) -> None:
        """Let go of the application, whose code may hold on to the topic."""
        self.pushes = None
        del self._application

    def _begin(self) -> None:
        if self.pushes is not None:
            self.pushes.begin()

    def _commit(self, session: Session, state: bytes) -> None:
        session.last_state = state
        if self.pushes is not None:
            self.pushes.commit()

    def _end(self) -> None:
        if self.pushes is not None:
            self.pushes.end()

    async def _roll_back(self, session: Session, error: Exception, handling: str) -> None:
        if self.pushes is not None:
            self.pushes.discard()
        log_failure(
            "A handler failed.",
            error,
            self._application.source,
            extra={"event": "handler_failed", "topic": self._topic, "handling": handling},
        )
        await self._application.roll_back(session.last_state)


def refusal(**facts: str | int) -> Reply:
    """Return an error as the reply to an event."""
    return Reply(is_ok=False, response=to_json(facts))
