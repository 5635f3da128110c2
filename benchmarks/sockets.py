"""WebSockets over ASGI, without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.application import make_consumers

MAX_TOPICS = 1000


class Socket:
    """One WebSocket over ASGI, without a server, on which topics are joined."""

    def __init__(self) -> None:
        live, _ = make_consumers()
        live.recovery_max_topics = MAX_TOPICS
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "websocket", "path": "/", "headers": []}
        self._task = asyncio.ensure_future(
            live.as_asgi()(scope, self._received.get, self._sent.put)
        )

    async def open(self) -> None:
        """Connect."""
        self._received.put_nowait({"type": "websocket.connect"})
        await self._sent.get()

    async def push(self, topic: str, event: str, payload: dict[str, Any] | None = None) -> Any:
        """Send an event and return the response."""
        frame = json.dumps(["1", "1", topic, event, payload or {}])
        self._received.put_nowait({"type": "websocket.receive", "text": frame})
        reply = json.loads((await self._sent.get())["text"])
        if reply[4]["status"] != "ok":
            raise RuntimeError(f"{event} of {topic}: {reply}")
        return reply[4]["response"]

    async def close(self) -> None:
        """Disconnect."""
        self._received.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self._task
