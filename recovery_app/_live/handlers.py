"""Running the application's handlers for one topic: each changes the state or is rolled back."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from recovery_app._core.error_texts import describe_error
from recovery_app._core.state_codec import trimmed
from recovery_app._core.telemetry import log_failure, warn_throttled
from recovery_app._live.exchange import Exchange
from recovery_app._live.groups import TopicGroups, decode_message
from recovery_app._live.incidents import note
from recovery_app._live.interfaces import Application
from recovery_app._live.join import Join, Joined
from recovery_app._live.limits import RepeatBudget
from recovery_app._live.numbering import Numbers, with_numbers
from recovery_app._live.protocol import Message, to_json
from recovery_app._live.replies import Reply
from recovery_app._live.requested_saves import RequestedSaves
from recovery_app._live.session import Session
from recovery_app._live.timers import Timers
from recovery_app.exceptions import SnapshotError
from recovery_app.signals import observers


class Handlers:
    """Runs the handlers of a topic, and saves the resulting state.

    After an error, the application is rolled back to the last consistent state, and the handler's
    pushes are dropped.
    """

    __slots__ = ("_application", "_exchange", "_repeats", "_saves", "_timers", "_topic")

    def __init__(
        self,
        application: Application,
        saves: RequestedSaves,
        timers: Timers,
        *,
        exchange: Exchange,
        repeats: RepeatBudget,
        topic: str,
    ) -> None:
        self._exchange = exchange
        self._application = application
        self._saves = saves
        self._timers = timers
        self._repeats = repeats
        self._topic = topic

    def join(self, join: Join) -> Awaitable[Joined]:
        """Carry out a join, which calls hooks."""
        unnumbered = self._exchange.pushes is None
        return join.carry_out() if unnumbered else self._join_and_push(join)

    async def _join_and_push(self, join: Join) -> Joined:
        self._exchange.begin()
        try:
            return await join.carry_out()
        finally:
            self._exchange.end()

    async def apply_once(self, session: Session, message: Message, numbers: Numbers) -> Reply:
        """Apply an event unless it was applied before, or another one is due.

        Its number is stored with the state.
        """
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
        """Handle an event; after an error, roll back to the last consistent state."""
        self._saves.is_in_event = True
        self._exchange.begin()
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
            self._exchange.end()
        return reply

    async def change(self, session: Session, handled: Awaitable[bytes], *, handling: str) -> None:
        """Run another handler, and save the resulting state."""
        self._saves.is_in_handler = True
        self._exchange.begin()
        try:
            self._commit(session, await handled)
        except Exception as error:
            await self._roll_back(session, error, handling)
        finally:
            self._saves.is_in_handler = False
            self._exchange.end()
        if not self.gathers_save():
            await session.save()

    async def handle_group(self, session: Session, groups: TopicGroups, group: str) -> None:
        """Handle the next messages of a durable group, with one save at the end.

        A message whose handler fails counts as handled.
        """
        found = await groups.read(group)
        if found is None:
            return
        if not found.is_complete:
            await self._reload(session, groups, group)
        count, is_replay = 0, groups.is_replay
        place = groups.find(group)
        for position, data in found.items if found.is_complete else ():
            if groups.find(group) != place:
                # A handler has left the group, or has left it and joined it anew.
                break
            place = position
            message = session.manager.operations.messages.open(group, data)
            if message is None:
                self._warn_unreadable()
                await self._reload(session, groups, group)
                break
            handled, name = self._handling(decode_message(message)) if message else (None, "")
            await self._move(session, groups, (group, position), handled, name)
            count += bool(message)
        if count:
            observers.messages_handled(count, is_replay=is_replay)
        if (found.items or not found.is_complete) and not self.gathers_save():
            await session.save()

    async def _reload(self, session: Session, groups: TopicGroups, group: str) -> None:
        """Continue after the newest message of a group, with what ``missed_messages`` loads."""
        # Before the hook loads afresh: what is published meanwhile is handled behind it.
        newest = await groups.newest(group)
        if newest is None:
            return
        observers.messages_missed()
        missed = self._application.missed_messages(group)
        await self._move(session, groups, (group, newest), missed, "missed_messages")

    def _handling(self, message: dict[str, Any] | None) -> tuple[Awaitable[bytes] | None, str]:
        """Return the handler of a message, if there is one, and its name."""
        name = None if message is None else self._application.find_handler(message)
        if message is None or name is None:
            self.warn_unhandled(message or {})
            return None, ""
        return self._application.handle_message(name, message), name

    async def _move(
        self,
        session: Session,
        groups: TopicGroups,
        place: tuple[str, str],
        handled: Awaitable[bytes] | None,
        handling: str,
    ) -> None:
        """Advance to a position in a group with the state that a handler returns."""
        # Half of a message must never be stored: a save that it asks for is left to the end.
        self._saves.is_in_event = True
        self._exchange.begin()
        groups.move(*place)
        try:
            if handled is not None:
                session.last_state = await handled
        except Exception as error:
            await self._roll_back(session, error, handling)
            groups.move(*place)
        finally:
            self._saves.is_in_event = False
            self._exchange.commit()
            self._exchange.end()

    def warn_unhandled(self, message: dict[str, Any]) -> None:
        """Log that a message has no handler."""
        warn_throttled(
            "A group message has no handler.",
            self._application.source,
            extra={
                "event": "unhandled",
                "topic": self._topic,
                "handling": str(message.get("type")),
            },
        )

    def _warn_unreadable(self) -> None:
        warn_throttled(
            "A group message can't be decrypted: its key isn't in RECOVERY['ENCRYPTION_KEYS'], "
            "or it was altered. missed_messages() is called instead.",
            self._application.source,
            extra={"event": "message_unreadable", "topic": self._topic},
        )

    def gathers_save(self) -> bool:
        """Leave the save to a later flush, if saves are delayed; return whether they are."""
        if self._saves.take_due() or not self._application.save_interval:
            return False
        pushes = self._exchange.pushes
        if pushes is not None and pushes.is_save_urgent:
            return False
        self._timers.gather_save(self._application.save_interval)
        return True

    def release(self) -> None:
        """Drop the application, whose code may refer to the topic."""
        self._exchange.close()
        del self._application

    def _commit(self, session: Session, state: bytes) -> None:
        session.last_state = state
        self._exchange.commit()

    async def _roll_back(self, session: Session, error: Exception, handling: str) -> None:
        self._exchange.discard()
        reason = error.reason if isinstance(error, SnapshotError) else "crashed"
        note(session, "event", reason, cause=describe_error(error), handling=handling)
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
