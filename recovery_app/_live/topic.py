"""One joined topic: its start, its end, its timers and the order of its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from recovery_app._core.telemetry import log_failure, release_frames
from recovery_app._live.context import ConnectionContext
from recovery_app._live.exchange import Exchange
from recovery_app._live.group_reader import reader_of
from recovery_app._live.groups import TopicGroups
from recovery_app._live.handlers import Handlers, refusal
from recovery_app._live.incidents import note_crashed_join, note_unsaved
from recovery_app._live.interfaces import Work
from recovery_app._live.join import Join
from recovery_app._live.mailbox import Mailbox
from recovery_app._live.numbering import has_number, take_numbers, with_numbers
from recovery_app._live.protocol import TOKEN_EVENT, Message, OtherFrame
from recovery_app._live.pushes import RECEIVED_EVENT, PushLog
from recovery_app._live.record import PendingJoin
from recovery_app._live.requested_saves import RequestedSaves
from recovery_app._live.session import Session
from recovery_app._live.timers import Timers
from recovery_app.exceptions import JoinRefused
from recovery_app.signals import observers


class Topic:
    """One join, from the client's message until the topic is left, joined again, or disconnected.

    Everything that happens to the topic (events, group messages, timers) goes through one
    mailbox, so that the application, like any consumer, does one thing at a time.
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
        self._exchange = Exchange(self._make_groups)
        self._handlers = Handlers(
            self._application,
            self._saves,
            self._timers,
            exchange=self._exchange,
            repeats=context.repeats,
            topic=join.topic,
        )
        self._pending = PendingJoin()

    # What others may ask for.

    @property
    def name(self) -> str:
        """The topic's name."""
        return self.join_message.topic

    async def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send an event to the client, in the shape of its messages.

        A numbered push is sent once it is stored with the state.
        """
        pushes = self._exchange.pushes
        if pushes is None:
            await self._send_push(event, payload)
        elif pushes.is_in_handler:
            pushes.add(event, payload)
        else:
            # From a task of the application's own.
            await self.mailbox.perform(partial(self._push_now, pushes, event, payload))

    async def _push_now(self, pushes: PushLog, event: str, payload: Mapping[str, Any]) -> None:
        if self._session is not None:
            pushes.add(event, payload)
            pushes.commit()
            await self._session.save()

    async def join_group(self, group: str) -> None:
        """Join a durable group; undone if the handler fails."""
        await self._change_groups(self._exchange.use_groups().join, group)

    async def leave_group(self, group: str) -> None:
        """Leave a durable group; undone if the handler fails."""
        await self._change_groups(self._exchange.use_groups().leave, group)

    async def _change_groups(self, change: Callable[[str], Awaitable[None]], group: str) -> None:
        if self._session is None or self._saves.is_in_event or self._saves.is_in_handler:
            await change(group)
        else:
            # From a task of the application's own.
            await self.mailbox.perform(partial(self._change_groups_now, change, group))

    async def _change_groups_now(
        self, change: Callable[[str], Awaitable[None]], group: str
    ) -> None:
        if self._session is not None:
            await change(group)
            self._exchange.commit()
            await self._session.save()

    def _make_groups(self) -> TopicGroups:
        return TopicGroups(reader_of(self._context.manager.driver), self._post_group)

    def _post_group(self, group: str) -> bool:
        return self.mailbox.try_post(partial(self._handle_group, group))

    async def _handle_group(self, group: str) -> None:
        if self._session is not None and self._exchange.groups is not None:
            await self._handlers.handle_group(self._session, self._exchange.groups, group)

    async def _send_push(self, event: str, payload: Mapping[str, Any] | bytes) -> None:
        await self._send(self._protocol.push(self.join_message, event, payload))

    async def renew(self) -> None:
        """Bind the session to the user who is logged in now, and push the new token."""
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
            self._exchange.commit()
            await self._session.save()

    def listen(self) -> str:
        """Return the name of the topic's channel, and receive from it; from any thread."""
        return self._channel.listen()

    async def post(self, work: Work) -> None:
        """Add work to the mailbox."""
        await self.mailbox.post(work)

    def try_join(self) -> bool:
        """Start the join unless too much work waits; return whether it was started."""
        return self.mailbox.try_post(self._join, self.join_message.size_bytes)

    async def join(self) -> None:
        """Start the join, which waits for its turn."""
        await self.mailbox.post(self._join, self.join_message.size_bytes)

    async def receive(self, message: Message) -> None:
        """Add an event from the client to the mailbox."""
        await self.mailbox.post(partial(self._handle_event, message), message.size_bytes)

    def try_receive(self, message: Message) -> bool:
        """Add an event from the client unless too many wait; return whether it was added."""
        return self.mailbox.try_post(partial(self._handle_event, message), message.size_bytes)

    async def receive_frame(self, frame: OtherFrame) -> None:
        """Add a frame outside the protocol to the mailbox."""
        await self.mailbox.post(partial(self._handle_frame, frame), frame.size_bytes)

    async def leave(self, message: Message) -> None:
        """End because the client left; the state stays, because a slow join looks like a leave."""
        left = self._protocol.reply(message, {}, ok=True)
        await self._end(left, self._protocol.close(self.join_message))

    async def replace(self) -> None:
        """End because the client joins again; the new join waits for this."""
        await self._end(self._protocol.close(self.join_message))

    async def disconnect(self) -> None:
        """End because the connection is gone, after all earlier work."""
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
        join = self._make_join()
        try:
            await self._channel.open()
            self._session, response = await self._handlers.join(join)
            reply = self._protocol.reply(self.join_message, response, ok=True)
        except JoinRefused as refusal:
            reason = refusal.reason
            self._context.record.note_join_refused()
            release_frames(refusal)
            await self._refuse(reason)
        except Exception as error:
            source = self._application.source
            note_crashed_join(self._context.manager, self._application, self.name, error)
            log_failure("A join crashed.", error, source, extra=self._facts("join_crashed"))
            self._context.record.note_join_crashed()
            await self._refuse("join crashed")
        else:
            session = self._session
            self._open(session)
            self._timers.start(session)
            await self._send(reply)
            self._pending.end()
            pushing = self._exchange.open(has_snapshot=session.token is not None)
            if pushing is not None:
                await pushing
            if session.is_revoked:
                await self._close_revoked()
            if self._context.started.is_too_many:
                await self._context.started.delete_oldest()

    def _make_join(self) -> Join:
        """Return the join that the message asks for, and drop its payload."""
        join = Join(
            self._application,
            self.join_message,
            manager=self._context.manager,
            announce=self._announce,
            close=self._close_revoked,
            push=self._send_push,
            exchange=self._exchange,
        )
        # A page may stay for days, and its payload is of use only now.
        self.join_message.payload = {}
        return join

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
            self._pending.end()
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
        await self._send_push(TOKEN_EVENT, payload)

    # Living.

    async def _handle_event(self, message: Message) -> None:
        session = self._session
        if session is None:
            unmatched = {"reason": "unmatched topic"}
            await self._send(self._protocol.reply(message, unmatched, ok=False))
            return
        session.acknowledge_token()
        if self._exchange.pushes is not None:
            self._exchange.pushes.take_acknowledgement(message.payload)
            # One that has a number counts, or all behind it would wait for that number.
            if message.event == RECEIVED_EVENT and not has_number(message.payload):
                await self._send(self._protocol.reply(message, {}, ok=True))
                return
        try:
            numbers = take_numbers(message.payload)
        except ValueError:
            reply = with_numbers(refusal(reason="bad_seq"), safe=session.replies.safe)
        else:
            if numbers is None:
                reply = await self._handlers.apply(session, message)
                if not self._handlers.gathers_save():
                    await session.save()
            else:
                reply = await self._handlers.apply_once(session, message, numbers)
        await self._send(self._protocol.reply(message, reply.response, ok=reply.is_ok))

    async def handle_message(self, message: dict[str, Any]) -> None:
        """Handle a group message, if the application has a handler for it."""
        handler = self._application.find_handler(message)
        session = self._session
        if handler is None:
            self._handlers.warn_unhandled(message)
        elif session is not None:
            await self._handlers.change(
                session, self._application.handle_message(handler, message), handling=handler
            )

    async def _handle_frame(self, frame: OtherFrame) -> None:
        session = self._session
        if session is None:
            # The join was refused: the frame is the connected consumer's.
            await self._context.consumer.handle_frame(frame)
            return
        session.acknowledge_token()
        handled = self._application.handle_frame(frame)
        await self._handlers.change(session, handled, handling="receive")

    # Ending.

    async def _close_revoked(self) -> None:
        """Close at once: the socket, or its person, was revoked."""
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
        if self._exchange.groups is not None:
            self._exchange.groups.close()
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
        """Drop the application, whose code may refer to the topic."""
        self._timers.stop()
        self._pending.end()
        self._session = None
        if self._opened is not None:
            self._opened.close()
            self._opened = None
            observers.topic_closed()
        self._saves.release()
        self._handlers.release()
        del self._application
