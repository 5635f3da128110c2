"""The awaiting client: the connections of one event loop, and its knowledge of the servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from recovery_app.storages.redis.connections import Connection
from recovery_app.storages.redis.errors import FAILURES, translate_error
from recovery_app.storages.redis.options import Limits, connect_async
from recovery_app.storages.redis.pipelining import Pipeliner
from recovery_app.storages.redis.requests import Command, Pipeline, Request, WriteOptions
from recovery_app.storages.redis.routing import Action, Ask, Flow, Locate, Router, Send, Start
from recovery_app.storages.redis.topology import Address, SlotMap, Topology
from recovery_app.storages.redis.tracking import Hearing, Tracker, Tracking

Result = TypeVar("Result")


class AsyncClient:
    """The connections of one event loop."""

    def __init__(self, topology: Topology, options: WriteOptions, limits: Limits) -> None:
        self._topology = topology
        self._options = options
        self._limits = limits
        self._router = Router(topology)
        self._locating: asyncio.Task[SlotMap] | None = None
        self._pipeliners: dict[Address, Pipeliner] = {}
        self.tracking = Tracking(self._make_tracker)
        self._closer: AsyncGenerator[None, None] | None = None

    async def close_with_loop(self) -> None:
        """Close when the running loop shuts down its generators, as `asyncio.run` does."""
        self._closer = self._close_at_end()
        await self._closer.__anext__()

    async def send(self, request: Request[Result]) -> Result:
        """Return the result of a request; raise `StorageError`."""
        spec = request.spec
        slots = self._router.slots
        try:
            address = None if slots is None else slots.get(request.key)
            if address is None:
                reply = await self._drive(self._router.send(request))
            else:
                # The start of that flow: nearly every request is answered without the rest.
                pipeliner = None if spec.is_tracked else self._pipeliners.get(address)
                if pipeliner is None:
                    pipeliner = self._pipeliner(address, is_tracked=spec.is_tracked)
                reply = await pipeliner.send(request)
                if isinstance(reply, Exception):
                    reply = await self._drive(self._router.retry(request, address, reply))
        except FAILURES as error:
            raise translate_error(error, spec.operation, self._topology.title) from error
        result: Result = reply if spec.read is None else spec.read(reply)
        return result

    async def run(self, start: Start[Result], operation: str) -> Result:
        """Return the result of a flow over all servers; raise `StorageError`."""
        try:
            return await self._drive(self._router.run(start))
        except FAILURES as error:
            raise translate_error(error, operation, self._topology.title) from error

    async def close(self) -> None:
        """Close all connections; later calls open new ones."""
        for pipeliner in list(self._pipeliners.values()):
            await pipeliner.close()
        await self.tracking.close()

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def _drive(self, flow: Flow[Result]) -> Result:
        outcome: Any = None
        try:
            while True:
                action = flow.send(outcome)
                try:
                    outcome = await self._perform(action)
                except FAILURES as error:
                    outcome = error
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _perform(self, action: Action) -> Any:
        if isinstance(action, Send):
            if action.asking:
                return await self._send_asking(action)
            request = action.request
            pipeliner = self._pipeliner(action.address, is_tracked=request.spec.is_tracked)
            return await pipeliner.send(request)
        if isinstance(action, Ask):
            return await self._ask(action)
        if isinstance(action, Locate):
            return await self._locate()
        return await self.close()

    async def _send_asking(self, action: Send) -> Any:
        pipeliner = self._pipeliner(action.address, is_tracked=action.request.spec.is_tracked)
        pipeline: Pipeline | None = Pipeline([action.request], self._options, asking=True)
        while pipeline is not None:
            replies = await pipeliner.ask(pipeline.commands, repeatable=pipeline.is_repeatable)
            pipeline = pipeline.settle(replies)
        return action.request.result

    async def _ask(self, action: Ask) -> list[Any]:
        address, commands, is_seed = action
        if not is_seed:
            return await self._pipeliner(address).ask(commands)
        topology = self._topology
        make = partial(connect_async, address, topology.seed_kind, topology.seed_arguments)
        connection = Connection(make, self._limits.timeout)
        try:
            return await connection.ask(commands, repeatable=True)
        finally:
            await connection.close()

    async def _locate(self) -> SlotMap:
        if self._locating is None:
            self._locating = asyncio.ensure_future(self._drive(self._router.locate()))
            self._locating.add_done_callback(self._located)
        return await asyncio.shield(self._locating)

    def _located(self, locating: asyncio.Task[SlotMap]) -> None:
        self._locating = None
        if not locating.cancelled():
            # All who waited may have been cancelled: then nobody else retrieves the exception.
            locating.exception()

    def _pipeliner(self, address: Address, *, is_tracked: bool = False) -> Pipeliner:
        if is_tracked and self.tracking.is_on:
            return self.tracking.pipeliner(address)
        pipeliner = self._pipeliners.get(address)
        if pipeliner is None:
            pipeliner = self._pipeliners[address] = self._make_pipeliner(address)
        return pipeliner

    def _make_pipeliner(
        self,
        address: Address,
        lanes: int = 0,
        greet: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Pipeliner:
        orphans: list[Command] = []
        connections = [
            Connection(
                self._maker(address),
                self._limits.timeout,
                orphans,
                to_master=self._topology.service is not None,
                greet=greet,
            )
            for _ in range(lanes or self._limits.lanes)
        ]
        return Pipeliner(
            connections, self._options, on_broken=partial(self._router.demote, address)
        )

    def _make_tracker(self, address: Address, tracking: Tracking) -> Tracker:
        return Tracker(
            partial(Hearing, self._maker(address), self._limits.timeout),
            partial(self._make_pipeliner, address, 1),
            tracking,
        )

    def _maker(self, address: Address) -> Callable[[], Any]:
        return partial(connect_async, address, self._topology.kind, self._topology.arguments)
