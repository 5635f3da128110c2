"""Clients that run a script over real connections and reconnect whenever one is lost."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence

from recovery_app.chaos.client import Client, Disconnect
from recovery_app.chaos.compare import ClientResult
from recovery_app.chaos.scripts import Line

try:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
except ImportError:
    HAS_WEBSOCKETS = False
else:
    HAS_WEBSOCKETS = True

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 0.5
TICK_SECONDS = 0.02
BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 1.0
MAX_BURST = 16


def require_websockets() -> None:
    """Raise `ImportError` if the optional dependency of the clients is missing."""
    if not HAS_WEBSOCKETS:
        raise ImportError(
            'The client of the chaos kit needs websockets: pip install "django-recovery-app[chaos]"'
        )


class ScriptedClient:
    """A client with its script."""

    def __init__(
        self,
        url: str,
        client: Client,
        script: Sequence[Line],
        *,
        rng: random.Random,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._client = client
        self._script = script
        self._rng = rng
        self._headers = dict(headers or {})
        self._pushed = 0
        self._burst = 1

    @property
    def settled(self) -> int:
        """Return how many events have a reply or are lost."""
        return len(self._client.replies.keys() | self._client.lost)

    @property
    def result(self) -> ClientResult:
        """Return the result so far."""
        client = self._client
        return ClientResult(
            replies=[client.replies.get(number) for number in range(len(self._script))],
            state=client.state,
            problems=list(client.problems),
            repeats=client.repeats,
            pushes=client.pushes.count,
            missed=client.pushes.missed,
        )

    @property
    def has_joined(self) -> bool:
        """Return whether the client has ever joined."""
        return self._client.joins > 0

    async def run(
        self,
        horizon: Callable[[], float] = lambda: 1.0,
        is_over: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send the events up to the horizon, a share of the script, until all have replies.

        Stay connected until ``is_over`` returns true as well.
        """
        await self._stay_connected(lambda: self._push_events(horizon()) and is_over())

    async def stay(self, seconds: float) -> None:
        """Stay connected for some seconds."""
        end = time.monotonic() + seconds
        await self._stay_connected(lambda: time.monotonic() >= end)

    async def finish(self) -> None:
        """Wait until all events are saved, then join again, for a state that has them all."""
        await self._stay_connected(lambda: not self._client.queue)
        joined_before = self._client.joins
        await self._stay_connected(lambda: self._client.joins > joined_before)

    def _push_events(self, horizon: float) -> bool:
        """Push a burst of events up to the horizon; return whether all have replies."""
        allowed = math.ceil(horizon * len(self._script))
        if not self._client.unanswered:
            self._burst = self._rng.randint(1, MAX_BURST)
        while self._pushed < allowed and self._client.unanswered < self._burst:
            line = self._script[self._pushed]
            self._client.push(line.event, line.payload)
            self._pushed += 1
        return self.settled == len(self._script)

    async def _stay_connected(self, is_done: Callable[[], bool]) -> None:
        """Reconnect until ``is_done`` returns true."""
        tries = 0
        while not is_done():
            joins = self._client.joins
            try:
                await self._run_connection(is_done)
            except (Disconnect, OSError, asyncio.TimeoutError, WebSocketException):
                tries = 1 if self._client.joins > joins else tries + 1
                limit = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2**tries)
                await asyncio.sleep(self._rng.random() * limit)

    async def _run_connection(self, is_done: Callable[[], bool]) -> None:
        async with connect(
            self._url,
            additional_headers=self._headers,
            compression=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,
            max_size=None,
            proxy=None,
        ) as socket:
            frames = self._client.connect(time.monotonic())
            received = asyncio.ensure_future(socket.recv())
            try:
                while not is_done():
                    for frame in frames:
                        await socket.send(frame)
                    await asyncio.wait({received}, timeout=TICK_SECONDS)
                    if received.done():
                        self._client.receive(str(received.result()), time.monotonic())
                        received = asyncio.ensure_future(socket.recv())
                    frames = self._client.tick(time.monotonic())
            finally:
                received.cancel()
