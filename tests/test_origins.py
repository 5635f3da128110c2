"""Which pages may connect: the check of ``Origin``, by a communicator and on real servers."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any, cast

import pytest
from channels.testing import WebsocketCommunicator
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from recovery_app.middleware import RecoveryMiddlewareStack
from recovery_app.origins import OriginMiddleware, foreign_origin_warning
from tests.consumers.apps import Counter
from tests.support.asgi import COMMANDS, AsgiServer

HOST = "app.example.com"
PLAIN: Any = Counter.as_asgi()


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.ALLOWED_HOSTS = [HOST]
    settings.CSRF_TRUSTED_ORIGINS = []
    settings.DEBUG = False


async def connects(
    *origins: str, host: str = HOST, application: Any = None, **headers: str
) -> bool:
    """Return whether a page of an origin may connect to the host."""
    given = [(b"host", host.encode()), *((b"origin", each.encode()) for each in origins)]
    given += [(name.replace("_", "-").encode(), each.encode()) for name, each in headers.items()]
    application = application or RecoveryMiddlewareStack(PLAIN)
    communicator = WebsocketCommunicator(application, "/ws/", given)
    connected, _ = await communicator.connect()
    if connected:
        await communicator.disconnect()
    return bool(connected)


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://app.example.com",
        "https://APP.example.com:8443",
    ],
)
async def test_page_of_an_allowed_host_connects(origin: str) -> None:
    assert await connects(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "https://example.com",
        "https://app.example.com.evil.org",
        "https://app.example.com@evil.org",
        "null",
        "",
        "app.example.com",
        "file://",
        "https://[",
        "https://evil.org:99999",
        "https://evil.org:port",
    ],
)
async def test_page_of_a_sibling_or_no_origin_is_denied(origin: str) -> None:
    assert not await connects(origin)


async def test_two_origins_are_none() -> None:
    assert not await connects("https://app.example.com", "https://evil.example.com")


async def test_no_browser_connects() -> None:
    assert await connects()


@pytest.mark.parametrize(
    ("trusted", "origin", "expected"),
    [
        ("https://front.example.org", "https://front.example.org", True),
        ("https://front.example.org", "https://front.example.org:443", True),
        ("https://front.example.org", "http://front.example.org", False),
        ("https://front.example.org", "https://front.example.org:8443", False),
        ("https://front.example.org:8443", "https://front.example.org:8443", True),
        ("https://*.example.org", "https://any.example.org", True),
        ("https://*.example.org", "http://any.example.org", False),
        ("https://*.example.org", "https://example.org.evil.com", False),
    ],
)
async def test_trusted_origins_are_as_for_csrf(
    settings: Any, trusted: str, origin: str, expected: bool
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    assert await connects(origin) is expected
    settings.CSRF_TRUSTED_ORIGINS = []
    application = RecoveryMiddlewareStack(PLAIN, allowed_origins=[trusted])
    assert await connects(origin, application=application) is expected


async def test_any_host_is_not_any_origin(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert await connects("https://shop.test", host="shop.test")
    assert await connects("https://shop.test:8443", host="shop.test:8443")
    assert await connects("http://[::1]:8000", host="[::1]:8000")
    assert not await connects("https://evil.test", host="shop.test")
    assert not await connects("https://shop.test:9999", host="shop.test")
    assert not await connects("https://shop.test", host="shop test")


async def test_forwarded_host_counts_where_django_reads_it(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    forwarded = {"host": "10.0.0.1:8000", "x_forwarded_host": "shop.test"}
    assert not await connects("https://shop.test", **forwarded)
    settings.USE_X_FORWARDED_HOST = True
    assert await connects("https://shop.test", **forwarded)


async def test_name_of_an_attacker_that_resolves_here_is_denied(settings: Any) -> None:
    assert not await connects("http://evil.test:8000", host="evil.test:8000")
    settings.ALLOWED_HOSTS, settings.DEBUG = [], True
    assert not await connects("http://evil.test:8000", host="evil.test:8000")


async def test_localhost_is_allowed_in_development(settings: Any) -> None:
    settings.ALLOWED_HOSTS = []
    assert not await connects("http://localhost:5173", host="localhost:8000")
    settings.DEBUG = True
    assert await connects("http://localhost:5173", host="localhost:8000")
    assert await connects("http://shop.localhost:8000", host="shop.localhost:8000")
    assert not await connects("http://evil.localhost:8000", host="localhost:8000")


async def test_allowed_origins_replace_the_settings() -> None:
    application = RecoveryMiddlewareStack(PLAIN, allowed_origins=["https://partner.test"])
    assert await connects("https://partner.test", application=application)
    assert await connects("https://app.example.com", application=application)
    assert not await connects("https://app.example.com:8443", application=application)


@pytest.mark.parametrize("everything", ["*", ["*"]])
async def test_check_can_be_switched_off(everything: Any) -> None:
    application = RecoveryMiddlewareStack(PLAIN, allowed_origins=everything)
    assert await connects("https://evil.test", application=application)
    assert await connects("null", application=application)


async def test_settings_are_read_at_each_connection(settings: Any) -> None:
    application = RecoveryMiddlewareStack(PLAIN)
    assert not await connects("https://evil.example.com", application=application)
    settings.ALLOWED_HOSTS = [".example.com"]
    assert await connects("https://evil.example.com", application=application)


async def test_other_protocols_pass() -> None:
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "http", "headers": [(b"origin", b"https://evil.test")]}
    await OriginMiddleware(inner)(scope, None, None)
    assert seen == [scope]


# The log


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives the events that were logged."""
    monkeypatch.setattr(foreign_origin_warning, "is_given", False)
    caplog.set_level(logging.INFO, "recovery_app")
    return lambda: [record.event for record in caplog.records if "origin" in record.event]  # type: ignore[attr-defined]


