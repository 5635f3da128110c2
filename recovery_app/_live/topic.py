"""Own one joined topic: its order of things, its timers, its beginning and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from recovery_app._live import numbering, phoenix
from recovery_app._live.join import Join
from recovery_app._live.mailbox import Mailbox
from recovery_app._live.replies import Answer
from recovery_app._live.session import Session
from recovery_app.consumers.application import Link, TopicApplication
from recovery_app.consumers.groups import TopicChannel
from recovery_app.exceptions import JoinRefused, SnapshotError
from recovery_app.signals import observers

logger = logging.getLogger("recovery_app")
Result = TypeVar("Result")

_SPREAD = (0.8, 1.0)


class Topic:
    """Live one join: from ``phx_join`` until it is left, joined again, or cut.

    All that happens to the topic (frames, group messages, timers) goes through one mailbox,
    so its consumer, like any consumer, does one thing at a time.
    """

    def __init__(self, link: Link, frame: phoenix.Frame, *, after: Topic | None) -> None:
        self.frame = frame
        self.mailbox = Mailbox()
        self._link = link
        self._after = after
        self._channel = TopicChannel(link.consumer, self.mailbox.post, self._handle_message)
        self._host = TopicApplication(link, self, self._channel)
        self._session: Session | None = None
        self._touch_timer: asyncio.TimerHandle | None = None
        self._touch_waits = False
        self._keeping_alive: asyncio.Task[None] | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    # What others may ask for.

    async def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send a message to the client, in the shape of its frames."""
        await self._link.send(self.frame.push(event, payload))

    async def renew(self) -> None:
        """Bind the session to whoever is logged in now, and announce the new token."""
        if self._session is None:
            raise RuntimeError("renew_recovery() works once the topic is joined.")
        await self._session.renew(await self._host.binding(await self._host.view()))

    def listen(self) -> str:
        """Give the name of the topic's channel, and hear it from now on; from any thread."""
        return self._channel.listen()

    async def join(self) -> None:
        """Start the join; it is done in its turn."""
        await self.mailbox.post(self._join)

    async def receive(self, frame: phoenix.Frame) -> None:
        """Take an event from the client, to be handled in its turn."""
        await self.mailbox.post(partial(self._handle_event, frame))

    async def leave(self, frame: phoenix.Frame) -> None:
        """End because the client left; its state stays, as a slow join looks like a leave."""
        await self._end(frame.reply("ok", {}), self.frame.close())

    async def replace(self) -> None:
        """End because the client joins anew; the new join waits for this."""
        await self._end(self.frame.close())

    async def disconnect(self) -> None:
        """End because the connection is gone, after all that came before."""
        await self._end()

    def cancel(self) -> None:
        """Stop at once."""
        self._stop_timers()
        self._channel.cancel()
        self.mailbox.cancel()

    # Joining.

    async def _join(self) -> None:
        if self._after is not None:
            await self._after.mailbox.ended()
            self._after = None
        join = Join(self._host, self.frame, manager=self._link.manager, announce=self._announce)
        try:
            await self._channel.open()
            self._session, response = await join.carry_out()
            answer = self.frame.reply("ok", response)
        except JoinRefused as refusal:
            await self._refuse(refusal.reason)
        except Exception:
            logger.exception("A join crashed.", extra=self._facts("join_crashed"))
            await self._refuse("join crashed")
        else:
            self._schedule_touch()
            await self._link.send(answer)

    async def _refuse(self, reason: str) -> None:
        self._session = None
        self._link.forget(self)
        try:
            # The reason may be a lazy translation.
            await self._link.send(self.frame.reply("error", {"reason": str(reason)}))
            await self._channel.close()
        finally:
            self.mailbox.close()

    def _facts(self, event: str) -> dict[str, str]:
        return {"event": event, "topic": self.frame.topic}

    async def _announce(self, token: str) -> None:
        await self.push(phoenix.TOKEN, {"token": token, "ttl": self._link.manager.ttl})

    # Living.

    async def _handle_event(self, frame: phoenix.Frame) -> None:
        session = self._session
        if session is None:
            await self._link.send(frame.reply("error", {"reason": "unmatched topic"}))
            return
        session.confirm()
        try:
            numbers = numbering.read(frame.payload)
        except ValueError:
            answer = numbering.told(_refusal(reason="bad_seq"), safe=session.sequence.safe)
        else:
            if numbers is None:
                answer = await self._apply(session, frame)
                await self._keep(session)
            else:
                answer = await self._apply_once(session, frame, numbers)
        await self._link.send(frame.reply("ok" if answer.is_ok else "error", answer.response))

    async def _apply_once(
        self, session: Session, frame: phoenix.Frame, numbers: numbering.Numbers
    ) -> Answer:
        """Apply an event unless it was, or another is due; its number is stored with the state."""
        sequence = session.sequence
        sequence.acknowledge(numbers.ack)
        if numbers.seq > sequence.applied + 1:
            gap = _refusal(reason="seq_gap", seq=sequence.applied)
            return numbering.told(gap, safe=sequence.safe)
        is_repeat = numbers.seq <= sequence.applied
        if is_repeat:
            observers.event_repeated()
            answer = sequence.find(numbers.seq) or Answer(is_ok=True, response=b"{}")
        else:
            answer = await self._apply(session, frame)
            sequence.answered(answer)
        await self._keep(session)
        return numbering.told(answer, safe=sequence.safe, is_repeat=is_repeat)

    async def _apply(self, session: Session, frame: phoenix.Frame) -> Answer:
        try:
            response = await self._change(session, partial(self._call_handler, frame))
        except SnapshotError as error:
            return _refusal(reason=error.reason)
        except Exception:
            return _refusal(reason="event crashed")
        return Answer(is_ok=True, response=response)

    async def _call_handler(self, frame: phoenix.Frame) -> bytes:
        await self._host.take_care("handle_event")
        payload = numbering.without(frame.payload)
        response = await self._host.call("handle_event", frame.event, payload)
        if not isinstance(response, (Mapping, type(None))):
            raise TypeError(f"handle_event gave {type(response).__name__}, not a dict or None.")
        return phoenix.encode(response or {})

    async def _handle_message(self, message: dict[str, Any]) -> None:
        name = self._host.find_handler(message)
        if name is None:
            logger.warning("A group message has no handler.", extra=self._facts("unhandled"))
        elif self._session is not None:
            await self._host.take_care(name)
            with contextlib.suppress(Exception):  # _change has logged it.
                await self._change(self._session, partial(self._host.call, name, message))
            await self._keep(self._session)

    async def _change(self, session: Session, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do what may change the state; after an error go back to the last that was whole."""
        try:
            result = await work()
            session.good = await self._host.encode()
        except Exception:
            logger.exception("A handler failed.", extra=self._facts("handler_failed"))
            await self._host.roll_back(session.good)
            raise
        return result

    async def _keep(self, session: Session) -> None:
        """Make the state safe, now or with what else comes soon."""
        if not self._host.consumer.recovery_save_interval:
            await session.save_good()
        elif self._flush_timer is None:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        self._flush_timer = asyncio.get_running_loop().call_later(
            self._host.consumer.recovery_save_interval, self._post_flush
        )

    def _post_flush(self) -> None:
        if not self.mailbox.try_post(self._flush):
            self._schedule_flush()

    async def _flush(self) -> None:
        self._flush_timer = None
        if self._session is not None:
            await self._session.save_good()

    def _schedule_touch(self) -> None:
        # Spread out, or connections that came back at once would touch at once for ever.
        delay = self._link.manager.touch_interval * random.uniform(*_SPREAD)
        self._touch_timer = asyncio.get_running_loop().call_later(delay, self._post_touch)

    def _post_touch(self) -> None:
        self._schedule_touch()
        if not self._touch_waits and self.mailbox.try_post(self._touch):
            self._touch_waits = True
        elif self._session is not None and self._keeping_alive is None:
            # A handler takes long, or a flood came: the snapshot must not expire meanwhile.
            self._keeping_alive = asyncio.create_task(self._keep_alive(self._session))

    async def _touch(self) -> None:
        self._touch_waits = False
        if self._session is not None:
            await self._session.touch()

    async def _keep_alive(self, session: Session) -> None:
        await session.keep_alive()
        self._keeping_alive = None

    # Ending.

    async def _end(self, *frames: str) -> None:
        await self.mailbox.post(partial(self._finish, frames))
        self.mailbox.close()

    async def _finish(self, frames: tuple[str, ...]) -> None:
        self._stop_timers()
        if self._flush_timer is not None or (self._session and self._session.token):
            # Saves were gathered, or the storage was away and may be back.
            await self._flush()
        # What was posted behind this (a group message, a touch) comes too late.
        self._session = None
        for text in frames:
            await self._link.send(text)
        await self._channel.close()

    def _stop_timers(self) -> None:
        for timer in (self._touch_timer, self._flush_timer, self._keeping_alive):
            if timer is not None:
                timer.cancel()


def _refusal(**facts: str | int) -> Answer:
    return Answer(is_ok=False, response=phoenix.encode(facts))
