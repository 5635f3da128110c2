"""One outage that is tried out: the site, its storage, and what is expected of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from recovery_app._core.telemetry import QUIET_SECONDS
from tests.outages.site import MINUTE, PAGES, WAIT_SECONDS, Operator, Site, Start, make_node
from tests.support.asgi import AsgiServer
from tests.support.processes import Process
from tests.support.timelapse import Page

NO_ENV: Mapping[str, str] = {}
HEALTHY = {"live": 200, "ready": 200, "storage": 200}


@dataclass
class Trial:
    """A site with pages, whose node can be replaced."""

    start: Start
    data: Path
    redis: Process | None = None
    postgresql: Process | None = None
    operator: Operator = field(init=False)
    site: Site = field(init=False)

    async def open(
        self, env: Mapping[str, str] = NO_ENV, *, pages: int = PAGES, path: str = "/counting"
    ) -> Site:
        """Start a node, and have people open their pages, all with one person's login."""
        node = await asyncio.to_thread(partial(self.node, **env))
        self.operator = Operator(node.url)
        await asyncio.to_thread(self.operator.log_in)
        cookie = {"Cookie": self.operator.session}
        self.site = Site([node], [Page(path, cookie) for _ in range(pages)], node.ws_url)
        await self.site.scrape()
        assert await self.site.come_back() == {"new": pages}
        await self.site.live(2)
        return self.site

    def node(self, **env: str) -> AsgiServer:
        """Start a node."""
        if self.postgresql:
            env["POSTGRESQL_PORT"] = str(self.postgresql.port)
        return make_node(self.start, redis=self.redis, **env)

    async def deploy(self, **env: str) -> Counter[str]:
        """Replace the node; all pages come back before it is scraped. Return their outcomes."""
        (old,) = self.site.servers
        new = await asyncio.to_thread(partial(self.node, **env))
        await asyncio.to_thread(old.stop)
        self.site.servers, self.site.url = [new], new.ws_url
        return await self.site.come_back()

    def probes(self) -> dict[str, int]:
        """Return the status of each endpoint."""
        return {name: self.site.probe(name)[0] for name in HEALTHY}

    async def check_outage(self, cause: str) -> None:
        """Hold probes and pages to what they are while the storage is away."""
        assert self.site.figure("topics_unsafe") == len(self.site.pages)
        assert all(page.is_up for page in self.site.pages)
        assert self.probes() == {**HEALTHY, "storage": 503}
        assert cause in self.site.probe("storage")[1]

    async def recovered(self) -> None:
        """Have pages send events until the metrics say that the storage is well."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        await self.site.live(1 / MINUTE)
        await asyncio.sleep(QUIET_SECONDS)
        while self.site.figure("storage_down") or self.site.figure("topics_unsafe"):
            assert asyncio.get_running_loop().time() < deadline
            # A process on which no page is left wouldn't notice; they may come back to that one.
            await self.site.come_back()
            await self.site.live(1 / MINUTE)

    async def told(self, causes: Iterable[str]) -> None:
        """Wait until the journal has all these: each process gathers what it writes."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        missing = set(causes)
        while missing:
            assert asyncio.get_running_loop().time() < deadline, missing
            text = " ".join(await self.answer())
            missing = {cause for cause in missing if cause not in text}

    async def answer(self, **params: str) -> list[str]:
        """Return what one search of the journal for the person finds, once there is something."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        operator = Operator(self.site.servers[0].url)
        await asyncio.to_thread(operator.log_in)
        while not (
            rows := await asyncio.to_thread(partial(operator.journal, user="ada", **params))
        ):
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.2)
        return rows