async def test_consumer_without_the_check_warns_once(events: Any) -> None:
    assert await connects(application=PLAIN)
    assert await connects("https://app.example.com", application=PLAIN)
    assert events() == []
    assert await connects("https://evil.test", application=PLAIN)
    assert await connects("https://evil.test", application=PLAIN)
    assert events() == ["origin_unchecked"]


async def test_consumer_in_the_stack_warns_of_nothing(events: Any) -> None:
    open_to_all = RecoveryMiddlewareStack(PLAIN, allowed_origins="*")
    assert await connects("https://evil.test", application=open_to_all)
    assert events() == []


async def test_denied_page_is_logged_in_short(
    events: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await connects(f"https://evil.test\n{'x' * 10_000}")
    assert events() == ["origin_denied"]
    assert "\n" not in caplog.messages[-1]
    assert len(caplog.messages[-1]) < 300


# Real servers


@pytest.mark.parametrize("server", COMMANDS)
async def test_sibling_page_is_denied_by_a_real_server(server: str, tmp_path: Path) -> None:
    async def joins(origin: str | None) -> str:
        """Return the status of a join, or that of the denied handshake."""
        url = f"{running.ws_url}/gathering"
        try:
            async with connect(url, origin=cast(Origin | None, origin)) as connection:
                await connection.send(json.dumps({"event": "phx_join", "payload": {}}))
                reply = json.loads(await asyncio.wait_for(connection.recv(), 20))
                return str(reply["payload"]["status"])
        except InvalidStatus as error:
            return str(error.response.status_code)

    application = "tests.support.draining:undrained"
    with AsgiServer(server, data=tmp_path, application=application) as running:
        port = running.port
        outcomes = [
            await joins(origin)
            for origin in (
                None,
                f"http://127.0.0.1:{port}",
                f"http://evil.localhost:{port}",
                "https://evil.example.com",
                "null",
            )
        ]
    assert outcomes == ["ok", "ok", "403", "403", "403"]
