"""Own one WebSocket: read its frames and bring each to the topic that it is for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.operations import check_name
from recovery_app._live import phoenix
from recovery_app._live.topic import Topic
from recovery_app.consumers.application import Link
from recovery_app.consumers.hooks import Hooks
from recovery_app.middleware import current_manager

if TYPE_CHECKING:
    from recovery_app.consumers.mixins import RecoveryMixin

logger = logging.getLogger("recovery_app")

Message = Mapping[str, Any]
UNMATCHED = {"reason": "unmatched topic"}
SERVICE_RESTART = 1012

LIVE: set[Connection] = set()
"""The accepted connections of this process, on whichever event loop."""


class Connection:
    """Route what a WebSocket brings; nothing that it brings can end it."""

    def __init__(
        self,
        consumer: RecoveryMixin,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        hooks: Hooks,
    ) -> None:
        self.turn = asyncio.Lock()
        """Held by code of the connected consumer itself, which does one thing at a time."""
        self._consumer = consumer
        self._raw_send = send
        self._hooks = hooks
        self._topics: dict[str, Topic] = {}
        self._ending: dict[Topic, None] = {}
        self._gone = False
        self._reading = asyncio.Lock()
        self._drained = False
        self._ended: asyncio.Event | None = None
        given = consumer.scope.get("recovery")
        self._link = Link(
            consumer=consumer,
            hooks=hooks,
            manager=given if isinstance(given, RecoveryManager) else current_manager(),
            send=self.send,
            forget=self._forget,
        )

    def open(self) -> None:
        """Take note that the consumer has accepted."""
        self.loop = asyncio.get_running_loop()
        LIVE.add(self)

    async def receive(self, message: Message) -> None:
        """Take one WebSocket message, text or bytes."""
        async with self._reading:
            if not self._drained:
                await self._read(message)

    async def _read(self, message: Message) -> None:
        text = message.get("text")
        if text is None:
            frame = phoenix.parse_binary(message.get("bytes") or b"")
            if frame is not None:
                await self._route(frame)
            return
        try:
            content = phoenix.loads(text)
        except ValueError:
            logger.debug("A frame that isn't JSON was ignored.", extra={"event": "frame_ignored"})
            return
        frame = phoenix.parse(content)
        if frame is not None:
            await self._route(frame)
        else:
            await self._pass_on(content)

    async def send(self, text: str) -> None:
        """Send a text, unless there is nobody to hear it any more."""
        if self._gone:
            return
        try:
            await self._raw_send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            # Servers differ in what they raise; all mean that the client went first.
            self._gone = True

    async def close(self) -> None:
        """Let each topic finish what came before the end of the connection."""
        self._gone = True
        await self._finish()

    async def drain(self) -> None:
        """Finish what has come, answers and saves included; have the client go elsewhere."""
        if self not in LIVE:
            return
        self._ended = self._ended or asyncio.Event()
        # A join that is half read would begin its topic behind the end of all topics.
        async with self._reading:
            self._drained = True
            await self._finish()
        with contextlib.suppress(OSError, RuntimeError):
            await self._raw_send({"type": "websocket.close", "code": SERVICE_RESTART})
        await self._ended.wait()

    def cancel(self) -> None:
        """Stop every topic at once: the consumer has ended."""
        LIVE.discard(self)
        if self._ended is not None:
            self._ended.set()
        for topic in (*self._topics.values(), *self._ending):
            topic.cancel()

    async def _finish(self) -> None:
        for topic in list(self._topics.values()):
            self._forget(topic)
            await topic.disconnect()
        # They end by themselves; to wait for one after the other takes no tasks.
        for topic in list(self._ending):
            await topic.mailbox.ended()

    async def _route(self, frame: phoenix.Frame) -> None:
        if frame.is_heartbeat:
            await self.send(frame.reply("ok", {}))
        elif frame.event == phoenix.JOIN:
            await self._join(frame)
        else:
            await self._bring(frame)

    async def _join(self, frame: phoenix.Frame) -> None:
        if not self._accepts(frame.topic):
            await self.send(frame.reply("error", UNMATCHED))
            return
        old = self._topics.get(frame.topic)
        if old is None and len(self._topics) >= self._consumer.recovery_max_topics:
            await self.send(frame.reply("error", {"reason": "too many topics"}))
            return
        await self._limit_endings()
        topic = Topic(self._link, frame, after=old or self._last_ending(frame.topic))
        self._topics[frame.topic] = topic
        if old is not None:
            self._await_end(old)
            await old.replace()
        await topic.join()

    async def _bring(self, frame: phoenix.Frame) -> None:
        topic = self._topics.get(frame.topic)
        if topic is None:
            left = frame.event == phoenix.LEAVE
            await self.send(frame.reply("ok", {}) if left else frame.reply("error", UNMATCHED))
        elif frame.join_ref not in (None, topic.frame.join_ref):
            logger.debug("A frame of an old join was ignored.", extra={"event": "frame_ignored"})
        elif frame.event == phoenix.LEAVE:
            self._forget(topic)
            await topic.leave(frame)
        else:
            await topic.receive(frame)

    async def _pass_on(self, content: object) -> None:
        """Give JSON that isn't of the protocol to the consumer's own ``receive_json``."""
        if not self._hooks.has_own_receiver(self._consumer):
            return
        async with self.turn:
            await self._hooks.take_care(self._consumer, "receive_json")
            try:
                await self._hooks.call(self._consumer, "receive_json", content)
            except Exception:
                logger.exception("receive_json failed.", extra={"event": "receiver_failed"})

    def _accepts(self, topic: str) -> bool:
        try:
            check_name("topic", topic)
        except ValueError:
            return False
        return topic == "" or any(
            topic.startswith(pattern[:-1]) if pattern.endswith("*") else topic == pattern
            for pattern in self._consumer.recovery_topics
        )

    def _forget(self, topic: Topic) -> None:
        if self._topics.get(topic.frame.topic) is topic:
            del self._topics[topic.frame.topic]
        self._await_end(topic)

    def _await_end(self, topic: Topic) -> None:
        self._ending[topic] = None
        topic.mailbox.when_ended(lambda: self._ending.pop(topic, None))

    def _last_ending(self, name: str) -> Topic | None:
        """Give the topic of that name that was left last and still has work to do."""
        return next((t for t in reversed(self._ending) if t.frame.topic == name), None)

    async def _limit_endings(self) -> None:
        """Wait while too many topics are ending: a flood of joins would pile them up."""
        while len(self._ending) >= self._consumer.recovery_max_topics:
            await next(iter(self._ending)).mailbox.ended()
