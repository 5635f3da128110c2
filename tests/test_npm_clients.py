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


@pytest.mark.parametrize(("server", "vsn"), [("uvicorn", "2.0.0"), ("daphne", "1.0.0")])
def test_phoenix_client(asgi_server, server, vsn):
    require_node("phoenix", "ws")
    running = asgi_server(server)
    env = {**os.environ, "DEMO_URL": running.ws_url, "DEMO_VSN": vsn, "NODE_ENV": "test"}
    printed = []
    with subprocess.Popen(
        # Else it would wait for the timers of the clients.
        ["node", "--test-force-exit", "tests/npm/phoenix.mjs"],
        cwd=TOP,
        env=env,
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
    assert f"pass {SCENARIOS}" in output, output


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
