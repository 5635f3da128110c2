"""Own one joined topic: a copy of the consumer, its mailbox, its timers and its session."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from recovery_app import phoenix
from recovery_app.consumers.binding import bind_to_person, combine
from recovery_app.consumers.groups import TopicChannel
from recovery_app.consumers.hooks import Hooks
from recovery_app.consumers.mailbox import Mailbox
from recovery_app.exceptions import JoinRefused, SnapshotCorrupt, SnapshotError
from recovery_app.manager import RecoveryManager
from recovery_app.session import Session
from recovery_app.values import Takeover

if TYPE_CHECKING:
    from recovery_app.consumers.mixins import RecoveryMixin

logger = logging.getLogger("recovery_app")
Result = TypeVar("Result")

TOKEN_KEY = "_recovery"
_EVENT_KEYS = ("_seq", "_ack")
_JOIN_HOOKS = ("authorize_join", "should_recover", "get_recovery_binding", "get_recovery_view")
_RESTORE_HOOKS = ("migrate_state", "restore_state", "after_recover", "get_recoverable_state")
_SPREAD = (0.8, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a topic needs of its connection."""

    consumer: RecoveryMixin
    hooks: Hooks
    manager: RecoveryManager
    send: Callable[[str], Awaitable[None]]
    forget: Callable[[Topic], None]


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
        self._consumer = self._copy_consumer()
        self._session: Session | None = None
        self._view = ""
        self._touch_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    # What others may ask for.

    async def push(self, event: str, payload: Mapping[str, Any]) -> None:
        """Send a message to the client, in the shape of its frames."""
        await self._link.send(self.frame.push(event, payload))

    async def renew(self) -> None:
        """Bind the session to whoever is logged in now, and announce the new token."""
        if self._session is None:
            raise RuntimeError("renew_recovery() works once the topic is joined.")
        await self._session.renew(await self._binding())

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
        try:
            answer = self.frame.reply("ok", await self._open())
        except JoinRefused as refusal:
            await self._refuse(refusal.reason)
        except Exception:
            logger.exception("A join crashed.", extra={"topic": self.frame.topic})
            await self._refuse("join crashed")
        else:
            self._schedule_touch()
            await self._link.send(answer)

    async def _open(self) -> dict[str, Any]:
        topic = self.frame.topic
        token, params = _split_params(self.frame.payload)
        await self._channel.open(self._consumer)
        await self._take_care(*_JOIN_HOOKS)
        await self._call("authorize_join", topic, params)
        session = self._session = await self._make_session()
        if token is not None and await self._call("should_recover", topic, params):
            takeover = await session.claim(token)
            if takeover is not None:
                with contextlib.suppress(_NotRestored):
                    extras = await self._restore(session, takeover)
                    return {**extras, TOKEN_KEY: session.greeting()}
        extras = await self._mount(session, params)
        return {**extras, TOKEN_KEY: session.greeting()}

    async def _restore(self, session: Session, takeover: Takeover) -> Mapping[str, Any]:
        """Put the consumer into the state that was taken over; `_NotRestored` if it can't be."""
        await self._take_care(*_RESTORE_HOOKS)
        try:
            state = takeover.state
            if takeover.version < self._consumer.recovery_version:
                state = await self._call("migrate_state", state, takeover.version)
            await self._call("restore_state", state)
            takeover = replace(takeover, state=state)
            extras: Mapping[str, Any] = await self._call("after_recover", takeover) or {}
            payload = await self._encode()
        except Exception as error:
            logger.exception("A state couldn't be restored.", extra={"topic": self.frame.topic})
            await session.fail(SnapshotCorrupt("the application couldn't restore it"))
            # What a failed restore left behind must not reach the fresh start.
            self._consumer = self._copy_consumer()
            raise _NotRestored from error
        await self._link.manager.announcer.arecovered(takeover, state)
        await session.save(payload)
        return extras

    async def _mount(self, session: Session, params: dict[str, Any]) -> Mapping[str, Any]:
        await self._take_care("mount")
        extras: Mapping[str, Any] = await self._call("mount", self.frame.topic, params) or {}
        try:
            await session.start(await self._encode())
        except SnapshotError:
            logger.exception("A fresh state can't be kept.", extra={"topic": self.frame.topic})
        return extras

    async def _make_session(self) -> Session:
        self._view = str(await self._call("get_recovery_view", self.frame.topic))
        return Session(
            self._link.manager,
            binding=await self._binding(),
            view=self._view,
            topic=self.frame.topic,
            version=self._consumer.recovery_version,
            announce=self._announce,
        )

    async def _binding(self) -> bytes:
        kind = type(self._consumer)
        if self._link.hooks.overrides(self._consumer, "get_recovery_binding"):
            person = combine("own", await self._call("get_recovery_binding") or b"")
        else:
            person = await bind_to_person(self._consumer.scope)
        return combine(f"{kind.__module__}.{kind.__qualname__}", self._view, person)

    async def _refuse(self, reason: str) -> None:
        self._session = None
        self._link.forget(self)
        await self._link.send(self.frame.reply("error", {"reason": reason}))
        await self._channel.close()
        self.mailbox.close()

    async def _announce(self, token: str) -> None:
        await self.push(phoenix.TOKEN, {"token": token, "ttl": self._link.manager.ttl})

    # Living.

    async def _handle_event(self, frame: phoenix.Frame) -> None:
        if self._session is None:
            await self._link.send(frame.reply("error", {"reason": "unmatched topic"}))
            return
        self._session.confirm()
        try:
            answer = await self._change(self._session, partial(self._answer, frame))
        except SnapshotError as error:
            answer = frame.reply("error", {"reason": error.reason})
        except Exception:
            answer = frame.reply("error", {"reason": "event crashed"})
        await self._link.send(answer)

    async def _answer(self, frame: phoenix.Frame) -> str:
        await self._take_care("handle_event")
        response = await self._call("handle_event", frame.event, _event_payload(frame))
        if not isinstance(response, (Mapping, type(None))):
            raise TypeError(f"handle_event gave {type(response).__name__}, not a dict or None.")
        return frame.reply("ok", response or {})

    async def _handle_message(self, message: dict[str, Any]) -> None:
        name = self._link.hooks.find_handler(self._consumer, message)
        if name is None:
            logger.warning("A group message has no handler.", extra={"topic": self.frame.topic})
        elif self._session is not None:
            await self._take_care(name)
            with contextlib.suppress(Exception):  # _change has logged it.
                await self._change(self._session, partial(self._call, name, message))

    async def _change(self, session: Session, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do what may change the state and keep that; after an error go back to the last."""
        try:
            result = await work()
            payload = await self._encode()
        except Exception:
            logger.exception("A handler failed.", extra={"topic": self.frame.topic})
            await self._roll_back(session)
            raise
        if self._consumer.recovery_save_interval:
            self._save_later(session, payload)
        else:
            await session.save(payload)
        return result

    async def _encode(self) -> bytes:
        return self._link.manager.codec.encode(await self._call("get_recoverable_state"))

    async def _roll_back(self, session: Session) -> None:
        if session.good is None:
            return
        try:
            await self._call("restore_state", self._link.manager.codec.decode(session.good))
        except Exception:
            logger.exception("A state couldn't be rolled back.")

    def _save_later(self, session: Session, payload: bytes) -> None:
        session.good = payload
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(
                self._consumer.recovery_save_interval, self.mailbox.try_post, self._flush
            )

    async def _flush(self) -> None:
        self._flush_timer = None
        if self._session is not None and self._session.good is not None:
            await self._session.save(self._session.good)

    def _schedule_touch(self) -> None:
        # Spread out, or connections that came back at once would touch at once for ever.
        delay = self._link.manager.touch_interval * random.uniform(*_SPREAD)
        self._touch_timer = asyncio.get_running_loop().call_later(delay, self._post_touch)

    def _post_touch(self) -> None:
        if not self.mailbox.try_post(self._touch):
            self._schedule_touch()

    async def _touch(self) -> None:
        self._schedule_touch()
        if self._session is not None:
            await self._session.touch()

    # Ending.

    async def _end(self, *frames: str) -> None:
        await self.mailbox.post(partial(self._finish, frames))
        self.mailbox.close()

    async def _finish(self, frames: tuple[str, ...]) -> None:
        self._stop_timers()
        if self._flush_timer is not None:
            await self._flush()
        for text in frames:
            await self._link.send(text)
        await self._channel.close()

    def _stop_timers(self) -> None:
        for timer in (self._touch_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()

    # The consumer.

    def _copy_consumer(self) -> RecoveryMixin:
        consumer = copy.copy(self._link.consumer)
        consumer.recovery_topic = self.frame.topic
        consumer._recovery_life = self
        self._channel.equip(consumer)
        return consumer

    async def _call(self, name: str, *args: object) -> Any:
        return await self._link.hooks.call(self._consumer, name, *args)

    async def _take_care(self, *names: str) -> None:
        await self._link.hooks.take_care(self._consumer, *names)


class _NotRestored(Exception):
    """A state that was taken over couldn't be put into the consumer."""


def _split_params(payload: phoenix.Payload) -> tuple[object, dict[str, Any]]:
    """Take the token out of a join's payload, or out of the page's params in it."""
    if not isinstance(payload, dict):
        return None, {}
    params = {key: value for key, value in payload.items() if key != TOKEN_KEY}
    token = payload.get(TOKEN_KEY)
    inner = params.get("params")
    if isinstance(inner, dict) and TOKEN_KEY in inner:
        params["params"] = {key: value for key, value in inner.items() if key != TOKEN_KEY}
        token = inner[TOKEN_KEY] if token is None else token
    return token, params


def _event_payload(frame: phoenix.Frame) -> phoenix.Payload:
    if not isinstance(frame.payload, dict):
        return frame.payload
    return {key: value for key, value in frame.payload.items() if key not in _EVENT_KEYS}
