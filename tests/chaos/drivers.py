"""Own the clients of pages in a run: the npm one in Node.js, and recovery.js's own in Chromium."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from recovery_app.chaos.client import Reply
from recovery_app.chaos.judge import Result
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import Line
from tests.support.processes import TOP

MAX_LINE = 64 * 1024 * 1024
TIMEOUT_MS = 3_000
HEARTBEAT_MS = 2_000
LOAD_SECONDS = 60
RETRY_SECONDS = 0.2
MAKE_PLAYERS = """async ({scripts, seed, timeoutMs, heartbeatMs}) => {
    const { RecoverySocket } = await import("/static/recovery_app/recovery.js");
    const { Players } = await import("/static/chaos/players.mjs");
    globalThis.players = new Players(scripts, seed, (number) => {
        const viewId = `ledger ${number}`;
        const socket = new RecoverySocket("/ws/websocket", { viewId, timeoutMs, heartbeatMs });
        socket.join("ledger");
        return {
            recovery: socket,
            push: (event, payload) => socket.push(event, payload),
            drop: () => socket.drop(),
        };
    });
}"""

Scripts = Sequence[Sequence[Line]]


class Players(Protocol):
    """Clients that each run a script."""

    async def go(self, horizon: float) -> int:
        """Let them go so far; give how many events are settled."""

    async def problems(self) -> list[str]:
        """Give what went wrong so far, in words."""

    async def finish(self) -> list[Result]:
        """Give what came of each, with the state that a fresh join brings back."""


class NpmPlayers:
    """Clients in a Node.js process, asked line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, name: str, argument: Any = None) -> Any:
        """Have something done, and give the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, argument]).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "Node.js has ended."
        return json.loads(line)

    async def go(self, horizon: float) -> int:
        settled: int = await self.ask("go", horizon)
        return settled

    async def problems(self) -> list[str]:
        problems: list[str] = await self.ask("problems")
        return problems

    async def finish(self) -> list[Result]:
        return _results(await self.ask("finish"))


class PagePlayers:
    """Clients in one page of a browser, which can be reloaded at any time."""

    def __init__(self, page: Page, url: str, options: dict[str, Any]) -> None:
        self._page = page
        self._url = url
        self._options = options
        self._is_loaded = asyncio.Lock()

    async def load(self) -> None:
        """Load the page, again if it is there already, as soon as a node answers."""
        deadline = time.monotonic() + LOAD_SECONDS
        async with self._is_loaded:
            while True:
                try:
                    await self._page.goto(self._url)
                    await self._page.evaluate(MAKE_PLAYERS, self._options)
                    return
                except PlaywrightError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)

    async def go(self, horizon: float) -> int:
        async with self._is_loaded:
            settled: int = await self._page.evaluate("(horizon) => players.go(horizon)", horizon)
        return settled

    async def problems(self) -> list[str]:
        problems: list[str] = await self._page.evaluate("players.problems()")
        return problems

    async def finish(self) -> list[Result]:
        return _results(await self._page.evaluate("players.finish()"))


@asynccontextmanager
async def npm_players(proxy: Proxy, scripts: Scripts, seed: int) -> AsyncIterator[Players]:
    """Start Node.js with the clients."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "tests/chaos/npm.mjs",
        cwd=TOP,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    players = NpmPlayers(process)
    try:
        await players.ask("start", {"url": proxy.ws_url, "seed": seed, "scripts": _plain(scripts)})
        yield players
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def page_players(
    page: Page, proxy: Proxy, scripts: Scripts, seed: int
) -> AsyncIterator[PagePlayers]:
    """Load a page with the clients."""
    options = {"timeoutMs": TIMEOUT_MS, "heartbeatMs": HEARTBEAT_MS, "seed": seed}
    players = PagePlayers(page, proxy.url, {**options, "scripts": _plain(scripts)})
    await players.load()
    yield players


def _plain(scripts: Scripts) -> list[list[dict[str, Any]]]:
    return [[asdict(line) for line in script] for script in scripts]


def _results(found: list[dict[str, Any]]) -> list[Result]:
    return [
        Result(
            replies=[reply and _reply(**reply) for reply in each["replies"]],
            state=each["state"],
            problems=each["problems"],
        )
        for each in found
    ]


def _reply(status: str, response: dict[str, Any]) -> Reply:
    told = {key: value for key, value in response.items() if key != "_recovery"}
    # What the application answers is never empty.
    return Reply(status=status, response=told, is_forgotten=not told)
