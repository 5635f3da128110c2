"""The real npm clients against the example: `phoenix` in Node.js, LiveView in Chromium."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest
from playwright.async_api import expect

from tests.support.node import RUN_SECONDS, require_node
from tests.support.processes import TOP
from tests.support.proxy import RoundRobin

SCENARIOS = 15


def run_client(running, script: str, **env: str) -> str:
    """Run a client in Node.js, with the restarts it asks for; return what it prints."""
    printed = []
    with subprocess.Popen(
        # Else it would wait for the timers of the clients.
        ["node", "--test-force-exit", script],
        cwd=TOP,
        env={**os.environ, "DEMO_URL": running.ws_url, "NODE_ENV": "test", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as node:
        patience = threading.Timer(RUN_SECONDS, node.kill)
        patience.start()
        assert node.stdout
        for line in node.stdout:
            printed.append(line)
            if line.strip() == "kill":
                running.kill()
                running.start()
        patience.cancel()
    output = "".join(printed)
    assert node.returncode == 0, output
    return output


@pytest.mark.parametrize(("server", "vsn"), [("uvicorn", "2.0.0"), ("daphne", "1.0.0")])
def test_phoenix_client(asgi_server, server, vsn):
    require_node("phoenix", "ws")
    output = run_client(asgi_server(server), "tests/npm/phoenix.mjs", DEMO_VSN=vsn)
    assert f"pass {SCENARIOS}" in output, output


def test_two_topics_on_one_socket(asgi_server):
    require_node("ws")
    output = run_client(asgi_server("uvicorn"), "tests/npm/channels.mjs")
    assert "done" in output, output


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
async def test_live_view_client(page, asgi_server, server):
    require_node("phoenix", "phoenix_live_view")
    running = asgi_server(server)
    urls: list[str] = []
    page.on("websocket", lambda socket: urls.append(socket.url))
    outcomes = page.locator("#outcomes li")
    guests = page.locator("#guests li")
    add = page.get_by_role("button", name="Add a guest")
    async with RoundRobin([running.port]) as line:
        await page.goto(f"{line.url}/live/")
        await expect(outcomes).to_have_text(["new"])
        for count in (1, 2):
            await add.click()
            await expect(guests).to_have_count(count)

        line.cut()
        await expect(outcomes).to_have_text(["new", "recovered"])
        await expect(guests).to_have_text(["Guest 1", "Guest 2"])
        await add.click()
        await expect(page.locator("#count")).to_have_text("3")

        running.kill()
        running.start()
        await expect(outcomes).to_have_text(["new", "recovered", "recovered"])
        await expect(guests).to_have_count(3)

        await page.reload()
        await expect(outcomes).to_have_text(["recovered"])
        await add.click()
        await expect(guests).to_have_count(4)
    assert len(urls) >= 4
    assert not [url for url in urls if "_recovery" in url]
