"""Own blocking calls: redis-py's pools, one for each server, shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, Queue
from typing import Any, TypeVar

import redis
from redis import BlockingConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from recovery_app.storages.redis.async_client import MAX_HOPS, Talk
from recovery_app.storages.redis.errors import (
    BROKEN,
    FAILURES,
    GONE,
    REDIRECTS,
    as_redirect,
    is_demoted,
    not_connected,
)
from recovery_app.storages.redis.options import SYNC_CLASSES, Limits, at
from recovery_app.storages.redis.pipelining import is_unknown
from recovery_app.storages.redis.requests import Call, Command, Manner, Packet
from recovery_app.storages.redis.topology import (
    ROLE,
    Address,
    Chart,
    NobodyHasSlot,
    Seeds,
    Topology,
    is_replica,
    note_move,
    target_of,
)

Result = TypeVar("Result")
# Before 5.3 a pool wants to know the command that the connection is for.
FOR = ("EVALSHA",) if tuple(map(int, redis.__version__.split(".")[:2])) < (5, 3) else ()


class Servers:
    """The connections of all threads.

    ``pool`` is one that somebody else made and closes, for all that is asked; without it
    there is one for each address, whose connections are waited for.
    """

    def __init__(
        self, topology: Topology, manner: Manner, limits: Limits, *, pool: Any = None
    ) -> None:
        self._topology = topology
        self._manner = manner
        self._limits = limits
        self._pool = pool
        self._lock = threading.Lock()
        self._pools: dict[Address, BlockingConnectionPool] = {}
        self._seeds = Seeds(topology)
        self._chart: Chart | None = None
        self.forget()

    def call(self, call: Call) -> Any:
        """Give what comes of one call; raise what failed."""
        address = self._address_of(call.key)
        try:
            result = self._exchange(address, call, asking=False)
        except GONE as error:
            if not call.kind.repeatable:
                raise
            result = error
        if is_demoted(result):
            self.forget()
        if isinstance(result, GONE) or is_demoted(result):
            # Another server may have taken its place: that one is asked at once.
            address, gone = self._address_of(call.key), address
            if address != gone:
                result = self._exchange(address, call, asking=False)
        for _ in range(MAX_HOPS):
            if not isinstance(result, REDIRECTS):
                break
            asked, address = address, target_of(result, address)
            note_move(self._chart, result, address)
            stays = self._chart is None or self._chart.of(call.key) == address
            result = self._exchange(address, call, asking=not stays)
            if not stays:
                address = asked
        if isinstance(result, Exception):
            raise result
        read = call.kind.read
        return result if read is None else read(result)

    def talk(self, start: Callable[[Chart], Talk[Result]]) -> Result:
        """Have the commands of a longer piece of work sent."""
        work = start(self.chart())
        try:
            address, commands = next(work)
            while True:
                address, commands = work.send(self._ask(address, commands))
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def chart(self) -> Chart:
        """Give what holds which key, asked of the seeds where it isn't known."""
        chart = self._chart
        if chart is None:
            chart = self._chart = self._find()
        return chart

    def forget(self) -> None:
        """Ask anew where the data is, and let go of connections that may lead elsewhere."""
        plain = self._pool is not None or not self._topology.question
        self._chart = self._topology.fixed if plain else None
        if self._pool is not None:
            with suppress(*FAILURES):
                _hang_up(self._pool)
        self.close()

    def close(self) -> None:
        """Let go of all connections that are ours; a later call makes new ones."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            _hang_up(pool)

    def after_fork(self) -> None:
        """Forget the parent's connections."""
        self._lock = threading.Lock()
        self._pools = {}

    def _address_of(self, key: bytes) -> Address:
        try:
            return self.chart().of(key)
        except NobodyHasSlot:
            # Nobody would ever say MOVED: only another chart can know better.
            self._chart = None
            raise

    def _exchange(self, address: Address, call: Call, *, asking: bool) -> Any:
        result = self._send(address, call, by_hash=True, asking=asking)
        if is_unknown(result):
            result = self._send(address, call, by_hash=False, asking=asking)
        return result

    def _send(self, address: Address, call: Call, *, by_hash: bool, asking: bool) -> Any:
        packet = Packet([call], self._manner, by_hash=by_hash, asking=asking)
        packet.settle(self._ask(address, packet.commands))
        return call.result

    def _ask(self, address: Address, commands: Sequence[Command]) -> list[Any]:
        try:
            return _converse(self._pool or self._pool_at(address), commands)
        except BROKEN:
            if self._topology.question and self._pool is None:
                self._chart = None
                self._seeds.doubt(address)
            raise

    def _pool_at(self, address: Address) -> BlockingConnectionPool:
        with self._lock:
            pool = self._pools.get(address)
            if pool is None:
                topology = self._topology
                arguments = dict(topology.arguments)
                if topology.service is not None:
                    arguments["redis_connect_func"] = _meet_master
                pool = self._pools[address] = self._make(address, topology.kind, arguments)
            return pool

    def _make(self, address: Address, kind: str, arguments: Any) -> BlockingConnectionPool:
        return BlockingConnectionPool(  # type: ignore[no-untyped-call]
            connection_class=SYNC_CLASSES[kind],
            max_connections=self._limits.max_connections,
            timeout=self._limits.timeout,
            retry=Retry(NoBackoff(), 0),
            **{
                "socket_timeout": self._limits.timeout,
                "socket_connect_timeout": self._limits.timeout,
                **at(address, kind, arguments),
            },
        )

    def _find(self) -> Chart:
        topology = self._topology
        error: Exception = RedisConnectionError("No seed knows where the data is.")
        for seed in self._seeds:
            pool = self._make(seed, topology.seed_kind, topology.seed_arguments)
            try:
                reply = _converse(pool, [topology.question or ()])[0]
            except FAILURES as failure:
                error = failure
                continue
            finally:
                pool.disconnect()
            chart = topology.read(reply, seed)
            if chart is not None:
                self._seeds.learn(seed, chart)
                return chart
        raise error


def _hang_up(pool: Any) -> None:
    """Close the connections that no call is using."""
    try:
        pool.disconnect(inuse_connections=False)
    except TypeError:
        # Before redis-py 7 a blocking pool can only close all, under the feet of other threads.
        idle = list(_drained(pool.pool))
        for connection in filter(None, idle):
            connection.disconnect()
        for each in idle:
            pool.pool.put_nowait(each)


def _drained(queue: Queue[Any]) -> Iterator[Any]:
    with suppress(Empty):
        while True:
            yield queue.get_nowait()


def _converse(pool: Any, commands: Sequence[Command]) -> list[Any]:
    connection = _connected(pool)
    try:
        packed = [part for command in commands for part in connection.pack_command(*command)]
        connection.send_packed_command(packed)
        return [_read(connection) for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _connected(pool: Any) -> Any:
    try:
        return pool.get_connection(*FOR)
    except FAILURES:
        raise
    except Exception as error:
        raise not_connected(error) from error


def _meet_master(connection: Any) -> None:
    """Greet the server as redis-py does, and take what isn't a master (any more) for gone."""
    connection.on_connect()
    connection.send_command(*ROLE)
    if is_replica(_read(connection)):
        raise RedisConnectionError("It is a replica now.")


def _read(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return as_redirect(error)
