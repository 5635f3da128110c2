"""The chat and the dashboard of the demo in Chromium: what is missed comes once and in order."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from tests.browser.desk import Desk, Monitor
from tests.browser.test_demo import PHONE
from tests.support.asgi import AsgiServer, manage

SCREEN = {"viewport": {"width": 1280, "height": 900}}
NUMBERS = [f"Line {number}" for number in range(1, 21)]


class Chat(Desk):
    """A tab with a chat room."""

    async def say(self, *lines: str) -> None:
        for line in lines:
            await self.page.get_by_label("Your line").fill(line)
            await self.button("Send").click()

    async def shows(self, *lines: str) -> None:
        """Wait until these are all the lines, in this order."""
        await expect(self.page.locator("#log .text")).to_have_text(list(lines))


class Dashboard(Desk):
    """A tab with the orders."""

    async def numbers(self) -> tuple[int, int, int, float]:
        """Return the numbers of the first and the last order, how many were counted, the sum."""
        words = (await self.page.locator("#complete").inner_text()).split()
        assert words[5] == "of", words
        revenue = (await self.page.locator("#revenue").inner_text()).replace(",", "")
        return int(words[1]), int(words[3].rstrip(":")), int(words[4]), float(revenue)


@asynccontextmanager
async def visiting(chromium: Browser, page: Any, url: str, **options: Any) -> AsyncIterator[Any]:
    """Open a page in a browser context of its own, in which no error may happen."""
    async with await chromium.new_context(**{**SCREEN, **options}) as context:
        monitor = Monitor(context)
        opened = await page(await context.new_page(), url).open()
        yield opened
        assert monitor.errors == []


async def test_who_is_offline_gets_each_line_once_and_in_order(
    chromium: Browser, server: AsgiServer
) -> None:
    url = f"{server.url}/chat/"
    async with visiting(chromium, Chat, url) as ada, visiting(chromium, Chat, url) as grace:
        await ada.say("Hello")
        await grace.shows("Hello")
        await grace.stay_offline(True)
        await grace.is_cut()
        await grace.say("Written offline")
        await expect(grace.page.locator("#waiting .text")).to_have_text(["Written offline"])
        await ada.say(*NUMBERS[:10])
        await ada.shows("Hello", *NUMBERS[:10])
        server.kill()
        # Of these, the server gets nothing before it is back.
        await ada.say(*NUMBERS[10:])
        server.start()
        await ada.shows("Hello", *NUMBERS)
        await grace.stay_offline(False)
        await grace.shows("Hello", *NUMBERS, "Written offline")
        late = grace.page.locator("#log .said:has(.late:visible) .text")
        await expect(late).to_have_text(NUMBERS)
        await ada.shows("Hello", *NUMBERS, "Written offline")
        await expect(grace.page.locator("#waiting .text")).to_have_count(0)
        await expect(grace.timeline).to_contain_text("Caught up with 20 lines")
        for chat in (ada, grace):
            await chat.page.reload()
            await chat.had("recovered")
            await chat.shows("Hello", *NUMBERS, "Written offline")


async def test_who_is_writing_is_shown_to_the_others_in_the_room(
    chromium: Browser, shared_server: AsgiServer
) -> None:
    url = f"{shared_server.url}/chat/writing/"
    async with visiting(chromium, Chat, url) as ada, visiting(chromium, Chat, url) as grace:
        await ada.page.get_by_label("Your name").fill("Ada")
        await ada.page.get_by_label("Your line").press_sequentially("Dear")
        await expect(grace.page.locator("#writing")).to_have_text("Ada is writing…")
        await expect(ada.page.locator("#writing")).to_be_empty()
        await ada.page.get_by_label("Your line").press("Enter")
        await grace.shows("Dear")
        await expect(grace.page.locator("#writing")).to_be_empty()
        await ada.page.goto(f"{shared_server.url}/chat/Other_2/")
        await ada.is_connected()
        await ada.say("In another room")
        await ada.shows("In another room")
        await grace.shows("Dear")


async def test_each_order_is_counted_once(
    chromium: Browser, server: AsgiServer, tmp_path: Path
) -> None:
    url = f"{server.url}/dashboard/"
    async with visiting(chromium, Dashboard, url) as shop:
        await expect(shop.page.locator("#count")).not_to_have_text("0")
        await shop.cut()
        await shop.stay_offline(True)
        # From another process, which the server's pages hear of.
        manage("receive_orders", "20", data=tmp_path / "demo")
        server.kill()
        server.start()
        manage("receive_orders", "5", data=tmp_path / "demo")
        await shop.stay_offline(False)
        await shop.had("recovered")
        await expect(shop.timeline).to_contain_text("Caught up with")
        with closing(sqlite3.connect(tmp_path / "demo/demo.sqlite3")) as database:
            ((newest,),) = database.execute("SELECT max(id) FROM example_project_order")
            while (found := await shop.numbers())[1] < newest:
                await shop.page.wait_for_timeout(50)
            first, last, count, revenue = found
            asked = (
                "SELECT count(*), sum(cents) FROM example_project_order WHERE id BETWEEN ? AND ?"
            )
            ((orders, cents),) = database.execute(asked, (first, last))
        assert count == orders == last - first + 1 >= 26
        assert revenue == cents / 100
        listed = await shop.page.locator("#latest .number").all_inner_texts()
        places = list(map(int, listed))
        assert places == list(range(places[0], places[0] - len(places), -1))


async def test_a_phone_scrolls_in_one_direction_only(
    chromium: Browser, shared_server: AsgiServer, tmp_path: Path
) -> None:
    async with visiting(chromium, Desk, shared_server.url, **PHONE) as desk:
        for name in ("Chat", "Dashboard"):
            await desk.page.get_by_role("link", name=name).click()
            await desk.page.wait_for_url(f"**/{name.lower()}/")
            await desk.is_connected()
            await desk.cut()
            assert await desk.page.evaluate("document.documentElement.scrollWidth") == 375
            await desk.page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
