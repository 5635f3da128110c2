"""Own the players: each runs a script over real connections, and comes back after every drop."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence

from recovery_app.chaos.client import Client, Drop
from recovery_app.chaos.judge import Result
from recovery_app.chaos.scripts import Line

try:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
except ImportError as error:
    raise ImportError(
        'The client of the chaos kit needs websockets: pip install "django-recovery-app[chaos]"'
    ) from error

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 0.5
TICK_SECONDS = 0.02
BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 1.0
MAX_AT_ONCE = 16


class Player:
    """One client with its script."""

    def __init__(
        self,
        url: str,
        client: Client,
        script: Sequence[Line],
        *,
        dice: random.Random,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._client = client
        self._script = script
        self._dice = dice
        self._headers = dict(headers or {})
        self._pushed = 0
        self._at_once = 1

    @property
    def settled(self) -> int:
        """Give how many events have a reply, or are lost."""
        return len(self._client.replies.keys() | self._client.lost)

    @property
    def result(self) -> Result:
        """Give what came of it so far."""
        client = self._client
        return Result(
            replies=[client.replies.get(number) for number in range(len(self._script))],
            state=client.state,
            problems=list(client.problems),
            repeats=client.repeats,
        )

    async def play(self, horizon: Callable[[], float] = lambda: 1.0) -> None:
        """Send all events, no further than the horizon, and wait for all replies."""
        await self._stay(lambda: self._feed(horizon()))

    async def settle(self) -> None:
        """Have every event safe, then join once more: the state that comes back has all of them."""
        await self._stay(lambda: not self._client.kept)
        joined_before = self._client.joins
        await self._stay(lambda: self._client.joins > joined_before)

    def _feed(self, horizon: float) -> bool:
        """Push what may be pushed now, in bursts; say whether all is done."""
        allowed = math.ceil(horizon * len(self._script))
        if not self._client.unanswered:
            self._at_once = self._dice.randint(1, MAX_AT_ONCE)
        while self._pushed < allowed and self._client.unanswered < self._at_once:
            line = self._script[self._pushed]
            self._client.push(line.event, line.payload)
            self._pushed += 1
        return self.settled == len(self._script)

    async def _stay(self, is_done: Callable[[], bool]) -> None:
        """Hold connections, one after the other, until it is done."""
        tries = 0
        while not is_done():
            joins = self._client.joins
            try:
                await self._hold_connection(is_done)
            except (Drop, OSError, asyncio.TimeoutError, WebSocketException):
                tries = 1 if self._client.joins > joins else tries + 1
                bound = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2**tries)
                await asyncio.sleep(self._dice.random() * bound)

    async def _hold_connection(self, is_done: Callable[[], bool]) -> None:
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
            heard = asyncio.ensure_future(socket.recv())
            try:
                while not is_done():
                    for frame in frames:
                        await socket.send(frame)
                    await asyncio.wait({heard}, timeout=TICK_SECONDS)
                    if heard.done():
                        self._client.receive(str(heard.result()), time.monotonic())
                        heard = asyncio.ensure_future(socket.recv())
                    frames = self._client.tick(time.monotonic())
            finally:
                heard.cancel()
