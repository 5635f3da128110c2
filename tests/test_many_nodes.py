"""The example on many nodes: a page is thrown from one to the other and loses nothing."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise

from playwright.async_api import Page, expect

from tests.browser.desk import Desk
from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, TOP, Process
from tests.support.proxy import RoundRobin

THROWS = 50
PATIENCE_SECONDS = 15


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
