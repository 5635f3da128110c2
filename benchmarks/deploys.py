"""Pages that are up during a rolling deploy, over time, and how long each was away.

    python benchmarks/deploys.py [--quick]

Two nodes of one process each, behind a proxy that is configured as the documentation says. So
many pages are open and send events. Each node in turn gets a SIGTERM, drains, and is started
again once it has ended. The pages come back as clients of the chaos kit do, with full jitter
from 0.1 s to a second. For each server behind nginx, and each other proxy before uvicorn.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.results import Plot, Row, Table
from benchmarks.subject import Options, main
from tests.support.asgi import AsgiServer, manage
from tests.support.processes import HOST
from tests.support.proxies import documented_config, make_proxy
from tests.support.redis import make_redis
from tests.support.rolling import END_SECONDS, Deploy, Page, all_up, make_page, replace, sending

PAIRS = (
    ("nginx", "uvicorn"),
    ("nginx", "gunicorn"),
    ("nginx", "daphne"),
    ("haproxy", "uvicorn"),
    ("caddy", "uvicorn"),
)
DRAIN_SECONDS = "10"
LOOK_SECONDS = 0.05
BEFORE_SECONDS = 1.0
BACK_SECONDS = 30


@dataclass
class Curve:
    """How many pages were up at each time, in seconds since the deploy began."""

    points: list[tuple[float, float]] = field(default_factory=list)

    async def record(self, pages: Sequence[Page], start: float) -> None:
        """Count until cancelled."""
        while True:
            up = sum(page.is_up for page in pages)
            self.points.append((round(time.monotonic() - start, 2), up))
            await asyncio.sleep(LOOK_SECONDS)

    @asynccontextmanager
    async def recording(self, pages: Sequence[Page], start: float) -> AsyncIterator[None]:
        """Count while the block runs."""
        task = asyncio.create_task(self.record(pages, start))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@dataclass(frozen=True)
class Deployed:
    """What one deploy was for the pages."""

    curve: list[tuple[float, float]]
    gaps: list[float]
    lost: int

    @property
    def line(self) -> list[str]:
        """The figures of a line of the table."""
        lowest = min(up for _, up in self.curve)
        seconds = self.curve[-1][0] - BEFORE_SECONDS
        p50, p99 = (f"{self.gap(share):.2f} s" for share in (0.5, 0.99))
        return [p50, p99, f"{lowest:.0f}", f"{seconds:.0f} s", str(self.lost)]

    def gap(self, share: float) -> float:
        """Return the seconds that a page was away, of which so many were away for less."""
        return sorted(self.gaps)[int(len(self.gaps) * share)]


async def deploy(url: str, nodes: Sequence[AsgiServer], size: int) -> Deployed:
    """Open pages, replace both nodes, and return what came of it."""
    pages = [make_page(url, number) for number in range(size)]
    steps, curve = Deploy(steps=len(nodes)), Curve()
    with sending(pages, steps) as running:
        assert await all_up(pages, END_SECONDS) == size
        async with curve.recording(pages, time.monotonic()):
            await asyncio.sleep(BEFORE_SECONDS)
            for node in nodes:
                await replace(node)
                steps.advance()
            await all_up(pages, BACK_SECONDS)
            await asyncio.sleep(BEFORE_SECONDS)
        steps.done = 1
        await asyncio.wait_for(running, END_SECONDS)
    await asyncio.gather(*(page.finish() for page in pages))
    lost = sum(bool(page.result.problems) for page in pages)
    return Deployed(curve.points, [gap for page in pages for gap in page.gaps], lost)


def measure(proxy_name: str, server: str, size: int) -> Deployed:
    """Run the servers, and make a deploy."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-deploys-")))
        data = home / "demo"
        manage("migrate", data=data)
        redis = stack.enter_context(make_redis(home))
        env = {
            "REDIS_URL": f"redis://{HOST}:{redis.port}/0",
            "DJANGO_SETTINGS_MODULE": "tests.support.layerless",
            "DRAIN_SECONDS": DRAIN_SECONDS,
        }
        nodes = [
            AsgiServer(server, data=data, application="tests.support.draining:application", env=env)
            for _ in range(2)
        ]
        for node in nodes:
            stack.enter_context(node)
        config = documented_config(proxy_name)
        proxy = stack.enter_context(make_proxy(proxy_name, home / "proxy", nodes, config))
        return asyncio.run(deploy(f"ws://{HOST}:{proxy.port}/counting", nodes, size))


def run(options: Options) -> Iterator[Row | Table | Plot]:
    """Measure each pair of a proxy and a server."""
    size = options.pick(60, 20)
    found = {f"{server}, {proxy}": measure(proxy, server, size) for proxy, server in PAIRS}
    for name, each in found.items():
        gap = each.gap(0.99)
        measured = f"{min(up for _, up in each.curve):.0f} of {size} pages up at the least"
        what = f"a rolling deploy, {name}: a page is away, p99"
        yield Row(what=what, measured=measured, ratio=gap, unit=" s")
    yield Table(
        title=f"A rolling deploy of two nodes, {size} pages, a drain of {DRAIN_SECONDS} s each",
        columns=["server, proxy", "away, p50", "p99", "fewest pages up", "took", "pages that lost"],
        lines=[[name, *each.line] for name, each in found.items()],
    )
    yield Plot(
        name="deploys",
        title=f"Pages up during a rolling deploy of two nodes (of {size} pages)",
        x_label="seconds",
        y_label="pages up",
        curves={name: each.curve for name, each in found.items()},
        is_linear=True,
    )


if __name__ == "__main__":
    main(__doc__, run)
