"""Fixtures for the page of the demo."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.desk import Desk, Monitor
from tests.support.asgi import AsgiServer
from tests.support.tabs import Tab
from tests.support.webdriver import RUNNERS, require_browser
from tests.support.webdriver import Browser as OtherBrowser

VIEWPORT = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def shared_server(
    migrated_demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AsgiServer]:
    """Return the demo on uvicorn, shared by the tests that don't stop it."""
    data = shutil.copytree(migrated_demo, tmp_path_factory.mktemp("shared") / "demo")
    with AsgiServer(data=data) as server:
        yield server


@pytest.fixture
def server(asgi_server: Callable[..., AsgiServer]) -> AsgiServer:
    """Return the demo on uvicorn, for one test that may kill it."""
    return asgi_server()


@asynccontextmanager
async def open_desk(chromium: Browser, url: str, **options: Any) -> AsyncIterator[Desk]:
    """Open the page in a new context; check for errors, and for tokens in URLs."""
    async with await chromium.new_context(**{"viewport": VIEWPORT, **options}) as context:
        monitor = Monitor(context)
        yield await Desk(await context.new_page(), url).open()
        tokens = [await Desk(page, url).token() for page in context.pages]
        assert monitor.errors == []
        assert len(monitor.urls) >= 5
        assert not [
            url for url in monitor.urls if "_recovery" in url or any(t in url for t in tokens)
        ]


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    chromium: Browser, shared_server: AsgiServer, request: pytest.FixtureRequest
) -> AsyncIterator[Desk]:
    """Return a tab with the page; parametrize it with options of the browser context."""
    async with open_desk(chromium, shared_server.url, **getattr(request, "param", {})) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="session")
async def own_desk(chromium: Browser, server: AsgiServer) -> AsyncIterator[Desk]:
    """Return a tab with the page of this test's own server."""
    async with open_desk(chromium, server.url) as desk:
        yield desk


# Other browsers, by WebDriver


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask for the browser that the test needs before it is started."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "browser" in callspec.params:
        require_browser(callspec.params["browser"])


@pytest.fixture(scope="session", params=sorted(RUNNERS))
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OtherBrowser]:
    """Return Firefox and WebKit in turn, each started once."""
    with RUNNERS[request.param](tmp_path_factory.mktemp(request.param)) as browser:
        yield browser


@pytest.fixture
def tab(browser: OtherBrowser) -> Iterator[Tab]:
    """Return a new tab in each browser. All that the test has opened are closed after it."""
    tab = browser.new_tab()
    others = [sibling for sibling in tab.siblings() if sibling != tab]
    yield tab
    for sibling in tab.siblings():
        if sibling not in others:
            sibling.close()
