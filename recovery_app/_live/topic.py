"""One joined topic: the order of what happens to it, its timers, its beginning and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any

from recovery_app._core.error_texts import describe_error
from recovery_app._core.state_codec import trimmed
from recovery_app._core.telemetry import log_failure, release_frames, warn_throttled
from recovery_app._live.context import ConnectionContext
from recovery_app._live.incidents import note, note_crashed_join, note_unsaved
from recovery_app._live.interfaces import Work
from recovery_app._live.join import Join
from recovery_app._live.mailbox import Mailbox
from recovery_app._live.numbering import Numbers, take_numbers, with_numbers
from recovery_app._live.protocol import TOKEN_EVENT, Message, OtherFrame, to_json
from recovery_app._live.replies import Reply
from recovery_app._live.requested_saves import RequestedSaves
from recovery_app._live.session import Session
from recovery_app._live.timers import Timers
from recovery_app.exceptions import JoinRefused, SnapshotError
from recovery_app.signals import observers


class Topic:
    """One join: from the client's message until it is left, joined again, or cut.

    All that happens to the topic (events, group messages, timers) goes through one mailbox,
    so that the application, like any consumer, does one thing at a time.
    """

    def __init__(self, context: ConnectionContext, join: Message, *, after: Topic | None) -> None:
        self.join_message = join
        self.mailbox = Mailbox(context.backlog)
        self._context = context
        self._protocol = context.protocol
        self._send = context.send
        self._after = after
        self._application, self._channel = context.consumer.make_topic(self)
        self._session: Session | None = None
        self._opened: Session | None = None
        self._has_new_owner = False
        self._saves = RequestedSaves(self.mailbox, self._save)
        self._timers = Timers(self.mailbox)

    # What others may ask for.

    @property
    def name(self) -> str:
        """The topic's name."""
        return self.join_message.topic

    async def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send an event to the client, in the shape of its messages."""
        await self._send(self._protocol.push(self.join_message, event, payload))

    async def renew(self) -> None:
        """Bind the session to whoever is logged in now, and announce the new token."""
        if self._session is None:
            raise RuntimeError("renew_recovery() works once the topic is joined.")
        if await self._session.end_if_revoked():
            return
        _, binding, name = await self._application.identify()
        person = self._context.manager.operations.person(name, self._application.user)
        self._has_new_owner |= person.owner != self._session.person.owner
        self._session.rename(person)
        self._session.log_name = self._application.log_name
        await self._session.renew(binding)

    async def save(self) -> None:
        """Save the state now; during an event, in one step with it, when its handler is done."""
        if self._session is None:
            raise RuntimeError("save_recovery() works once the topic is joined.")
        await self._saves.request()

    async def _save(self) -> None:
        if self._session is not None:
            self._session.last_state = await self._application.encode()
            await self._session.save()

    def listen(self) -> str:
        """Return the name of the topic's channel, and receive from it; from any thread."""
        return self._channel.listen()

    async def post(self, work: Work) -> None:
        """Have work done in its turn."""
        await self.mailbox.post(work)

    def try_join(self) -> bool:
        """Start the join unless too much waits; return whether it was started."""
        return self.mailbox.try_post(self._join, self.join_message.size_bytes)

    async def join(self) -> None:
        """Start the join; it is done in its turn."""
        await self.mailbox.post(self._join, self.join_message.size_bytes)

    async def receive(self, message: Message) -> None:
        """Take an event from the client, to be handled in its turn."""
        await self.mailbox.post(partial(self._handle_event, message), message.size_bytes)

    def try_receive(self, message: Message) -> bool:
        """Take an event from the client unless too many wait; return whether it was taken."""
        return self.mailbox.try_post(partial(self._handle_event, message), message.size_bytes)

    async def receive_frame(self, frame: OtherFrame) -> None:
        """Take a frame that isn't of the protocol, to be handled in its turn."""
        await self.mailbox.post(partial(self._handle_frame, frame), frame.size_bytes)

    async def leave(self, message: Message) -> None:
        """End because the client left; its state stays, as a slow join looks like a leave."""
        left = self._protocol.reply(message, {}, ok=True)
        await self._end(left, self._protocol.close(self.join_message))

    async def replace(self) -> None:
        """End because the client joins anew; the new join waits for this."""
        await self._end(self._protocol.close(self.join_message))

    async def disconnect(self) -> None:
        """End because the connection is gone, after all that came before."""
        await self._end()

    def cancel(self) -> None:
        """Stop at once."""
        self._timers.stop()
        self._session = None
        self._channel.cancel()
        self.mailbox.cancel()

    # Joining.

    async def _join(self) -> None:
        if self._after is not None:
            await self._after.mailbox.ended()
            self._after = None
        join = Join(
            self._application,
            self.join_message,
            manager=self._context.manager,
            announce=self._announce,
            close=self._close_revoked,
        )
        # A page may stay for days, and its payload is of use only now.
        self.join_message.payload = {}
        try:
            await self._channel.open()
            self._session, response = await join.carry_out()
            reply = self._protocol.reply(self.join_message, response, ok=True)
        except JoinRefused as refusal:
            reason = refusal.reason
            self._context.record.note_refused()
            release_frames(refusal)
            await self._refuse(reason)
        except Exception as error:
            source = self._application.source
            note_crashed_join(self._context.manager, self._application, self.name, error)
            log_failure("A join crashed.", error, source, extra=self._facts("join_crashed"))
            self._context.record.note_crashed()
            await self._refuse("join crashed")
        else:
            session = self._session
            self._open(session)
            self._timers.start(session)
            await self._send(reply)
            if session.is_revoked:
                await self._close_revoked()
            if self._context.started.is_too_many:
                await self._context.started.delete_oldest()

    def _open(self, session: Session) -> None:
        self._context.record.has_joined = True
        self._opened = session
        session.open()
        observers.topic_opened(self._application.source, self._application.version)

    async def _refuse(self, reason: str) -> None:
        self._session = None
        self._context.forget(self)
        try:
            # The reason may be a lazy translation.
            response = {"reason": str(reason)}
            await self._send(self._protocol.reply(self.join_message, response, ok=False))
            await self._channel.close()
        finally:
            self.mailbox.close()

    def _facts(self, event: str) -> dict[str, str]:
        return {"event": event, "topic": self.name}

    async def _announce(self, token: str) -> None:
        payload: dict[str, Any] = {"token": token, "ttl": self._context.manager.ttl}
        if self._has_new_owner and self._session is not None:
            payload["owner"] = self._session.person.owner
            self._has_new_owner = False
        await self.push(TOKEN_EVENT, payload)

    # Living.

    async def _handle_event(self, message: Message) -> None:
        session = self._session
        if session is None:
            unmatched = {"reason": "unmatched topic"}
            await self._send(self._protocol.reply(message, unmatched, ok=False))
            return
        session.acknowledge_token()
        try:
            numbers = take_numbers(message.payload)
        except ValueError:
            reply = with_numbers(_refusal(reason="bad_seq"), safe=session.replies.safe)
        else:
            if numbers is None:
                reply = await self._apply(session, message)
                if not self._gathers_save():
                    await session.save()
            else:
                reply = await self._apply_once(session, message, numbers)
        await self._send(self._protocol.reply(message, reply.response, ok=reply.is_ok))

    async def _apply_once(self, session: Session, message: Message, numbers: Numbers) -> Reply:
        """Apply an event unless it was, or another is due; its number is stored with the state."""
        replies = session.replies
        replies.acknowledge(numbers.ack)
        if numbers.seq > replies.applied + 1:
            gap = _refusal(reason="seq_gap", seq=replies.applied)
            return with_numbers(gap, safe=replies.safe)
        is_repeat = numbers.seq <= replies.applied
        if is_repeat and replies.is_taken(numbers.seq, numbers.line):
            taken = _refusal(reason="seq_taken", seq=replies.applied)
            return with_numbers(taken, safe=replies.safe)
        if is_repeat:
            observers.event_repeated()
            found = replies.find(numbers.seq)
            reply = self._context.repeats.repeat(found, sent_bytes=message.size_bytes)
        else:
            reply = await self._apply(session, message)
            replies.add(reply, numbers.line)
        if not self._gathers_save():
            await session.save()
        return with_numbers(reply, safe=replies.safe, is_repeat=is_repeat)

    async def _apply(self, session: Session, message: Message) -> Reply:
        """Handle an event; after an error go back to the last consistent state."""
        self._saves.is_in_event = True
        try:
            response, state = await self._application.handle_event(message.event, message.payload)
            if not isinstance(response, (Mapping, type(None))):
                raise TypeError(
                    f"handle_event returned {type(response).__name__}, not a dict or None."
                )
            reply = Reply(is_ok=True, response=trimmed(to_json(response or {})))
            session.last_state = state
        except Exception as error:
            await self._roll_back(session, error, message.event)
            if isinstance(error, SnapshotError):
                return _refusal(reason=error.reason)
            return _refusal(reason="event crashed")
        finally:
            self._saves.is_in_event = False
        return reply

    async def handle_message(self, message: dict[str, Any]) -> None:
        """Handle a group message, where the application has a handler for it."""
        handler = self._application.find_handler(message)
        session = self._session
        if handler is None:
            warn_throttled(
                "A group message has no handler.",
                self._application.source,
                extra={
                    "event": "unhandled",
                    "topic": self.name,
                    "handling": str(message.get("type")),
                },
            )
        elif session is not None:
            await self._change(
                session, self._application.handle_message(handler, message), handling=handler
            )

    async def _handle_frame(self, frame: OtherFrame) -> None:
        session = self._session
        if session is None:
            # The join was refused: the frame is the connected consumer's.
            await self._context.consumer.handle_frame(frame)
            return
        session.acknowledge_token()
        await self._change(session, self._application.handle_frame(frame), handling="receive")

    async def _change(self, session: Session, handled: Awaitable[bytes], *, handling: str) -> None:
        """Save what a handler makes of the state; after an error go back to the last state."""
        self._saves.is_in_handler = True
        try:
            session.last_state = await handled
        except Exception as error:
            await self._roll_back(session, error, handling)
        finally:
            self._saves.is_in_handler = False
        if not self._gathers_save():
            await session.save()

    async def _roll_back(self, session: Session, error: Exception, handling: str) -> None:
        source = self._application.source
        reason = error.reason if isinstance(error, SnapshotError) else "crashed"
        note(session, "event", reason, cause=describe_error(error), handling=handling)
        log_failure(
            "A handler failed.",
            error,
            source,
            extra={"event": "handler_failed", "topic": self.name, "handling": handling},
        )
        await self._application.roll_back(session.last_state)

    def _gathers_save(self) -> bool:
        """Leave the save to a later flush, where saves are gathered; return whether they are."""
        if self._saves.take_due() or not self._application.save_interval:
            return False
        self._timers.gather_save(self._application.save_interval)
        return True

    # Ending.

    async def _close_revoked(self) -> None:
        """Close at once: the socket, or whatever its person has, was revoked."""
        if self._session is None:
            # The join is still to be answered.
            return
        self._session = None
        self._context.forget(self)
        await self._send(self._protocol.close(self.join_message))
        await self._channel.close()
        self.mailbox.close()
        self._timers.stop()

    async def _end(self, *texts: str) -> None:
        await self.mailbox.post(partial(self._finish, texts))
        self.mailbox.close()

    async def _finish(self, texts: tuple[str, ...]) -> None:
        is_gathering = self._timers.stop()
        session = self._session
        if session is not None:
            if is_gathering or session.token:
                # Saves were gathered, or the storage was away and may be back.
                await session.save()
            if session.has_unsaved_changes and not session.is_revoked:
                note_unsaved(session)
            if session.started is not None:
                self._context.started.add(session.started)
        # What was posted behind this (a group message, a touch) comes too late.
        self._session = None
        for text in texts:
            await self._send(text)
        await self._channel.close()
        if self._context.started.is_too_many:
            await self._context.started.delete_oldest()

    def release(self) -> None:
        """Let go of the application, whose code may hold on to the topic."""
        self._timers.stop()
        self._session = None
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            observers.topic_closed()
        self._saves.release()
        del self._application


def _refusal(**facts: str | int) -> Reply:
    return Reply(is_ok=False, response=to_json(facts))
