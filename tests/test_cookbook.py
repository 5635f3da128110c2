"""The recipes of ``docs/cookbook.md``, whose blocks are run as they stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.async_api import Page, expect

from tests.support.asgi import AsgiServer
from tests.support.shop import make_shop, run_pytest


def test_each_recipe_passes_its_test(tmp_path: Path) -> None:
    blocks = make_shop(tmp_path, "cookbook")
    tests = "".join(blocks.values()).count("def test_")
    assert tests >= 5
    run_pytest(tmp_path, tests=tests)


async def test_the_page_says_what_is_going_on(
    page: Page, asgi_server: Callable[..., AsgiServer]
) -> None:
    server = asgi_server(application="tests.support.cookbook_page:application")
    await page.goto(f"{server.url}/counter")
    output, words = page.locator("output"), page.locator("#words")
    await expect(output).to_contain_text("quote")
    await expect(words).to_be_empty()
    server.kill()
    await expect(words).to_have_text("Reconnecting… What you do is kept.")
    server.start()
    await expect(words).to_be_empty()
    await page.evaluate("sessionStorage.setItem(Object.keys(sessionStorage)[0], 'A'.repeat(64))")
    await page.reload()
    await expect(words).to_have_text("This page starts afresh: what it had is gone.")
