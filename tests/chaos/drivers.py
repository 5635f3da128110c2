"""The JavaScript clients of a run: the npm client and recovery.js in Node.js, and in Chromium."""

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

from recovery_app.chaos.client import EventReply
from recovery_app.chaos.compare import ClientResult
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.scripts import Line
from tests.support.processes import TOP

MAX_LINE_BYTES = 64 * 1024 * 1024
TIMEOUT_MS = 3_000
HEARTBEAT_MS = 2_000
LOAD_SECONDS = 240
RETRY_SECONDS = 0.2
MAKE_CLIENTS = """async ({scripts, params, seed, timeoutMs, heartbeatMs}) => {
    const { RecoverySocket } = await import("/static/recovery_app/recovery.js");
    const { ScriptedClients } = await import("/static/chaos/clients.mjs");
    globalThis.clients = new ScriptedClients(scripts, seed, (number) => {
        const viewId = `ledger ${number}`;
        const socket = new RecoverySocket("/ws/websocket", { viewId, timeoutMs, heartbeatMs });
        socket.join("ledger", params[number]);
        return {
            recovery: socket,
            push: (event, payload) => socket.push(event, payload),
            drop: () => socket.drop(),
        };
    });
}"""

Scripts = Sequence[Sequence[Line]]
Params = Sequence[dict[str, Any]]
"""The payload of each client's joins."""


class ScriptedClients(Protocol):
    """Clients that each run a script."""

    async def joined(self) -> int:
        """Return how many clients have joined."""

    async def go(self, horizon: float) -> int:
        """Set the horizon; return how many events are settled."""

    async def problems(self) -> list[str]:
        """Return the problems so far."""

    async def finish(self) -> list[ClientResult]:
        """Return the result of each client, with the state after a fresh join."""


class NodeClients:
    """Clients in a Node.js process, which answers one command per line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, name: str, argument: Any = None) -> Any:
        """Run a command and return its result."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([name, argument]).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "Node.js has exited."
        return json.loads(line)

    async def joined(self) -> int:
        joined: int = await self.call("joined")
        return joined

    async def go(self, horizon: float) -> int:
        settled: int = await self.call("go", horizon)
        return settled

    async def problems(self) -> list[str]:
        problems: list[str] = await self.call("problems")
        return problems

    async def finish(self) -> list[ClientResult]:
        return _results(await self.call("finish"))


class PageClients:
    """Clients in a browser page, which can be reloaded at any time."""

    def __init__(self, page: Page, url: str, options: dict[str, Any]) -> None:
        self._page = page
        self._url = url
        self._options = options
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Load or reload the page, as soon as a node responds."""
        deadline = time.monotonic() + LOAD_SECONDS
        async with self._loading:
            while True:
                try:
                    await self._page.goto(self._url)
                    await self._page.evaluate(MAKE_CLIENTS, self._options)
                    return
                except PlaywrightError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(RETRY_SECONDS)

    async def joined(self) -> int:
        joined: int = await self._page.evaluate("clients.joined()")
        return joined

    async def go(self, horizon: float) -> int:
        async with self._loading:
            settled: int = await self._page.evaluate("(horizon) => clients.go(horizon)", horizon)
        return settled

    async def problems(self) -> list[str]:
        problems: list[str] = await self._page.evaluate("clients.problems()")
        return problems

    async def finish(self) -> list[ClientResult]:
        return _results(await self._page.evaluate("clients.finish()"))


@asynccontextmanager
async def node_clients(
    way: str, proxy: Proxy, scripts: Scripts, params: Params, seed: int, join_timeout_ms: int
) -> AsyncIterator[ScriptedClients]:
    """Start Node.js with clients of the npm package, or with sockets of recovery.js."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "tests/chaos/npm.mjs",
        cwd=TOP,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    clients = NodeClients(process)
    try:
        options = {"seed": seed, "joinTimeoutMs": join_timeout_ms, "params": params, "way": way}
        options["scripts"] = _plain(scripts)
        await clients.call("start", {"url": proxy.ws_url, **options})
        yield clients
    finally:
        process.kill()
        await process.communicate()


@asynccontextmanager
async def page_clients(
    page: Page, proxy: Proxy, scripts: Scripts, params: Params, seed: int
) -> AsyncIterator[ScriptedClients]:
    """Load a page with the clients."""
    options = {"timeoutMs": TIMEOUT_MS, "heartbeatMs": HEARTBEAT_MS, "seed": seed, "params": params}
    clients = PageClients(page, proxy.url, {**options, "scripts": _plain(scripts)})
    await clients.load()
    yield clients


def _plain(scripts: Scripts) -> list[list[dict[str, Any]]]:
    return [[asdict(line) for line in script] for script in scripts]


def _results(found: list[dict[str, Any]]) -> list[ClientResult]:
    return [
        ClientResult(
            replies=[reply and _reply(**reply) for reply in each["replies"]],
            state=each["state"],
            problems=each["problems"],
            pushes=each["pushes"],
            missed=each["missed"],
        )
        for each in found
    ]


def _reply(status: str, response: dict[str, Any]) -> EventReply:
    plain = {key: value for key, value in response.items() if key != "_recovery"}
    # The responses of the application are never empty.
    return EventReply(status=status, response=plain, is_forgotten=not plain)
