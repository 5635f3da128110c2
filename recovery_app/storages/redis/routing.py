"""Where requests go: redirects, failovers and seeds, once for both clients and without I/O.

A flow is a generator. It yields an action, is sent what came of it (a reply, or the exception
that was raised), and returns its result in the end. A client drives flows, blocking or awaiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from recovery_app.storages.redis.errors import GONE, REDIRECTS, NobodyHasSlot, is_demoted
from recovery_app.storages.redis.requests import Command, Request
from recovery_app.storages.redis.topology import Address, SeedNodes, SlotMap, Topology

MAX_HOPS = 5
Result = TypeVar("Result")


class Send(NamedTuple):
    """Send a request to a server; ``asking`` if it is only about to get the key's slot."""

    address: Address
    request: Request[Any]
    asking: bool = False


class Ask(NamedTuple):
    """Send commands to a server, or to a seed, and return all replies."""

    address: Address
    commands: Sequence[Command]
    is_seed: bool = False


class Locate(NamedTuple):
    """Drive `Router.locate`; callers that wait at the same time may share it."""


class Disconnect(NamedTuple):
    """Close all connections: some may lead to a server that isn't a master any more."""


Action = Send | Ask | Locate | Disconnect
Flow = Generator[Action, Any, Result]
Start = Callable[[SlotMap], Flow[Result]]
"""Starts a flow over all servers that hold keys."""


class Router:
    """What is known of the servers, and the flows that find the one for a request.

    ``slots`` is ``None`` while the seeds have to be asked.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._seeds = SeedNodes(topology.seeds)
        self._question = topology.question
        self.slots = None if self._question else SlotMap([topology.seeds[0]])

    def send(self, request: Request[Any]) -> Flow[Any]:
        """Return the reply to a request; raise what failed."""
        address = yield from self._address_of(request.key)
        reply = yield Send(address, request)
        return (yield from self.retry(request, address, reply))

    def retry(self, request: Request[Any], address: Address, reply: Any) -> Flow[Any]:
        """Return a good reply; if it is an exception, ask where the request should have gone."""
        is_refused = is_demoted(reply)
        # Another thread may demote a server, and have no slots, at any time.
        slots = self.slots
        if is_refused and slots is not None and slots.get(request.key) == address:
            self.demote(address)
            yield Disconnect()
        if self._question and (is_refused or (isinstance(reply, GONE) and request.spec.repeatable)):
            # Another server may have taken its place: send to that one at once.
            successor = yield from self._address_of(request.key)
            if successor != address:
                address = successor
                reply = yield Send(address, request)
        for _ in range(MAX_HOPS):
            if not isinstance(reply, REDIRECTS):
                break
            # Without a host the redirect means that of the server that was asked.
            address = (reply.host or address[0], reply.port)
            is_moved = isinstance(reply, MovedError)
            slots = self.slots
            if is_moved and slots is not None:
                slots.move(reply.slot_id, address)
            reply = yield Send(address, request, asking=not is_moved)
        return unwrap(reply)

    def run(self, start: Start[Result]) -> Flow[Result]:
        """Return the result of a flow over all servers that hold keys."""
        slots = yield from self._located()
        return (yield from start(slots))

    def locate(self) -> Flow[SlotMap]:
        """Return the slot map of the first seed that knows it; raise the last failure."""
        failure: Exception = RedisConnectionError("No seed knows where the data is.")
        for seed in self._seeds:
            replies = yield Ask(seed, [self._question or ()], is_seed=True)
            if isinstance(replies, Exception):
                failure = replies
                continue
            slots = self._topology.read(replies[0], seed)
            if slots is not None:
                self._seeds.learn(seed, slots)
                self.slots = slots
                return slots
        raise failure

    def demote(self, address: Address) -> None:
        """Ask the seeds again before the next request: a server has failed or been demoted."""
        if self._question:
            self.slots = None
            self._seeds.demote(address)

    def _address_of(self, key: bytes) -> Flow[Address]:
        slots = yield from self._located()
        address = slots.get(key)
        if address is None:
            # Nobody would ever reply MOVED: only a newer map can know better.
            self.slots = None
            raise NobodyHasSlot("No node of the Cluster has the slot.")
        return address

    def _located(self) -> Flow[SlotMap]:
        slots = self.slots
        if slots is None:
            slots = unwrap((yield Locate()))
        return slots


def ask(address: Address, commands: Sequence[Command]) -> Flow[list[Any]]:
    """Return the replies to commands, errors of single ones among them; raise what failed."""
    replies: list[Any] = unwrap((yield Ask(address, commands)))
    return replies


def unwrap(reply: Any) -> Any:
    """Return a reply; raise it if it is an exception."""
    if isinstance(reply, Exception):
        raise reply
    return reply
