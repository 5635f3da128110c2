"""A rolling deploy through a real proxy, configured as documented: all pages are back at once."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from recovery_app.chaos.client import Client
from recovery_app.chaos.scripted_client import ScriptedClient
from recovery_app.chaos.scripts import Line
from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, Process
from tests.support.proxies import PROXIES, documented_config, example_config, make_proxy

PAGES = 40
EVENTS = 30
DRAIN_SECONDS = "0.5"
END_SECONDS = 40
BACK_SECONDS = 12
"""More than pages take that are let in, and less than nginx takes to let in one after the other."""


class Page(ScriptedClient):
    """A page that counts, and is up while it has joined."""

    is_up = False

    async def _run_connection(self, is_done: Callable[[], bool]) -> None:
        joins_before = self._client.joins

        def look() -> bool:
            self.is_up = self._client.joins > joins_before
            return is_done()

        try:
            await super()._run_connection(look)
        finally:
            self.is_up = False


class Deploy:
    """How far the deploy is, which is also how many of their events the pages have sent.

    They keep the last ones for its end: a page that has sent all of them is no longer up.
    """

    def __init__(self, steps: int) -> None:
        self._share = 1 / (steps + 2)
        self.done = self._share

    def advance(self) -> None:
        """Let pages send more."""
        self.done += self._share


@contextmanager
def sending(pages: Sequence[Page], deploy: Deploy) -> Iterator[asyncio.Future[list[None]]]:
    """Have the pages send their events while the deploy goes on."""
    running = asyncio.gather(*(page.run(lambda: deploy.done) for page in pages))
    try:
        yield running
    finally:
        running.cancel()


async def all_up(pages: Sequence[Page], seconds: float) -> int:
    """Wait until all pages are up, or for so long; return how many are."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (up := sum(page.is_up for page in pages)) < len(pages):
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.05)
    return up


async def replace(node: AsgiServer) -> None:
    """Stop a node as a process manager does, and start it again."""
    os.kill(node.pid, signal.SIGTERM)
    await asyncio.to_thread(node.ended, END_SECONDS)
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)


def make_page(url: str, number: int) -> Page:
    script = [Line(event="add", payload={})] * EVENTS
    return Page(url, Client(topic="lv:count"), script, rng=random.Random(number))


def is_installed(server: str) -> bool:
    """Return whether gunicorn is here with its worker; the others always are."""
    return server != "gunicorn" or all(
        map(importlib.util.find_spec, ("gunicorn", "uvicorn_worker"))
    )


@pytest.mark.parametrize(
    ("proxy_name", "server"),
    [
        ("nginx", "uvicorn"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                *((proxy, "uvicorn") for proxy in PROXIES if proxy != "nginx"),
                ("nginx", "gunicorn"),
                ("nginx", "daphne"),
            )
        ),
    ],
)
async def test_all_pages_are_back_soon_after_a_rolling_deploy(
    asgi_server: Callable[..., AsgiServer],
    redis_server: Process,
    tmp_path: Path,
    proxy_name: str,
    server: str,
) -> None:
    require(server, is_installed(server))
    nodes = [
        asgi_server(
            server,
            application="tests.support.draining:application",
            env={
                "REDIS_URL": f"redis://{HOST}:{redis_server.port}/0",
                "DRAIN_SECONDS": DRAIN_SECONDS,
            },
        )
        for _ in range(2)
    ]
    config = documented_config(proxy_name)
    with make_proxy(proxy_name, tmp_path / "proxy", nodes, config) as proxy:
        url = f"ws://{HOST}:{proxy.port}/counting"
        pages = [make_page(url, number) for number in range(PAGES)]
        deploy = Deploy(steps=len(nodes))
        with sending(pages, deploy) as running:
            assert await all_up(pages, END_SECONDS) == PAGES
            for node in nodes:
                await replace(node)
                deploy.advance()
            assert await all_up(pages, BACK_SECONDS) == PAGES
            deploy.done = 1
            await asyncio.wait_for(running, END_SECONDS)
        await asyncio.wait_for(asyncio.gather(*(page.finish() for page in pages)), END_SECONDS)
    for node in nodes:
        node.kill()
    assert [page.result.problems for page in pages] == [[]] * PAGES
    assert [page.result.state["count"] for page in pages] == [EVENTS] * PAGES


def test_the_example_counts_no_failures_either() -> None:
    servers = [
        re.findall(r"^ *server web.*;$", text, re.MULTILINE)
        for text in (documented_config("nginx"), example_config())
    ]
    assert servers[0] == servers[1] != []
