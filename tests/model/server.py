"""The server's side: nodes with the real consumer on them, and connections to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from recovery_app import RecoveryManager
from recovery_app._live.groups import UNKNOWN
from recovery_app.consumers import RecoveryConsumerMixin
from tests.model.loop import StillLoop
from tests.model.storage import Cellar, Door

SECRET = b"s" * 32
TTL = 300
TOKEN_MAX_AGE = 4 * TTL
GROUP = "room"


class Ledger(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Keep the ids of the events applied, in order; reply with each one's place."""

    channel_layer_alias = "none"
    recovery_fields: ClassVar[tuple[str, ...]] = ("events",)

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.events: list[int] = []
        return {"events": self.events}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"events": self.events}

    async def handle_event(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        assert payload.keys() == {"id"}
        self.events.append(payload["id"])
        await self.told_of(payload["id"])
        if event == "fail":
            raise RuntimeError("a handler that fails")
        return {"place": len(self.events), "id": payload["id"]}

    async def told_of(self, number: int) -> None:
        """Tell the page of an event or a message."""


class SendingLedger(Ledger):
    """The same in a group, whose messages it keeps as well; it pushes the number of each push.

    ``life`` is another one for each fresh state. ``since`` is between which lengths of the log it
    has joined the group, and ``unknown`` whether it couldn't learn where the log ended.
    """

    recovery_fields = ("events", "messages", "told", "life", "since", "unknown")
    cellar: Cellar
    lives = count(1)

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.messages: list[int | None] = []
        self.told, self.life = 0, next(self.lives)
        length = len(self.cellar.log)
        await self.join_group(GROUP)
        self.since = [length, len(self.cellar.log)]
        joined: Any = self._joined_topic()
        self.unknown = joined._exchange.groups.find(GROUP) == UNKNOWN
        return {**(await super().mount(topic, params)), **self.summary()}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"events": self.events, **self.summary()}

    def summary(self) -> dict[str, Any]:
        """Return what the page's tab is told of the messages and pushes."""
        kept = ("messages", "told", "life", "since", "unknown")
        return {name: getattr(self, name) for name in kept}

    async def note_posted(self, message: dict[str, Any]) -> None:
        """Handle a message, or fail."""
        self.messages.append(message["id"])
        await self.told_of(message["id"])
        if message["fails"]:
            raise RuntimeError("a handler that fails")

    async def missed_messages(self, group: str) -> None:
        """Note that some are gone."""
        self.messages.append(None)

    async def told_of(self, number: int) -> None:
        self.told += 1
        await self.push("told", {"n": self.told, "life": self.life})


def ledger(cellar: Cellar, *, sends: bool, gathers: bool) -> type[Ledger]:
    """Return the application of a world."""
    base = SendingLedger if sends else Ledger
    # Coalescing.
    interval = 2 if gathers else 0
    return type("Ledger", (base,), {"cellar": cellar, "recovery_save_interval": interval})


class End:
    """The server's end of one connection: a consumer that runs until it is told or killed."""

    def __init__(self, node: Node, send: Callable[[str], None]) -> None:
        self.node = node
        self._send = send
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "websocket", "path": "/ledger/", "recovery": node.manager}
        app: Any = node.consumer.as_asgi()
        self._task = node.loop.create_task(app(scope, self._inbox.get, self._take))
        self._inbox.put_nowait({"type": "websocket.connect"})
        node.ends.append(self)
        node.loop.settle()

    def receive(self, text: str) -> None:
        """Bring a frame."""
        self._inbox.put_nowait({"type": "websocket.receive", "text": text})
        self.node.loop.settle()

    def disconnect(self) -> None:
        """Return that the connection is gone."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.node.ends.remove(self)
        self.node.loop.settle()

    def kill(self) -> None:
        """Stop as the process does: without a word."""
        self._task.cancel()
        self.node.ends.remove(self)
        self.node.loop.settle()

    def check(self) -> None:
        """See that no fault has ended the consumer."""
        assert not self._task.done(), self._task

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            json.loads(message["text"])
            self._send(message["text"])
        else:
            assert message["type"] == "websocket.accept", message


class Node:
    """One server process. Its clock may differ from the others'; its storage is everyone's."""

    def __init__(
        self, loop: StillLoop, cellar: Cellar, consumer: type[Ledger], clock: Callable[[], float]
    ) -> None:
        self.loop = loop
        self.consumer = consumer
        self.ends: list[End] = []
        self.manager = RecoveryManager(
            secret=SECRET,
            ttl=TTL,
            token_max_age=TOKEN_MAX_AGE,
            storage=Door(cellar),
            cleanup_interval=None,
            clock=clock,
        )

    def crash(self) -> None:
        """End all connections at once; another process begins, with nothing in memory."""
        for end in list(self.ends):
            end.kill()
