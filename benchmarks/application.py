"""The applications that the servers run, as factories for uvicorn.

Their environment says which storage to use: `BENCH_REDIS_URL` for Redis, else the memory.
"""

# ruff: noqa: PLC0415 - Django is configured first

from __future__ import annotations

import os
from typing import Any

LIVE, PLAIN = "/live", "/plain"
STATE = {"count": 7, "items": ["x" * 40] * 3, "note": "y" * 120}


def make_bare() -> Any:
    """Return a function that echoes each text, and does nothing else."""
    return echo


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket and return what it sends."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def configure(*, with_app: bool = True) -> None:
    """Set up Django for one server or for a benchmark's own process.

    Without the app nothing is counted: metrics and tracing start with it.
    """
    import django
    from django.conf import settings

    layer: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    layer_url = os.environ.get("BENCH_LAYER_URL")
    if layer_url:
        # Since redis-py 8 its own time limit is that of the layer's blocking read.
        hosts = [{"address": layer_url, "socket_timeout": None}]
        backend = "channels_redis.core.RedisChannelLayer"
        layer = {"default": {"BACKEND": backend, "CONFIG": {"hosts": hosts}}}
    settings.configure(
        SECRET_KEY="the secret of the benchmarks, as long as a real one",
        INSTALLED_APPS=["channels", *(["recovery_app"] if with_app else [])],
        CHANNEL_LAYERS=layer if layer_url or os.environ.get("BENCH_LAYER") else {},
        RECOVERY={"STORAGE": storage_setting()},
    )
    django.setup()


def storage_setting() -> dict[str, Any]:
    """Return the storage that the environment asks for."""
    url = os.environ.get("BENCH_REDIS_URL")
    if url:
        return {"BACKEND": "recovery_app.storages.RedisStorage", "OPTIONS": {"url": url}}
    return {
        "BACKEND": "recovery_app.storages.MemoryStorage",
        "OPTIONS": {"max_entries": 1_000_000},
    }


def make_application() -> Any:
    """Return an application with both consumers."""
    configure()
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    live, plain = make_consumers()
    routes = [path(LIVE[1:], live.as_asgi()), path(PLAIN[1:], plain.as_asgi())]
    return ProtocolTypeRouter({"websocket": URLRouter(routes)})


def make_consumers() -> tuple[Any, Any]:
    """Return the consumer with recovery and the plain one."""
    from channels.generic.websocket import AsyncJsonWebsocketConsumer

    from recovery_app.consumers import RecoveryConsumerMixin

    class Plain(AsyncJsonWebsocketConsumer):
        """What an application without recovery has: Channels, and nothing else."""

        async def receive_json(self, content: Any, **_: Any) -> None:
            join_ref, ref, topic, _event, _payload = content
            reply = {"status": "ok", "response": {}}
            await self.send_json([join_ref, ref, topic, "phx_reply", reply])

    class Live(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        """A page with a state of 300 bytes, which each event changes."""

        recovery_fields = tuple(STATE)

        async def mount(self, topic: str, params: dict[str, Any]) -> None:
            self.count, self.items, self.note = STATE.values()

        async def handle_event(self, event: str, payload: Any) -> None:
            self.count += 1

    return Live, Plain
