"""The example on many nodes: a page is thrown from one to the other and loses nothing.

``THROWS=50`` makes a longer game of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.browser.desk import Desk
from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, TOP, Process
from tests.support.proxies import make_nginx
from tests.support.proxy import RoundRobin

THROWS = int(os.environ.get("THROWS", "12"))
PATIENCE_SECONDS = 60


async def thrown(desk: Desk, proxy: RoundRobin) -> None:
    """Break the page's connection off and wait until another one has recovered."""
    proxy.cut()
    await asyncio.wait_for(proxy.came_back.wait(), PATIENCE_SECONDS)
    await desk.had("recovered")


async def test_a_page_thrown_from_node_to_node_loses_nothing(
    page: Page, asgi_server: Callable[..., AsgiServer], redis_server: Process
) -> None:
    env = {"REDIS_URL": f"redis://{HOST}:{redis_server.port}/0"}
    nodes = [asgi_server(env=env) for _ in range(2)]
    async with RoundRobin([node.port for node in nodes]) as proxy:
        desk = await Desk(page, proxy.url).open()
        form = await desk.fill_in()
        served = []
        for number in range(THROWS):
            # Every other time the event is still on its way when the connection breaks.
            text = f"Written before throw {number}"
            await desk.field("Notes").fill(text)
            if number % 2:
                await desk.is_saved()
            await thrown(desk, proxy)
            served.append(proxy.given_to[-1])
            await desk.is_saved()
            form["values"][-1] = text
            assert await desk.form() == form
        assert all(first != second for first, second in pairwise(served))
        await page.reload()
        await desk.had("recovered")
        assert await desk.form() == form
        await expect(desk.timeline).not_to_contain_text("lost")
        await page.close()


async def test_a_node_may_die_for_good(
    page: Page, asgi_server: Callable[..., AsgiServer], redis_server: Process
) -> None:
    env = {"REDIS_URL": f"redis://{HOST}:{redis_server.port}/0"}
    first, second = (asgi_server(env=env) for _ in range(2))
    desk = await Desk(page, first.url).open()
    form = await desk.fill_in()
    items = await page.evaluate("({ ...sessionStorage })")
    first.kill()
    # The other has another address here, so the page takes its storage along by hand.
    await page.goto(f"{second.url}/static/example_project/icon.svg")
    await page.evaluate("(items) => Object.assign(sessionStorage, items)", items)
    await Desk(page, second.url).open()
    await desk.had("recovered")
    assert await desk.form() == form


async def join_with(token: str | None, port: int, cookie: str) -> dict[str, Any]:
    """Join the quote over a WebSocket as a page does; give what the reply says of recovery."""
    headers = {"Cookie": cookie}
    origin = Origin(f"http://{HOST}:{port}")
    url = f"ws://{HOST}:{port}/ws/websocket"
    async with connect(url, additional_headers=headers, origin=origin) as page:
        shown = {"_recovery": token} if token else {}
        await page.send(json.dumps(["1", "1", "quote", "phx_join", shown]))
        recovery: dict[str, Any] = json.loads(await page.recv())[4]["response"]["_recovery"]
        payload = {"field": "customer", "value": "Finch"}
        await page.send(json.dumps(["1", "2", "quote", "set_field", payload]))
        assert json.loads(await page.recv())[4]["status"] == "ok"
    return recovery


async def test_the_proxy_of_the_compose_file_carries_pages_and_websockets(
    asgi_server: Callable[..., AsgiServer], redis_server: Process, tmp_path: Path
) -> None:
    env = {"REDIS_URL": f"redis://{HOST}:{redis_server.port}/0"}
    nodes = [asgi_server(env=env) for _ in range(2)]
    with make_nginx(tmp_path / "nginx", nodes) as proxy:
        reply = await asyncio.to_thread(urllib.request.urlopen, f"http://{HOST}:{proxy.port}/")
        with reply:
            cookie = reply.headers["Set-Cookie"].partition(";")[0]
        outcomes, token = [], None
        for number in range(6):
            if number == 4:
                nodes[0].kill()
            recovery = await join_with(token, proxy.port, cookie)
            outcomes.append(recovery["outcome"])
            token = recovery["token"]
    assert outcomes == ["new", *["recovered"] * 5]
    for node in nodes:
        assert '"WebSocket /ws/websocket" [accepted]' in node.output()


