"""Pages whose memory goes back in time, in a real browser with a back/forward cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright, expect

from tests.browser.desk import Desk
from tests.support import browser
from tests.support.asgi import AsgiServer

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOTE_WAKING = "addEventListener('pageshow', (event) => (window.slept = event.persisted))"


@pytest_asyncio.fixture(loop_scope="session")
async def caching_chromium() -> AsyncIterator[Browser]:
    """Return a Chromium that keeps pages in its back/forward cache."""
    async with async_playwright() as playwright:
        chromium = await browser.launch(playwright, caches_pages=True)
        yield chromium
        await chromium.close()


@asynccontextmanager
async def opened(chromium: Browser) -> AsyncIterator[BrowserContext]:
    async with await chromium.new_context() as context:
        await context.add_init_script(NOTE_WAKING)
        yield context


async def test_the_page_before_has_what_the_page_after_it_has_done(
    caching_chromium: Browser, shared_server: AsgiServer
) -> None:
    async with opened(caching_chromium) as context:
        desk = await Desk(await context.new_page(), shared_server.url).open()
        await desk.field("Customer").fill("Ann")
        await desk.is_saved()
        await desk.page.goto(f"{shared_server.url}?next")
        await desk.had("recovered")
        await desk.field("Discount in %").fill("10")
        await desk.is_saved()
        form = await desk.form()
        await desk.page.go_back(wait_until="commit")
        assert await desk.page.evaluate("window.slept")
        await desk.had("recovered")
        await expect(desk.field("Discount in %")).to_have_value("10")
        assert await desk.form() == form
        await desk.field("Discount in %").fill("20")
        await desk.is_saved()
        # Forward again, and the same holds for the other page.
        await desk.page.go_forward(wait_until="commit")
        assert await desk.page.evaluate("window.slept")
        await desk.had("recovered")
        await expect(desk.field("Discount in %")).to_have_value("20")


async def test_what_the_page_before_had_kept_is_applied_once_and_not_told_as_lost(
    caching_chromium: Browser, shared_server: AsgiServer
) -> None:
    async with opened(caching_chromium) as context:
        desk = await Desk(await context.new_page(), shared_server.url).open()
        await desk.page.locator("#stay-offline").check(force=True)
        await desk.is_cut()
        await desk.button("Add a line").click()
        await desk.field("Discount in %").fill("10")
        await desk.page.goto(f"{shared_server.url}?next")
        await desk.had("recovered")
        await desk.is_saved()
        await expect(desk.items).to_have_count(2)
        await desk.page.go_back(wait_until="commit")
        assert await desk.page.evaluate("window.slept")
        await desk.page.locator("#stay-offline").uncheck(force=True)
        await desk.had("recovered")
        await desk.is_saved()
        await expect(desk.items).to_have_count(2)
        assert "lost" not in await desk.timeline.inner_text()
