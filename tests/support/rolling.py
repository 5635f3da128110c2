"""A rolling deploy of nodes behind a proxy, and the pages that are open meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus

from recovery_app.chaos.client import Client
from recovery_app.chaos.scripted_client import ScriptedClient
from recovery_app.chaos.scripts import Line
from tests.support.asgi import AsgiServer
from tests.support.processes import wait_until
from tests.support.timelapse import status_of

EVENTS = 30
END_SECONDS = 40


class Page(ScriptedClient):
    """A page that counts, and is up while it has joined; ``gaps`` has the seconds when not."""

    is_up = False
    _lost_at: float | None = None

    def __init__(
        self, url: str, client: Client, script: Sequence[Line], rng: random.Random
    ) -> None:
        super().__init__(url, client, script, rng=rng)
        self.gaps: list[float] = []

    async def _run_connection(self, is_done: Callable[[], bool]) -> None:
        joins_before = self._client.joins

        def look() -> bool:
            if self._client.joins > joins_before and not self.is_up:
                self._note_up()
            return is_done()

        try:
            await super()._run_connection(look)
        finally:
            if self.is_up:
                self.is_up, self._lost_at = False, time.monotonic()

    def _note_up(self) -> None:
        self.is_up = True
        if self._lost_at is not None:
            self.gaps.append(time.monotonic() - self._lost_at)


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
    """Stop a node as a process manager does, start it again, and wait until it is ready.

    Under gunicorn the port is open before there is an application.
    """
    os.kill(node.pid, signal.SIGTERM)
    await asyncio.to_thread(node.ended, END_SECONDS)
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    await asyncio.to_thread(wait_until, partial(is_ready, node), END_SECONDS, "It isn't ready.")


def is_ready(node: AsgiServer) -> bool:
    """Return what the readiness probe says."""
    try:
        return status_of(f"{node.url}/health/ready/")[0] == HTTPStatus.OK
    except OSError:
        return False


def make_page(url: str, number: int) -> Page:
    """Return a page; pages with different numbers try again at different times."""
    script = [Line(event="add", payload={})] * EVENTS
    return Page(url, Client(topic="lv:count"), script, random.Random(number))
