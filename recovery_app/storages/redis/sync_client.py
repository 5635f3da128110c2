"""The blocking client: a pool of redis-py's connections for each server, shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from recovery_app.storages.redis.errors import BROKEN, FAILURES, as_redirect, translate_error
from recovery_app.storages.redis.options import SYNC_CLASSES, Limits, connection_arguments
from recovery_app.storages.redis.packing import pack
from recovery_app.storages.redis.requests import Command, Pipeline, Request, WriteOptions
from recovery_app.storages.redis.routing import Action, Ask, Flow, Locate, Router, Send, Start
from recovery_app.storages.redis.sync_pool import GivenPool, OwnPool, SyncPool
from recovery_app.storages.redis.topology import ROLE, Address, Topology, is_replica

Result = TypeVar("Result")


class SyncClient:
    """The connections of all threads.

    ``pool`` belongs to somebody else, who closes it, and is used for everything. Without it
    there is a pool for each address, and a thread waits for a free connection.
    """

    def __init__(
        self, topology: Topology, options: WriteOptions, limits: Limits, *, pool: Any = None
    ) -> None:
        self._topology = topology
        self._options = options
        self._limits = limits
        self._pool = None if pool is None else GivenPool(pool)
        self._lock = threading.Lock()
        self._pools: dict[Address, OwnPool] = {}
        # A pool that was given finds a Sentinel's master by itself.
        self._router = Router(topology if pool is None else replace(topology, service=None))

    def send(self, request: Request[Result]) -> Result:
        """Return the result of a request; raise `StorageError`."""
        spec = request.spec
        try:
            reply = self._drive(self._router.send(request))
        except FAILURES as error:
            raise translate_error(error, spec.operation, self._topology.title) from error
        result: Result = reply if spec.read is None else spec.read(reply)
        return result

    def run(self, start: Start[Result], operation: str) -> Result:
        """Return the result of a flow over all servers; raise `StorageError`."""
        try:
            return self._drive(self._router.run(start))
        except FAILURES as error:
            raise translate_error(error, operation, self._topology.title) from error

    def close(self) -> None:
        """Close all connections but those of a pool that was given; later calls open new ones."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close_idle()

    def after_fork(self) -> None:
        """Forget the parent's connections."""
        self._lock = threading.Lock()
        self._pools = {}

    def _drive(self, flow: Flow[Result]) -> Result:
        outcome: Any = None
        try:
            while True:
                action = flow.send(outcome)
                try:
                    outcome = self._perform(action)
                except FAILURES as error:
                    outcome = error
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def _perform(self, action: Action) -> Any:
        if isinstance(action, Send):
            return self._send(action)
        if isinstance(action, Ask):
            return self._ask(action)
        if isinstance(action, Locate):
            return self._drive(self._router.locate())
        if self._pool is not None:
            self._pool.close_idle()
        return self.close()

    def _send(self, action: Send) -> Any:
        address, request, asking = action
        pipeline: Pipeline | None = Pipeline([request], self._options, asking=asking)
        while pipeline is not None:
            pipeline = pipeline.settle(self._exchange(address, pipeline.commands))
        return request.result

    def _ask(self, action: Ask) -> list[Any]:
        address, commands, is_seed = action
        if not is_seed:
            return self._exchange(address, commands)
        pool = self._make_pool(address, self._topology.seed_kind, self._topology.seed_arguments)
        try:
            return _exchange(pool, commands)
        finally:
            pool.close_idle()

    def _exchange(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        try:
            return _exchange(self._pool or self._pool_of(address), commands)
        except BROKEN:
            self._router.demote(address)
            raise

    def _pool_of(self, address: Address) -> OwnPool:
        pool = self._pools.get(address)
        if pool is None:
            arguments = dict(self._topology.arguments)
            if self._topology.service is not None:
                arguments["redis_connect_func"] = _connect_to_master
            with self._lock:
                pool = self._pools.setdefault(
                    address, self._make_pool(address, self._topology.kind, arguments)
                )
        return pool

    def _make_pool(self, address: Address, kind: str, arguments: Any) -> OwnPool:
        make: Callable[[], Any] = partial(
            SYNC_CLASSES[kind],
            retry=Retry(NoBackoff(), 0),
            **{
                "socket_timeout": self._limits.timeout,
                "socket_connect_timeout": self._limits.timeout,
                **connection_arguments(address, kind, arguments),
            },
        )
        return OwnPool(make, self._limits.max_connections, self._limits.timeout)


def _exchange(pool: SyncPool, commands: Sequence[Command]) -> list[Any]:
    connection = pool.take()
    try:
        connection.send_packed_command([pack(commands, connection)])
        return [_read(connection) for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _connect_to_master(connection: Any) -> None:
    """Greet the server as redis-py does, and refuse it if it is a replica."""
    connection.on_connect()
    connection.send_command(*ROLE)
    if is_replica(_read(connection)):
        raise RedisConnectionError("It is a replica now.")


def _read(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return as_redirect(error)
