"""Own what an event loop has of its own: connections, batches, and what they know."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from recovery_app.storages.redis.connections import Lane
from recovery_app.storages.redis.errors import FAILURES, GONE, REDIRECTS, is_demoted, translated
from recovery_app.storages.redis.options import Limits, connect_async
from recovery_app.storages.redis.pipelining import Batcher, exchange
from recovery_app.storages.redis.requests import Call, Command, Manner
from recovery_app.storages.redis.topology import (
    Address,
    Chart,
    NobodyHasSlot,
    Seeds,
    Topology,
    note_move,
    target_of,
)

MAX_HOPS = 5
Result = TypeVar("Result")
Talk = Generator[tuple[Address, list[Command]], list[Any], Result]
"""A piece of work that yields commands for an address and is sent their replies."""


class Station:
    """The connections of one event loop, closed when the loop shuts down."""

    def __init__(self, topology: Topology, manner: Manner, limits: Limits) -> None:
        self._topology = topology
        self._manner = manner
        self._limits = limits
        self._seeds = Seeds(topology)
        self._chart: Chart | None = None if topology.question else topology.fixed
        self._finding: asyncio.Task[Chart] | None = None
        self._batchers: dict[Address, Batcher] = {}
        self._end: AsyncGenerator[None, None] | None = None

    async def open(self) -> None:
        """Have the loop close this when it shuts down its generators, as `asyncio.run` does."""
        self._end = self._until_the_loop_ends()
        await self._end.__anext__()

    async def call(self, call: Call, operation: str) -> Any:
        """Give what comes of one call; raise what failed, as an error of ours."""
        try:
            chart = self._chart or await self.chart()
            address = chart.of(call.key)
            batcher = self._batchers.get(address) or self._batcher(address)
            result = await batcher.call(call)
            if isinstance(result, Exception):
                result = await self._persist(call, result, address)
        except FAILURES as error:
            if isinstance(error, NobodyHasSlot):
                # Nobody would ever say MOVED: only another chart can know better.
                self._chart = None
            raise translated(error, operation) from error
        read = call.kind.read
        return result if read is None else read(result)

    async def talk(self, start: Callable[[Chart], Talk[Result]]) -> Result:
        """Have the commands of a longer piece of work sent."""
        work = start(await self.chart())
        try:
            address, commands = next(work)
            while True:
                address, commands = work.send(await self._batcher(address).ask(commands))
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def chart(self) -> Chart:
        """Give what holds which key, asked of the seeds once for all who wait for it."""
        if self._chart is None:
            if self._finding is None:
                self._finding = asyncio.ensure_future(self._find())
                self._finding.add_done_callback(self._found)
            return await asyncio.shield(self._finding)
        return self._chart

    async def forget(self, address: Address) -> None:
        """Let go of connections that may lead to the wrong server, and ask anew."""
        self._lost(address)
        for batcher in list(self._batchers.values()):
            await batcher.close()

    async def close(self) -> None:
        """Let go of all connections; a later call makes new ones."""
        for batcher in list(self._batchers.values()):
            await batcher.close()

    async def _persist(self, call: Call, result: Any, address: Address) -> Any:
        """Ask where a call should have gone; raise what came of it otherwise."""
        is_refused = is_demoted(result)
        if is_refused and self._chart is not None and self._chart.of(call.key) == address:
            await self.forget(address)
        if self._topology.question and (
            is_refused or (isinstance(result, GONE) and call.kind.repeatable)
        ):
            # Another server may have taken its place: that one is asked at once.
            address, gone = (await self.chart()).of(call.key), address
            if address != gone:
                result = await self._batcher(address).call(call)
        for _ in range(MAX_HOPS):
            if not isinstance(result, REDIRECTS):
                break
            result = await self._follow(call, result, address)
        if isinstance(result, Exception):
            raise result
        return result

    async def _follow(self, call: Call, error: Any, asked: Address) -> Any:
        address = target_of(error, asked)
        note_move(self._chart, error, address)
        if self._chart is None or self._chart.of(call.key) == address:
            return await self._batcher(address).call(call)
        lane = self._lane(address)
        work = asyncio.ensure_future(exchange(lane, [call], self._manner, asking=True))
        work.add_done_callback(lambda _: asyncio.ensure_future(lane.close()))
        with suppress(asyncio.CancelledError):
            await asyncio.shield(work)
            return call.result
        raise asyncio.CancelledError

    def _batcher(self, address: Address) -> Batcher:
        batcher = self._batchers.get(address)
        if batcher is None:
            strays: list[Command] = []
            lanes = [self._lane(address, strays) for _ in range(self._limits.lanes)]
            lost = partial(self._lost, address)
            batcher = self._batchers[address] = Batcher(lanes, self._manner, lost)
        return batcher

    def _lane(self, address: Address, strays: list[Command] | None = None) -> Lane:
        topology = self._topology
        make = partial(connect_async, address, topology.kind, topology.arguments)
        return Lane(make, self._limits.timeout, strays, to_master=topology.service is not None)

    def _lost(self, address: Address) -> None:
        if self._topology.question:
            self._chart = None
            self._seeds.doubt(address)

    async def _find(self) -> Chart:
        topology = self._topology
        error: Exception = ConnectionError("No seed knows where the data is.")
        for seed in self._seeds:
            make = partial(connect_async, seed, topology.seed_kind, topology.seed_arguments)
            lane = Lane(make, self._limits.timeout)
            try:
                reply = (await lane.ask([topology.question or ()], repeatable=True))[0]
            except FAILURES as failure:
                error = failure
                continue
            finally:
                await lane.close()
            chart = topology.read(reply, seed)
            if chart is not None:
                self._seeds.learn(seed, chart)
                return chart
        raise error

    def _found(self, finding: asyncio.Task[Chart]) -> None:
        self._finding = None
        if not finding.cancelled() and finding.exception() is None:
            self._chart = finding.result()

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()


def _gone() -> None:
    """Stand for a weak reference to nothing."""


_Pair = tuple[Callable[[], asyncio.AbstractEventLoop | None], Callable[[], Station | None]]
"""Weak references to a loop and its station."""


class Stations:
    """The station of each event loop, safe for threads and after a fork."""

    def __init__(self, make: Callable[[], Station]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Station] = (
            weakref.WeakKeyDictionary()
        )
        self._newest: _Pair = _gone, _gone
        self._inherited: list[object] = []

    def known(self) -> Station | None:
        """Give the station of the running loop, if there is a loop and it has one."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        # Nearly always there is one loop, and the dictionary takes five times as long.
        newest, station = self._newest
        return station() if newest() is loop else self._of.get(loop)

    async def here(self) -> Station:
        """Give the station of the running loop."""
        station = self.known()
        if station is None:
            loop, station = asyncio.get_running_loop(), self._make()
            with self._lock:
                for closed in [other for other in self._of if other.is_closed()]:
                    del self._of[closed]
                self._of[loop] = station
                self._newest = weakref.ref(loop), weakref.ref(station)
            await station.open()
        return station

    def close(self) -> None:
        """Have each running loop let go of its connections; the others did when they ended."""
        with self._lock:
            found = list(self._of.items())
        for loop, station in found:
            if loop.is_running():
                # A loop that ends at this moment closes its connections by itself.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_close_soon, station)

    def after_fork(self) -> None:
        """Forget the parent's loops, and never touch what they still use.

        To close a connection here would take it out of the parent's selector, so what was
        inherited is kept as long as the child lives.
        """
        self._inherited.append(self._of)
        self._newest = _gone, _gone
        self._lock = threading.Lock()
        self._of = weakref.WeakKeyDictionary()


_closing: set[asyncio.Task[None]] = set()


def _close_soon(station: Station) -> None:
    task = asyncio.ensure_future(station.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
