"""A client for the tests: it speaks one shape of the protocol to a real consumer."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from channels.testing import WebsocketCommunicator

from recovery_app import RecoveryManager

TOPIC = "lv:counter"
V2, V1, BARE = "v2", "v1", "bare"
SHAPES = (V2, V1, BARE)


class Client:
    """Join, push and hear, in one of the three shapes; answers come back as dictionaries."""

    def __init__(self, communicator: WebsocketCommunicator, shape: str = V2) -> None:
        self.raw = communicator
        self.shape = shape
        self.join_refs: dict[str, str] = {}
        self._refs = itertools.count(1)

    async def send(
        self,
        topic: str,
        event: str,
        payload: Any,
        *,
        ref: Any = None,
        join_ref: Any = None,
    ) -> None:
        frames = {
            V2: [join_ref, ref, topic, event, payload],
            V1: {
                "topic": topic,
                "event": event,
                "payload": payload,
                "ref": ref,
                "join_ref": join_ref,
            },
            BARE: {"event": event, "payload": payload},
        }
        await self.raw.send_to(text_data=json.dumps(frames[self.shape]))

    async def hear(self) -> dict[str, Any]:
        """Return the next frame from the server, whatever its shape, as a V1 object."""
        frame = json.loads(await self.raw.receive_from(timeout=5))
        if self.shape == V2:
            keys = ("join_ref", "ref", "topic", "event", "payload")
            return dict(zip(keys, frame, strict=True))
        assert isinstance(frame, dict)
        return frame

    async def hears_nothing(self) -> bool:
        """Return that nothing more came: a heartbeat's reply is the next frame."""
        await self.send("phoenix", "heartbeat", {}, ref="nothing")
        frame = await self.hear()
        return (frame["event"], frame["ref"]) == ("phx_reply", "nothing")

    async def join(self, topic: str = TOPIC, token: Any = None, **params: Any) -> dict[str, Any]:
        """Join and give the reply's payload."""
        if token is not None:
            params["_recovery"] = token
        ref = str(next(self._refs))
        self.join_refs[topic] = ref
        await self.send(topic, "phx_join", params, ref=ref, join_ref=ref)
        return await self.reply()

    async def push(self, event: str, payload: Any = None, *, topic: str = TOPIC) -> dict[str, Any]:
        """Push an event and give the reply's payload."""
        await self.cast(event, payload, topic=topic)
        return await self.reply()

    async def cast(self, event: str, payload: Any = None, *, topic: str = TOPIC) -> None:
        """Push an event without waiting."""
        payload = {} if payload is None else payload
        ref = str(next(self._refs))
        await self.send(topic, event, payload, ref=ref, join_ref=self.join_refs.get(topic))

    async def reply(self) -> dict[str, Any]:
        frame = await self.hear()
        assert frame["event"] == "phx_reply", frame
        payload: dict[str, Any] = frame["payload"]
        return payload


@asynccontextmanager
async def connected(
    consumer: Any, manager: RecoveryManager, *, shape: str = V2, **scope: Any
) -> AsyncIterator[Client]:
    """Connect to a consumer class, or an ASGI application, and disconnect in the end."""
    app = consumer.as_asgi() if hasattr(consumer, "as_asgi") else consumer
    communicator = WebsocketCommunicator(app, "/ws/websocket")
    communicator.scope.update(cast(Any, {**scope, "recovery": manager}))
    is_connected, _ = await communicator.connect(timeout=5)
    assert is_connected
    try:
        yield Client(communicator, shape)
    finally:
        await communicator.disconnect(timeout=5)


def recovery_of(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the `_recovery` part of a join's reply."""
    assert reply["status"] == "ok", reply
    part: dict[str, Any] = reply["response"]["_recovery"]
    return part


async def rejoin(client: Client, token: str | None, topic: str = TOPIC) -> dict[str, Any]:
    """Join again on the same connection, and return the reply's payload."""
    ref = client.join_refs[topic] = "again"
    await client.send(topic, "phx_join", {"_recovery": token}, ref=ref, join_ref=ref)
    while (frame := await client.hear())["ref"] != ref or frame["event"] != "phx_reply":
        pass
    payload: dict[str, Any] = frame["payload"]
    return payload
