"""Print how many joins a second a real server does, with recovery from Redis and without any.

    python benchmarks/joins.py [--quick] [--layer] [--json] [clients ...]

One uvicorn serves two consumers: one with recovery from a Redis of its own, and a plain one of
Channels that replies and keeps nothing. Pages open their WebSockets, then all join at once;
those of the first show the token of their last visit. Measured in turns, the medians of
`ROUNDS`: by the clock from the first join that is sent to the last reply, the same with
the opening of the WebSockets, and the CPU time of the server (Redis and the pages have their
own). The aims are for joins a second by the clock: recovery does 1.2 times as many. ``--layer``
gives the server Channels' in-memory layer; a new project has none.
"""

# ruff: noqa: E402, PLC0415

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
sys.path[0] = str(TOP)

from tests.support.asgi import AsgiServer
from tests.support.processes import HOST
from tests.support.redis import connections_of, make_redis

ROUNDS = 7
AIM = 1.2
MOST_CONNECTIONS = 100
OPENING_AT_ONCE = 200
WAIT_SECONDS = 120
PATHS = LIVE, PLAIN = "/live", "/plain"
TICKS = os.sysconf("SC_CLK_TCK")
MASK = b"\0\0\0\0"
TEXT, PING, PONG = 0x81, 0x89, 0x8A
QUIET_SECONDS = 0.3


def make_application() -> Any:
    """Give the server's application, as uvicorn's factory."""
    import django
    from django.conf import settings

    layer = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    storage = "recovery_app.storages.RedisStorage"
    settings.configure(
        SECRET_KEY="the secret of the benchmark of joins, as long as a real one",
        INSTALLED_APPS=["channels", "recovery_app"],
        CHANNEL_LAYERS=layer if os.environ["JOINS_LAYER"] else {},
        RECOVERY={
            "STORAGE": {"BACKEND": storage, "OPTIONS": {"url": os.environ["JOINS_REDIS_URL"]}}
        },
    )
    django.setup()
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    live, plain = make_consumers()
    routes = [path(LIVE[1:], live.as_asgi()), path(PLAIN[1:], plain.as_asgi())]
    return ProtocolTypeRouter({"websocket": URLRouter(routes)})


