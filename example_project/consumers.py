"""The consumers of the quote editor and of the npm LiveView client."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from example_project import quotes
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.values import Takeover

Reply = dict[str, Any]


class PhoenixConsumer(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A base class that accepts the subprotocol of the npm client, as Phoenix does."""

    async def connect(self) -> None:
        offered = self.scope.get("subprotocols", [])
        await self.accept("phoenix" if "phoenix" in offered else None)


class QuoteConsumer(PhoenixConsumer):
    """The quote of one tab, which survives because it is in `recovery_fields`."""

    recovery_topics = ("quote",)
    recovery_fields = ("quote",)

    quote: quotes.Quote

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Return a new quote."""
        self.quote = quotes.new()
        return self.render()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Return the recovered quote."""
        return self.render()

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Apply a change to the quote."""
        if isinstance(payload, dict):
            quotes.apply(self.quote, event, payload)
        return self.render()

    def render(self) -> Reply:
        """Return everything that the page shows."""
        return {"quote": quotes.present(self.quote)}


class LiveConsumer(PhoenixConsumer):
    """A list of guests, sent to the npm LiveView client as Phoenix diffs."""

    recovery_topics = ("lv:*",)
    recovery_fields = ("names",)

    names: list[str]

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Return an empty list."""
        self.names = []
        return self.rendered()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Return the recovered list."""
        return self.rendered()

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Handle a LiveView event ``{"type", "event", "value"}``; return a diff."""
        if event == "event" and isinstance(payload, dict) and payload.get("event") == "add":
            self.names.append(f"Guest {len(self.names) + 1}")
        return {"diff": self.dynamics()}

    def rendered(self) -> Reply:
        """Return the whole page: its static and dynamic parts."""
        button = '<button id="add" type="button" phx-click="add">Add a guest</button>'
        statics = ['<p id="count">', '</p><ul id="guests">', f"</ul>{button}"]
        return {"rendered": {**self.dynamics(), "s": statics}, "liveview_version": "1.2.12"}

    def dynamics(self) -> Reply:
        """Return the dynamic parts."""
        entries = "".join(f"<li>{name}</li>" for name in self.names)
        return {"0": str(len(self.names)), "1": entries}
