"""The application of the test of pushes and groups: a room that tells what is published."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from recovery_app import groups  # noqa: E402
from recovery_app.consumers import RecoveryConsumerMixin  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402


class Room(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Keep the numbers that were published, and tell each."""

    recovery_fields = ("seen",)

    async def mount(self, topic: str, params: Any) -> None:
        self.seen: list[int] = []
        await self.join_group("room")

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        if event == "publish":
            for number in payload["numbers"]:
                await groups.apublish("room", {"type": "number.published", "number": number})
        return {"seen": self.seen}

    async def number_published(self, message: dict[str, Any]) -> None:
        self.seen.append(message["number"])
        await self.push("number", {"number": message["number"]})


consumer: Any = Room.as_asgi()
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": RecoveryMiddlewareStack(
            # The npm client adds to the path that it is given.
            URLRouter([path(route, consumer) for route in ("room", "room/websocket")])
        ),
    }
)