def make_consumers() -> tuple[Any, Any]:
    """Give the consumer with recovery and the plain one."""
    from channels.generic.websocket import AsyncJsonWebsocketConsumer

    from recovery_app.consumers import RecoveryConsumerMixin

    class Plain(AsyncJsonWebsocketConsumer):
        """What an application without recovery has: Channels, and nothing else."""

        async def receive_json(self, content: Any, **_: Any) -> None:
            join_ref, ref, topic, _event, _payload = content
            reply = {"status": "ok", "response": {}}
            await self.send_json([join_ref, ref, topic, "phx_reply", reply])

    class Live(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        """A page with a state of 300 bytes."""

        recovery_fields = ("count", "items", "note")

        async def mount(self, topic: str, params: dict[str, Any]) -> None:
            self.count, self.items, self.note = 7, ["x" * 40] * 3, "y" * 120

    return Live, Plain


TITLES = (
    "| clients | joins/s: recovery / plain | ratio (≥ 1.2) | with opening | ratio "
    "| CPU us a join | ratio | failed | Redis connections (≤ 100) | met |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


class Page(asyncio.Protocol):
    """A WebSocket of as little work as can be: what is measured is the server."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._data = b""
        self._opened = False
        self._transport: asyncio.WriteTransport
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Ask for a WebSocket."""
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take the answer to the handshake, then that to the join."""
        self._data += data
        if not self._opened:
            head, end, self._data = self._data.partition(b"\r\n\r\n")
            if not end:
                self._data = head
                return
            self._opened = b" 101 " in head.partition(b"\r\n")[0]
            self._settle(head if self._opened else None)
        while len(self._data) > 1 and (end := self._end_of_frame()) <= len(self._data):
            frame, self._data = self._data[:end], self._data[end:]
            if frame[0] == PING:
                self._transport.write(frame_of(frame[2:], PONG))
            elif frame[0] == TEXT:
                self._settle(frame[4 if frame[1] == 126 else 2 :])

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up."""
        self._settle(None)

    async def answer(self) -> bytes:
        """Wait for what is to come next."""
        return await self._answer

    def send(self, frame: bytes) -> None:
        """Send a frame whose answer is to come next."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(frame)

    def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def _end_of_frame(self) -> int:
        """Give where the first frame of the server ends; none is a long one."""
        if self._data[1] != 126:
            return 2 + self._data[1]
        return 4 + struct.unpack_from(">H", self._data.ljust(4, b"\xff"), 2)[0]

    def _settle(self, answer: bytes | None) -> None:
        if self._answer.done():
            return
        if answer is None:
            self._answer.set_exception(ConnectionError("the server closed the connection"))
        else:
            self._answer.set_result(answer)


def frame_of(data: bytes, kind: int = TEXT) -> bytes:
    """Give a client's frame; its mask may be nothing but zeros."""
    if len(data) < 126:
        return bytes((kind, 0x80 | len(data))) + MASK + data
    return struct.pack(">BBH", kind, 0x80 | 126, len(data)) + MASK + data


@dataclass
class Visit:
    """What so many pages did once: seconds, and how many of them failed."""

    open_seconds: float
    join_seconds: float
    cpu_seconds: float
    failures: int
    redis_connections: int


@dataclass
class Crowd:
    """Pages that come again and again; each keeps the token of its last visit."""

    path: str
    tokens: list[str | None]
    visits: list[Visit] = field(default_factory=list)

    async def visit(self, server: AsgiServer, redis_port: int) -> Visit:
        """Open all, have all join at once, and close all."""
        await quiet(server.pid)
        start = time.perf_counter()
        pages = await self._open(server.port)
        frames = [self._join_frame(token) for token in self.tokens]
        opened, cpu = time.perf_counter(), cpu_seconds(server.pid)
        for page, frame in zip(pages, frames, strict=True):
            page.send(frame)
        answers = await asyncio.wait_for(
            asyncio.gather(*(page.answer() for page in pages), return_exceptions=True),
            WAIT_SECONDS,
        )
        done, cpu = time.perf_counter(), cpu_seconds(server.pid) - cpu
        failures = [not self._keep(place, answer) for place, answer in enumerate(answers)]
        connections = connections_of(redis_port)
        for page in pages:
            page.close()
        return Visit(opened - start, done - opened, cpu, sum(failures), connections)

    async def _open(self, port: int) -> list[Page]:
        loop = asyncio.get_running_loop()
        turn = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one() -> Page:
            async with turn:
                _, page = await loop.create_connection(lambda: Page(self.path), HOST, port)
                await page.answer()
            return page

        return await asyncio.gather(*(open_one() for _ in self.tokens))

    def _join_frame(self, token: str | None) -> bytes:
        payload = {"_recovery": token} if token else {}
        return frame_of(json.dumps(["1", "1", "lv:page", "phx_join", payload]).encode())

    def _keep(self, place: int, answer: bytes | BaseException) -> bool:
        """Keep the new token, and say whether the state came back."""
        if isinstance(answer, BaseException):
            return False
        reply = json.loads(answer)[4]
        recovery = reply["response"].get("_recovery", {})
        wanted = "recovered" if self.tokens[place] else "new"
        self.tokens[place] = recovery.get("token")
        return reply["status"] == "ok" and recovery.get("outcome", wanted) == wanted


def cpu_seconds(pid: int) -> float:
    """Give the CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def quiet(pid: int) -> None:
    """Wait until a process has nothing to do: until the last visitors are out."""
    before, now = -1.0, cpu_seconds(pid)
    while before < now:
        await asyncio.sleep(QUIET_SECONDS)
        before, now = now, cpu_seconds(pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of all rounds: medians of seconds a client, ours first."""

    clients: int
    join: tuple[float, float]
    with_opening: tuple[float, float]
    cpu: tuple[float, float]
    failures: int
    redis_connections: int

    @property
    def is_met(self) -> bool:
        """Say whether the aims are met."""
        ours, theirs = self.join
        enough = self.redis_connections <= MOST_CONNECTIONS
        return theirs / ours >= AIM and not self.failures and enough


async def measure(server: AsgiServer, redis_port: int, clients: int, rounds: int) -> Result:
    """Have so many clients come to both consumers in turns."""
    live, plain = (Crowd(path, [None] * clients) for path in PATHS)
    for turn in range(rounds + 1):
        for crowd in (live, plain):
            visit = await crowd.visit(server, redis_port)
            if turn:
                crowd.visits.append(visit)

    def medians(pick: Callable[[Visit], float]) -> tuple[float, float]:
        ours, theirs = (
            statistics.median(pick(visit) for visit in crowd.visits) / clients
            for crowd in (live, plain)
        )
        return ours, theirs

    return Result(
        clients=clients,
        join=medians(lambda visit: visit.join_seconds),
        with_opening=medians(lambda visit: visit.open_seconds + visit.join_seconds),
        cpu=medians(lambda visit: visit.cpu_seconds),
        failures=sum(visit.failures for visit in live.visits),
        redis_connections=max(visit.redis_connections for visit in live.visits),
    )


def run(clients: int, rounds: int, *, layer: bool = False) -> Result:
    """Measure on a server and a Redis of their own, whose memory has no history."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as directory, make_redis(Path(directory)) as redis:
        env = {
            "JOINS_REDIS_URL": f"redis://{HOST}:{redis.port}/0",
            "JOINS_LAYER": "1" if layer else "",
            "UVICORN_FACTORY": "1",
            "UVICORN_LOG_LEVEL": "warning",
        }
        application = "benchmarks.joins:make_application"
        with AsgiServer(data=Path(directory), application=application, env=env) as server:
            return asyncio.run(measure(server, redis.port, clients, rounds))


def row_of(result: Result) -> str:
    """Give the row of the table."""
    rates = [
        f"{1 / ours:,.0f} / {1 / theirs:,.0f} | {theirs / ours:.2f}"
        for ours, theirs in (result.join, result.with_opening)
    ]
    ours, theirs = result.cpu
    cpu = f"{ours * 1e6:.0f} / {theirs * 1e6:.0f} | {theirs / ours:.2f}"
    met = "yes" if result.is_met else "NO"
    counts = f"{result.failures} | {result.redis_connections}"
    return f"| {result.clients:,} | {' | '.join(rates)} | {cpu} | {counts} | {met} |"


def main() -> int:
    """Run the numbers of clients that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--layer", action="store_true", help="with an in-memory channel layer")
    parser.add_argument("--json", action="store_true", help="print what is found as JSON")
    parser.add_argument("clients", nargs="*", type=int, default=[1000, 5000])
    asked = parser.parse_args()
    if not asked.json:
        print(TITLES)
    rounds = 3 if asked.quick else ROUNDS
    met = True
    for clients in asked.clients:
        result = run(clients, rounds, layer=asked.layer)
        met = met and result.is_met
        print(json.dumps(asdict(result)) if asked.json else row_of(result), flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
