"""The server's side: nodes with the real consumer on them, and connections to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from tests.model.loop import StillLoop
from tests.model.storage import Cellar, Door

SECRET = b"s" * 32
TTL = 300
TOKEN_MAX_AGE = 4 * TTL


class Ledger(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Keep the ids of the events applied, in order; reply with each one's place."""

    channel_layer_alias = "none"
    recovery_fields = ("events",)

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.events: list[int] = []
        return {"events": self.events}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"events": self.events}

    async def handle_event(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        assert payload.keys() == {"id"}
        self.events.append(payload["id"])
        if event == "fail":
            raise RuntimeError("a handler that fails")
        return {"place": len(self.events), "id": payload["id"]}


class GatheringLedger(Ledger):
    """The same with coalescing."""

    recovery_save_interval = 2


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
