"""The panel of django-debug-toolbar: what it says of the sockets that a page has opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest.mock import Mock

import pytest
from django.conf import settings
from django.core.checks.registry import registry
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import include, path

from recovery_app._core.spans import tracing
from recovery_app.signals import observers
from recovery_app.testing import FailingStorage, RecoveryCommunicator, temporary_manager
from tests.consumers.apps import Counter

TOPIC = "lv:counter"
BROWSER = "A browser"
ADDRESS = "10.0.0.1"


def page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("<html><body>A page</body></html>")


class Urls:
    """URLs of a page and of the toolbar, whose models can't be imported before it is installed."""

    @cached_property
    def urlpatterns(self) -> list[Any]:
        return [path("", page), path("__debug__/", include("debug_toolbar.urls"))]


@pytest.fixture(autouse=True)
def no_checks_of_the_toolbar_stay() -> Iterator[None]:
    """Take back the system checks that the toolbar registers: without its app they raise."""
    before = set(registry.registered_checks)
    yield
    registry.registered_checks.intersection_update(before)


@pytest.fixture(autouse=True)
def toolbar(no_checks_of_the_toolbar_stay: None) -> Iterator[None]:
    """Install the toolbar with the panel, as a project does."""
    with (
        override_settings(
            DEBUG_TOOLBAR_PANELS=["recovery_app.debug_panel.RecoveryPanel"],
            DEBUG_TOOLBAR_CONFIG={"SHOW_TOOLBAR_CALLBACK": lambda _request: True},
            MIDDLEWARE=[
                "debug_toolbar.middleware.DebugToolbarMiddleware",
                *settings.MIDDLEWARE,
            ],
        ),
        override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "debug_toolbar"]),
        override_settings(ROOT_URLCONF=Urls()),
        temporary_manager(),
    ):
        from recovery_app.debug_panel import recorder

        recorder.clear()
        yield
        observers.remove(recorder)
        tracing.remove("debug_panel")


def connect(agent: str = BROWSER, **options: Any) -> RecoveryCommunicator:
    scope = {"client": [ADDRESS, 5000], "path": "/ws/counter/"}
    return RecoveryCommunicator(Counter, scope=scope, headers={"user-agent": agent}, **options)


def client() -> Client:
    return Client(headers={"user-agent": BROWSER}, REMOTE_ADDR=ADDRESS)


def open_page() -> str:
    """Return the id that the toolbar gives to the page's request."""
    found = re.search(r'data-request-id="([^"]+)"', client().get("/").text)
    assert found is not None
    return found[1]


def open_panel(request_id: str) -> str:
    """Return what the panel shows, as text."""
    data = {"request_id": request_id, "panel_id": "RecoveryPanel"}
    content: str = client().get("/__debug__/render_panel/", data).json()["content"]
    return " ".join(re.sub(r"<[^>]*>", " ", content).split())


async def test_a_page_that_joins_saves_and_comes_back() -> None:
    request_id = open_page()
    assert open_panel(request_id).endswith("Since this page was rendered None.")
    async with connect() as browser:
        await browser.join(TOPIC)
        for _ in range(3):
            await browser.push("add", {})
        assert re.search(
            r"/ws/counter/ open lv:counter new [\d.]+ ms 4 0 [\d.]+ ms \d+.bytes",
            open_panel(request_id),
        )
        await browser.drop()
        await browser.come_back()
    shown = open_panel(request_id)
    assert re.search(r"/ws/counter/ closed lv:counter recovered [\d.]+ ms 0 0", shown)
    assert shown.index("recovered") < shown.index("new")
    token = browser.token()
    assert token is not None
    assert token not in shown


async def test_other_browsers_are_not_shown() -> None:
    request_id = open_page()
    async with connect("Another browser") as browser:
        await browser.join(TOPIC)
        assert open_panel(request_id).endswith("None.")


async def test_connections_of_the_page_before_are_apart() -> None:
    async with connect() as browser:
        await browser.join(TOPIC)
        shown = open_panel(open_page())
    assert "None. Before" in shown
    assert shown.index("Before") < shown.index(TOPIC)


async def test_each_topic_of_a_connection_has_a_line() -> None:
    request_id = open_page()
    async with connect() as browser:
        await browser.join(TOPIC)
        await browser.join("room:1")
        await browser.push("add", {}, topic="room:1")
        assert (await browser.join("room:2", {"refuse": True})).status == "error"
        shown = open_panel(request_id)
    assert re.search(r"lv:counter new [\d.]+ ms 1 0 .* room:1 new [\d.]+ ms 2 0 ", shown)
    assert "room:2 refused" in shown


async def test_failed_saves_are_counted() -> None:
    storage = FailingStorage()
    with temporary_manager(storage=storage):
        request_id = open_page()
        async with connect() as browser:
            await browser.join(TOPIC)
            with storage.failing():
                await browser.push("add", {})
            assert re.search(r"lv:counter new [\d.]+ ms 1 1 ", open_panel(request_id))


async def test_a_connection_that_joins_nothing() -> None:
    request_id = open_page()
    async with connect():
        assert open_panel(request_id).endswith("/ws/counter/ open Nothing was joined.")


async def test_what_is_kept_is_bounded() -> None:
    request_id = open_page()
    for _ in range(60):
        async with connect():
            pass
    assert open_panel(request_id).count("Nothing was joined.") == 50


async def test_other_tracers_get_their_spans_too() -> None:
    spans: list[str] = []

    class Tracer:
        def is_recording(self) -> bool:
            return True

        @contextmanager
        def open(self, name: str) -> Iterator[Any]:
            spans.append(name)
            yield Mock()

    tracing.add("another", Tracer())
    try:
        request_id = open_page()
        async with connect() as browser:
            await browser.join(TOPIC)
            assert "lv:counter new" in open_panel(request_id)
    finally:
        tracing.remove("another")
    assert "recovery.join" in spans
