"""The application: a consumer that records the number of each event that it applies."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.app.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from recovery_app.consumers import RecoveryConsumerMixin  # noqa: E402
from recovery_app.values import Takeover  # noqa: E402
from tests.chaos.app import flaws  # noqa: E402

flaws.apply(os.environ.get("CHAOS_FLAW"))


class Ledger(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A record of all events, which shows any that are lost, repeated or out of order.

    ``runs`` are the ranges ``[first, last]`` of consecutive numbers; ``chain`` is a hash over all
    payloads.
    """

    recovery_topics = ("ledger",)
    recovery_fields = ("runs", "chain")
    recovery_save_interval = float(os.environ.get("CHAOS_SAVE_INTERVAL", "0"))

    runs: list[list[int]]
    chain: str

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.runs, self.chain = [], ""
        return self.summary()

    async def after_recover(self, takeover: Takeover) -> dict[str, Any]:
        return self.summary()

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        """Record the event; raise if it is named ``fail``."""
        number = payload["number"]
        self.record(number)
        self.chain = hashlib.sha256(f"{self.chain} {payload}".encode()).hexdigest()[:16]
        if event == "fail":
            raise RuntimeError(f"event {number} is meant to fail")
        return {"number": number, "chain": self.chain}

    def record(self, number: int) -> None:
        """Add a number to the last range, or start another."""
        if self.runs and self.runs[-1][1] == number - 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])

    def summary(self) -> dict[str, Any]:
        """Return all numbers and the hash."""
        applied = [number for first, last in self.runs for number in range(first, last + 1)]
        return {"applied": applied, "chain": self.chain}


ledger: Any = Ledger.as_asgi()
routes: list[Any] = [path("ws/websocket", ledger)]
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": URLRouter(routes),
    }
)
