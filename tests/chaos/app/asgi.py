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

flaws.have(os.environ.get("CHAOS_FLAW"))


class Ledger(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A record of all events, which shows any that are lost, repeated or out of order.

    ``runs`` are the ranges ``[first, last]`` of consecutive numbers; ``chain`` is a hash over all
    payloads. ``handled`` are the ids of the groups' messages, in order, with a ``-`` where some
    were missed. ``told`` is the number of pushes.
    """

    recovery_topics = ("ledger",)
    recovery_fields = ("runs", "chain", "handled", "told")
    recovery_save_interval = float(os.environ.get("CHAOS_SAVE_INTERVAL", "0"))

    runs: list[list[int]]
    chain: str
    handled: str
    told: int

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.runs, self.chain, self.handled, self.told = [], "", "", 0
        for group in params.get("groups", []):
            await self.join_group(group)
        return self.summary()

    async def after_recover(self, takeover: Takeover) -> dict[str, Any]:
        return self.summary()

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        """Record the event; raise if it is named ``fail``."""
        number = payload["number"]
        self.record(number)
        self.chain = hashlib.sha256(f"{self.chain} {payload}".encode()).hexdigest()[:16]
        await self.tell()
        if event == "fail":
            raise RuntimeError(f"event {number} is meant to fail")
        return {"number": number, "chain": self.chain}

    async def note_posted(self, message: dict[str, Any]) -> None:
        """Handle a group's message."""
        self.handled += f" {message['id']}"
        await self.tell()

    async def missed_messages(self, group: str) -> None:
        self.handled += " -"

    async def tell(self) -> None:
        """Push the number of this push."""
        self.told += 1
        await self.push("told", {"n": self.told})

    def record(self, number: int) -> None:
        """Add a number to the last range, or start another."""
        if self.runs and self.runs[-1][1] == number - 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])

    def summary(self) -> dict[str, Any]:
        """Return all numbers and the hash."""
        applied = [number for first, last in self.runs for number in range(first, last + 1)]
        handled = [None if each == "-" else each for each in self.handled.split()]
        return {"applied": applied, "chain": self.chain, "handled": handled, "told": self.told}


ledger: Any = Ledger.as_asgi()
routes: list[Any] = [path("ws/websocket", ledger)]
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": URLRouter(routes),
    }
)