def status_of(browser: urllib.request.OpenerDirector, request: urllib.request.Request) -> int:
    """Make a request and give the status of the answer, good or bad."""
    try:
        with browser.open(request) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_behind_the_proxy_django_sees_the_host_that_was_asked_for(
    asgi_server: Callable[..., AsgiServer], redis_server: Process, tmp_path: Path
) -> None:
    env = {"REDIS_URL": f"redis://{HOST}:{redis_server.port}/0"}
    nodes = [asgi_server(env=env) for _ in range(2)]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with make_nginx(tmp_path / "nginx", nodes) as proxy:
        here = f"http://{HOST}:{proxy.port}"
        login = f"{here}/admin/login/"
        with browser.open(login) as page:
            found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
        assert found
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": found[1], "username": "x"}).encode()
        statuses = {
            headers: status_of(browser, urllib.request.Request(login, form, dict([headers])))
            for headers in [
                ("Origin", here),
                ("Origin", f"http://{HOST}"),
                ("Origin", "http://example.com"),
                ("Host", "example.com"),
            ]
        }
    assert list(statuses.values()) == [200, 403, 403, 400]


async def test_behind_the_proxy_another_site_can_not_connect(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path
) -> None:
    nodes = [asgi_server() for _ in range(2)]
    with make_nginx(tmp_path / "nginx", nodes) as proxy:
        for _ in nodes:
            with pytest.raises(InvalidStatus, match="403"):
                await connect(
                    f"ws://{HOST}:{proxy.port}/ws/websocket", origin=Origin("http://example.com")
                )


def read(url: str, **headers: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def test_the_proxy_keeps_the_metrics_to_the_inside(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path
) -> None:
    nodes = [asgi_server() for _ in range(2)]
    assert "golivekit_recovery" in read(f"{nodes[0].url}/metrics")[1]
    with make_nginx(tmp_path / "nginx", nodes) as proxy:
        for path in ("/metrics", "//metrics", "/%6Detrics", "/x/../metrics"):
            status, text = read(f"http://{HOST}:{proxy.port}{path}")
            assert status == 404, path
            assert "golivekit_recovery" not in text, path


def of_the_container(server: str = HOST) -> dict[str, Any]:
    """Return the options of a node as in the container, and with the proxy at an address."""
    text = (TOP / "example_project/deploy/Dockerfile").read_text().replace("\\\n", "")
    command = json.loads(re.search(r"^CMD (.*)", text, re.DOTALL | re.MULTILINE)[1])  # type: ignore[index]
    arguments = command[command.index("8000") + 1 :]
    env = dict(re.findall(r"\b(DEMO_\w+)=(\S+)", text))
    return {"arguments": arguments, "env": {**env, "FORWARDED_ALLOW_IPS": server}}


def test_a_client_of_the_container_can_not_choose_its_address(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path
) -> None:
    behind = [asgi_server(**of_the_container()) for _ in range(2)]
    compose = (TOP / "docker-compose.yml").read_text()
    trusted, addresses = (
        re.findall(rf"{key}: (.*)", compose) for key in ("FORWARDED_ALLOW_IPS", "ipv4_address")
    )
    assert trusted == addresses
    bare = asgi_server(**of_the_container(*trusted))
    spoofed = {"X-Forwarded-For": "203.0.113.66"}
    with make_nginx(tmp_path / "nginx", behind) as proxy:
        assert read(f"http://{HOST}:{proxy.port}/", **spoofed)[0] == 200
    assert read(f"{bare.url}/", **spoofed)[0] == 200
    for node in (*behind, bare):
        assert "203.0.113.66" not in node.output()
    assert f"{HOST}:0 - " in "".join(node.output() for node in behind)


def test_the_container_shows_no_debugging_pages(asgi_server: Callable[..., AsgiServer]) -> None:
    node = asgi_server(**of_the_container())
    status, text = read(f"{node.url}/nowhere/")
    assert (status, "DEBUG" in text, "quote" in text) == (404, False, False)
    assert read(f"{node.url}/static/recovery_app/recovery.js")[0] == 200


def test_the_compose_file_is_valid() -> None:
    program = shutil.which("docker-compose")
    require("docker-compose", program)
    done = subprocess.run(
        [str(program), "-f", "docker-compose.yml", "config", "--services"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["nginx", "redis", "web1", "web2"]
