"""Own the consumers: the quote editor's, and one that speaks to the npm LiveView client."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from example_project import quotes
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.values import Takeover

Reply = dict[str, Any]


class PhoenixConsumer(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Accept as Phoenix does: its npm client sends an ``authToken`` as a subprotocol."""

    async def connect(self) -> None:
        """Take the connection."""
        offered = self.scope.get("subprotocols", [])
        await self.accept("phoenix" if "phoenix" in offered else None)


class QuoteConsumer(PhoenixConsumer):
    """Hold the quote of one tab. All that makes it survive is `recovery_fields`."""

    recovery_topics = ("quote",)
    recovery_fields = ("quote",)

    quote: quotes.Quote

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Start a fresh quote."""
        self.quote = quotes.new()
        return self.render()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Show the quote that came back."""
        return self.render()

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Change the quote as the page says."""
        if isinstance(payload, dict):
            quotes.apply(self.quote, event, payload)
        return self.render()

    def render(self) -> Reply:
        """Give the page all that it shows."""
        return {"quote": quotes.present(self.quote)}


class LiveConsumer(PhoenixConsumer):
    """Hold a list that the npm LiveView client renders, from Phoenix's own kind of diffs."""

    recovery_topics = ("lv:*",)
    recovery_fields = ("names",)

    names: list[str]

    async def mount(self, topic: str, params: Reply) -> Reply:
        """Start with nobody on the list."""
        self.names = []
        return self.rendered()

    async def after_recover(self, takeover: Takeover) -> Reply:
        """Render the list that came back."""
        return self.rendered()

    async def handle_event(self, event: str, payload: Any) -> Reply:
        """Take an event of LiveView: ``{"type", "event", "value"}``; reply with a diff."""
        if event == "event" and isinstance(payload, dict) and payload.get("event") == "add":
            self.names.append(f"Guest {len(self.names) + 1}")
        return {"diff": self.dynamics()}

    def rendered(self) -> Reply:
        """Give the whole page: its statics, and what goes between them."""
        button = '<button id="add" type="button" phx-click="add">Add a guest</button>'
        statics = ['<p id="count">', '</p><ul id="guests">', f"</ul>{button}"]
        return {"rendered": {**self.dynamics(), "s": statics}, "liveview_version": "1.2.12"}

    def dynamics(self) -> Reply:
        """Give what changes."""
        entries = "".join(f"<li>{name}</li>" for name in self.names)
        return {"0": str(len(self.names)), "1": entries}
