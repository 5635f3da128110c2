"""One WebSocket, which passes each message to its topic."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.telemetry import warn_throttled
from recovery_app._live.context import ConnectionContext
from recovery_app._live.interfaces import ConnectedConsumer
from recovery_app._live.limits import FRAMES_WAITING, Backlog, RepeatBudget, is_longer
from recovery_app._live.protocol import Kind, Message, OtherFrame, WireProtocol, from_json
from recovery_app._live.record import ConnectionRecord
from recovery_app._live.started import StartedSockets
from recovery_app._live.topic import Topic
from recovery_app.signals import observers

logger = logging.getLogger("recovery_app")

UNMATCHED = {"reason": "unmatched topic"}
TOO_MANY_JOINS = {"reason": "too many joins"}
TOO_MANY_TOPICS = {"reason": "too many topics"}
MESSAGE_TOO_BIG = 1009
SERVICE_RESTART = 1012

open_connections: set[Connection] = set()
"""The accepted connections of this process, on whichever event loop."""

_UNTAKEN = (
    "A frame was ignored: it isn't part of the protocol, and the consumer has no receive_json() or "
    "receive() for it."
)
_UNTAKEN_FORM = (
    f"{_UNTAKEN} It comes from htmx's ws extension: "
    "https://django-recovery-app.readthedocs.io/en/latest/htmx.html shows how to handle it."
)


class Connection:
    """Routes the messages of a WebSocket; none of them can end it."""

    def __init__(
        self,
        consumer: ConnectedConsumer,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        *,
        manager: RecoveryManager,
        protocol: WireProtocol,
    ) -> None:
        self.record = ConnectionRecord(manager.reporter)
        self._consumer = consumer
        self._raw_send = send
        self._protocol = protocol
        self._topics: dict[str, Topic] = {}
        self._ending: dict[Topic, None] = {}
        self._gone = False
        self._reading = asyncio.Lock()
        self._deaf = False
        self._ended: asyncio.Event | None = None
        self._max_frame_bytes = manager.max_frame_bytes
        self._join_limiter = manager.join_limiter
        self._join_bucket = manager.join_limiter.new_bucket()
        self._context = ConnectionContext(
            consumer=consumer,
            protocol=protocol,
            manager=manager,
            send=self.send,
            forget=self._forget,
            backlog=Backlog(FRAMES_WAITING * manager.max_frame_bytes),
            repeats=RepeatBudget(),
            started=StartedSockets(manager, max_topics=consumer.max_topics, joined=self._topics),
            record=self.record,
        )

    def open(self) -> None:
        """Note that the consumer has accepted."""
        self.loop = asyncio.get_running_loop()
        open_connections.add(self)

    async def receive(self, message: Mapping[str, Any]) -> None:
        """Take one WebSocket message, text or bytes."""
        async with self._reading:
            if self._deaf:
                return
            other = OtherFrame(message)
            text = message.get("text")
            if text is None:
                data = message.get("bytes") or b""
                size_bytes = len(data)
                if size_bytes > self._max_frame_bytes:
                    await self._refuse_frame()
                    return
                found = self._protocol.read_bytes(data)
            else:
                size_bytes = len(text)
                # Before it is parsed, which takes far longer than to send it.
                if is_longer(text, self._max_frame_bytes):
                    await self._refuse_frame()
                    return
                try:
                    other.content, other.is_json = from_json(text), True
                except ValueError:
                    found = None
                else:
                    found = self._protocol.read(other.content)
            if found is not None:
                found.size_bytes = size_bytes
                pending = self._route(found)
                if pending is not None:
                    await pending
            else:
                other.size_bytes = size_bytes
                await self._pass_on(other)

    async def send(self, text: str) -> None:
        """Send a text, unless the client is gone."""
        if self._gone:
            return
        try:
            await self._raw_send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            # Servers differ in what they raise; all mean that the client went first.
            self._gone = True

    async def close(self) -> None:
        """Let each topic finish what was received before the end of the connection."""
        self._gone = True
        await self._finish()

    async def drain(self) -> None:
        """Finish what was received, including replies and saves; then have the client reconnect."""
        if self not in open_connections:
            return
        self._ended = self._ended or asyncio.Event()
        # A join that is half read would begin its topic behind the end of all topics.
        async with self._reading:
            self._deaf = True
            await self._finish()
        with contextlib.suppress(OSError, RuntimeError):
            await self._raw_send({"type": "websocket.close", "code": SERVICE_RESTART})
        await self._ended.wait()

    def cancel(self) -> None:
        """Stop every topic at once: the consumer has ended."""
        open_connections.discard(self)
        self._deaf = self._gone = True
        if self._ended is not None:
            self._ended.set()
        for topic in list(self._topics.values()):
            self._forget(topic)
        for topic in list(self._ending):
            topic.cancel()
        # It refers to this connection: memory must not wait for the garbage collector.
        del self._context
        self.record.end()

    async def _pass_on(self, frame: OtherFrame) -> None:
        """Pass a frame outside the protocol to the application's own code.

        If it is clear which topic is meant, its code gets the frame, so that the state is saved.
        """
        if not self._consumer.takes(frame):
            text = _UNTAKEN_FORM if frame.is_from_htmx else _UNTAKEN
            warn_throttled(text, self._consumer.source, extra={"event": "frame_untaken"})
            return
        topics = self._topics
        topic = next(iter(topics.values())) if len(topics) == 1 else topics.get("")
        if topic is None:
            await self._consumer.handle_frame(frame)
        else:
            await topic.receive_frame(frame)

    async def _refuse_frame(self) -> None:
        """Close a connection whose frame is too large; earlier frames are still handled."""
        self._deaf = True
        try:
            await self._raw_send({"type": "websocket.close", "code": MESSAGE_TOO_BIG})
        except (OSError, RuntimeError):
            self._gone = True
        except Exception:
            # Daphne accepts few codes where middleware of others hides it from us.
            await self._raw_send({"type": "websocket.close"})

    async def _finish(self) -> None:
        for topic in list(self._topics.values()):
            self._forget(topic)
            await topic.disconnect()
        # They end by themselves; to wait for one after the other takes no tasks.
        for topic in list(self._ending):
            await topic.mailbox.ended()

    def _route(self, message: Message) -> Awaitable[None] | None:
        """Pass a message to its topic; return what has to be awaited for that, if anything."""
        kind = message.kind
        if kind is Kind.EVENT:
            topic = self._topics.get(message.topic)
            if topic is None:
                warn_throttled(
                    "An event was refused: its topic isn't joined on this connection. Join it "
                    "first, and push after the join's reply.",
                    self._consumer.source,
                    extra={"event": "unjoined", "topic": message.topic, "handling": message.event},
                )
                return self.send(self._protocol.reply(message, UNMATCHED, ok=False))
            if message.join_ref not in (None, topic.join_message.join_ref):
                logger.debug(
                    "A frame of an old join was ignored.", extra={"event": "frame_ignored"}
                )
                return None
            return None if topic.try_receive(message) else topic.receive(message)
        if kind is Kind.HEARTBEAT:
            return self.send(self._protocol.reply(message, {}, ok=True))
        return self._join(message) if kind is Kind.JOIN else self._leave(message)

    async def _join(self, message: Message) -> None:
        if not self._consumer.accepts(message.topic):
            warn_throttled(
                "A join was refused: recovery_topics has no such topic.",
                self._consumer.source,
                extra={"event": "unmatched", "topic": message.topic},
            )
            await self._refuse_join(message, UNMATCHED)
            return
        if not self._join_limiter.allows(self._join_bucket, self._consumer.person):
            observers.join_limited()
            await self._refuse_join(message, TOO_MANY_JOINS)
            return
        old = self._topics.get(message.topic)
        if old is None and len(self._topics) >= self._consumer.max_topics:
            await self._refuse_join(message, TOO_MANY_TOPICS)
            return
        if len(self._ending) >= self._consumer.max_topics:
            await self._limit_endings()
        topic = Topic(self._context, message, after=old or self._last_ending(message.topic))
        self._topics[message.topic] = topic
        if old is not None:
            self._await_end(old)
            await old.replace()
        if not topic.try_join():
            await topic.join()

    async def _refuse_join(self, message: Message, why: Mapping[str, Any]) -> None:
        self.record.note_join_refused()
        await self.send(self._protocol.reply(message, why, ok=False))

    async def _leave(self, message: Message) -> None:
        topic = self._topics.get(message.topic)
        if topic is None:
            await self.send(self._protocol.reply(message, {}, ok=True))
        elif message.join_ref not in (None, topic.join_message.join_ref):
            logger.debug("A frame of an old join was ignored.", extra={"event": "frame_ignored"})
        else:
            self._forget(topic)
            await topic.leave(message)

    def _forget(self, topic: Topic) -> None:
        if self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
        self._await_end(topic)

    def _await_end(self, topic: Topic) -> None:
        if topic in self._ending:
            return
        self._ending[topic] = None

        def end() -> None:
            self._ending.pop(topic, None)
            topic.release()

        topic.mailbox.when_ended(end)

    def _last_ending(self, name: str) -> Topic | None:
        """Return the topic of that name that was left last and is still at work."""
        return next((topic for topic in reversed(self._ending) if topic.name == name), None)

    async def _limit_endings(self) -> None:
        """Wait while too many topics are ending: a flood of joins would pile them up."""
        while len(self._ending) >= self._consumer.max_topics:
            await next(iter(self._ending)).mailbox.ended()
