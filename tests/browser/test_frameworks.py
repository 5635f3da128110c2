"""The lists of ``docs/frameworks.md`` in React, Vue and Alpine, as they stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from playwright.async_api import Page, WebSocket, expect

from tests.browser.desk import Monitor
from tests.support.asgi import AsgiServer
from tests.support.browser import PATIENCE_MS
from tests.support.node import require_node, run_node

LISTS = ("#react form", "#vue form", "#list")
NAMES = ("react", "vue", "alpine")
PAGE = "tests.browser.frameworks_page:application"
CONNECTED = len(LISTS) + 1
"""One socket for each list, and one for the early one."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the files of the page, bundled."""
    require_node("esbuild", "react", "react-dom", "vue", "alpinejs")
    files = tmp_path_factory.mktemp("frameworks")
    run_node("tests/js/frameworks/build.js", files)
    return files


class Lists:
    """The page with all lists; each step is taken in all of them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.monitor = Monitor(page.context)
        self.sockets: list[WebSocket] = []
        page.on("websocket", self._record)

    def _record(self, socket: WebSocket) -> None:
        self.sockets.append(socket)

    async def have(self, *items: str) -> None:
        """Wait until each list has these items, and is connected."""
        for name, place in zip(NAMES, LISTS, strict=True):
            expected = [f"{item} of {name}" for item in items]
            await expect(self.page.locator(f"{place} li")).to_have_text(expected)
            await expect(self.page.locator(f"{place} [role=status]")).to_be_empty()

    async def add(self, item: str) -> None:
        for name, place in zip(NAMES, LISTS, strict=True):
            await self.page.locator(f"{place} input").fill(f"{item} of {name}")
            await self.page.locator(f"{place} button").click()

    async def say(self, words: str) -> None:
        """Wait until each list says this of its connection."""
        for place in ("#react", "#vue", "#list"):
            await expect(self.page.locator(f"{place} [role=status]")).to_contain_text(words)

    async def have_open_sockets(self, count: int) -> None:
        """Wait until so many sockets are open."""
        deadline = monotonic() + PATIENCE_MS / 1000
        while (found := sum(not socket.is_closed() for socket in self.sockets)) != count:
            assert monotonic() < deadline, f"{found} sockets are open"
            await self.page.wait_for_timeout(20)


async def test_a_killed_server_an_unmounted_component_and_a_reload_lose_nothing(
    page: Page, files: Path, asgi_server: Callable[..., AsgiServer]
) -> None:
    server = asgi_server(application=PAGE, env={"FRAMEWORKS": str(files)})
    lists = Lists(page)
    await page.goto(f"{server.url}/lists/")
    await lists.have()
    # StrictMode has closed the socket that this one was pushed to.
    await expect(page.locator("output")).to_have_text("early")
    await lists.add("tea")
    await lists.have("tea")
    server.kill()
    await lists.say("Reconnecting…")
    await lists.add("milk")
    await page.evaluate("unmountAll()")
    await expect(page.locator("form")).to_have_count(0)
    await page.evaluate("mountAll()")
    await lists.say("Connecting")
    server.start()
    await lists.have("tea", "milk")
    await lists.add("bread")
    await lists.have("tea", "milk", "bread")
    await expect(page.locator("output")).to_have_text("early,early")
    await lists.have_open_sockets(CONNECTED)
    lists.sockets.clear()
    await page.reload()
    await lists.have("tea", "milk", "bread")
    await expect(page.locator("output")).to_have_text("early,early,early")
    await lists.have_open_sockets(CONNECTED)
    await page.evaluate("unmountAll()")
    await lists.have_open_sockets(0)
    # A component that is unmounted while it connects closes what isn't open yet.
    unfinished = "WebSocket is closed before the connection is established"
    assert [error for error in lists.monitor.errors if unfinished not in error] == []
