"""The application of the drain's tests: states that are held back, sockets of each kind."""

import asyncio
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.generic.websocket import (  # noqa: E402
    AsyncJsonWebsocketConsumer,
    JsonWebsocketConsumer,
)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from recovery_app import groups  # noqa: E402
from recovery_app.consumers import RecoveryConsumerMixin, SyncRecoveryConsumerMixin  # noqa: E402
from recovery_app.drain import RecoveryDrain  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402

GROUP = "everybody"
BEGAN = "A handler that takes its time began."
SECONDS = float(os.environ.get("DRAIN_SECONDS", "3"))
IS_BROKEN = os.environ.get("BROKEN_RESTORE") == "1"
"""Whether the code can't restore what it has stored."""
GRACE_SECONDS = float(os.environ.get("DRAIN_GRACE_SECONDS", "5"))


class Gathering(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Count, and hold every save back for longer than any test takes."""

    recovery_fields = ("count",)
    recovery_save_interval = 600
    recovery_version = int(os.environ.get("STATE_VERSION", "0"))

    async def mount(self, topic: str, params: Any) -> None:
        self.count = 0

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        if IS_BROKEN:
            raise RuntimeError("a bug of a deploy")
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        if "seconds" in payload:
            print(BEGAN, flush=True)
            await asyncio.sleep(payload["seconds"])
        self.count += 1
        return {"count": self.count}


class Counting(Gathering):
    """Count, and save after each event."""

    recovery_save_interval = 0


class Member(Counting):
    """The same in a durable group, whose messages count too."""

    async def mount(self, topic: str, params: Any) -> None:
        await super().mount(topic, params)
        await self.join_group(GROUP)

    async def group_told(self, message: Any) -> None:
        self.count += 1


class Publishing(Counting):
    """The same, not in the group, to which an event publishes so many hundreds of messages."""

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        for _ in range(payload.get("hundreds", 0)):
            publishing = (groups.apublish(GROUP, {"type": "group.told"}) for _ in range(100))
            await asyncio.gather(*publishing)
        return await super().handle_event(event, payload)


class Hanging(Counting):
    """Never answer a handshake, as over a database that never answers."""

    async def connect(self) -> None:
        await asyncio.Event().wait()


class KeptGathering(Gathering):
    """The same, and a login takes it along."""

    recovery_keep_on_login = True


class SyncGathering(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    """The same from a sync consumer."""

    recovery_fields = ("count",)
    recovery_save_interval = 600

    def mount(self, topic: str, params: Any) -> None:
        self.count = 0

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        return {"count": self.count}

    def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count}


consumers: dict[str, Any] = {
    "gathering": Gathering.as_asgi(),
    "counting": Counting.as_asgi(),
    "member": Member.as_asgi(),
    "publishing": Publishing.as_asgi(),
    "hanging": Hanging.as_asgi(),
    "kept": KeptGathering.as_asgi(),
    "sync": SyncGathering.as_asgi(),
}
undrained = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": RecoveryMiddlewareStack(
            URLRouter([path(route, consumer) for route, consumer in consumers.items()])
        ),
    }
)
application = RecoveryDrain(undrained, seconds=SECONDS, grace_seconds=GRACE_SECONDS)
