"""A rolling deploy through a real proxy, configured as documented: all pages are back at once."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, Process
from tests.support.proxies import PROXIES, documented_config, example_config, make_proxy
from tests.support.rolling import END_SECONDS, EVENTS, Deploy, all_up, make_page, replace, sending

PAGES = 40
DRAIN_SECONDS = "0.5"
BACK_SECONDS = 12
"""More than pages take that are let in, and less than nginx takes to let in one after the other."""


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
