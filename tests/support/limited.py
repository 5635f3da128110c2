"""The application that the tests of limits attack."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from recovery_app.consumers import RecoveryConsumerMixin  # noqa: E402
from recovery_app.drain import RecoveryDrain  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402


class Page(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Count, and reply as much as is asked for."""

    recovery_fields = ("count",)

    async def mount(self, topic: str, params: Any) -> None:
        self.count = 0

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        if event == "break":
            raise RuntimeError("a handler that fails")
        return {"count": self.count, "text": "x" * payload.get("bytes", 0)}


page: Any = Page.as_asgi()
application = RecoveryDrain(
    ProtocolTypeRouter(
        {
            "http": get_asgi_application(),
            "websocket": RecoveryMiddlewareStack(URLRouter([path("page", page)])),
        }
    )
)
