"""The WebSocket of a page, with messages changed on their way."""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import Page, WebSocketRoute

TOO_LARGE = 1009
SKIP_TIME = """
    const now = performance.now.bind(performance);
    let skippedMs = 0;
    performance.now = () => now() + skippedMs;
    window.skip = (ms) => (skippedMs += ms);
"""
LOST = ("expired", "not_found", "superseded", "rejected", "failed", "version", "unavailable")
"""The outcomes with which a page that shows a token gets a fresh state."""
UNLIKE = ("expired", "failed", "unavailable")
"""Those of them that a client treats in ways of their own."""


class Wire:
    """What lies between one page and its server. `install` it before the page is opened."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.outcome: str | None = None
        """The outcome of the joins from now on."""
        self.refused: str | None = None
        """A text: the events that contain it get an error as reply."""
        self.too_large: str | None = None
        """A text: a message that contains it closes the connection with 1009."""
        self._refs: set[str] = set()

    async def install(self) -> None:
        await self._page.add_init_script(SKIP_TIME)
        await self._page.route_web_socket("**/ws/**", self._connect)

    async def skip(self, seconds: float) -> None:
        """Let time pass for what the page measures."""
        await self._page.evaluate("(ms) => window.skip(ms)", seconds * 1000)

    def _connect(self, page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        page.on_message(lambda text: self._to_server(page, server, text))
        server.on_message(lambda text: page.send(self._to_page(text)))

    def _to_server(self, page: WebSocketRoute, server: WebSocketRoute, text: Any) -> Any:
        frame = json.loads(text)
        if self.too_large and self.too_large in text:
            return page.close(code=TOO_LARGE)
        if self.refused and self.refused in text:
            self._refs.add(frame[1])
        if frame[3] == "phx_join" and self.outcome in LOST:
            frame[4].pop("_recovery", None)
        return server.send(json.dumps(frame))

    def _to_page(self, text: Any) -> str:
        frame = json.loads(text)
        reply = frame[4].get("response") or {}
        if frame[1] in self._refs:
            frame[4] = {"status": "error", "response": {"reason": "event crashed"}}
        if self.outcome and "outcome" in (told := reply.get("_recovery") or {}):
            told["outcome"] = self.outcome
        return json.dumps(frame)
