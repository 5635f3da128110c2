"""Own the question which server holds what: one, a Sentinel's master, or a Cluster's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from recovery_app.storages.redis.requests import Command

SLOTS = 16_384

ROLE: Command = ("ROLE",)
"""What a new connection to a Sentinel's master asks, as Redis' guide for clients has it."""

Address = tuple[str, int]
"""Host and port; path and 0 for a socket in the file system."""


class NobodyHasSlot(RedisConnectionError):
    """No node has the slot of a key, as far as the one knew that was asked."""


class Chart:
    """Which address holds which key. ``nodes`` are all that may be asked for the next chart."""

    def __init__(self, slots: list[Address | None], nodes: Sequence[Address] = ()) -> None:
        self._slots = slots
        self.nodes = nodes

    @property
    def addresses(self) -> list[Address]:
        """Give all servers that hold something, in a steady order."""
        return sorted({address for address in self._slots if address is not None})

    def of(self, key: bytes) -> Address:
        """Give the server of a key; `NobodyHasSlot`."""
        address = self._slots[key_slot(key) if len(self._slots) > 1 else 0]
        if address is None:
            raise NobodyHasSlot("No node of the Cluster has the slot.")
        return address

    def move(self, slot: int, address: Address) -> None:
        """Note that a slot has moved."""
        if len(self._slots) > 1:
            self._slots[slot] = address


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How to find the servers, and with what arguments redis-py connects to them.

    ``kind`` is ``tcp``, ``ssl`` or ``unix``. Without a ``service`` and not a Cluster, the
    first of ``seeds`` is the one server; otherwise they are asked where the data is.
    """

    seeds: tuple[Address, ...]
    kind: str = "tcp"
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    seed_kind: str = "tcp"
    seed_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    service: str | None = None
    cluster: bool = False

    @property
    def question(self) -> Command | None:
        """Give the command to ask of the seeds; none where there is nothing to ask."""
        if self.cluster:
            return ("CLUSTER", "SLOTS")
        if self.service is not None:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return None

    @property
    def fixed(self) -> Chart:
        """Give the chart of the one server."""
        return Chart([self.seeds[0]])

    def read(self, reply: Any, asked: Address) -> Chart | None:
        """Make a chart of a seed's answer, or nothing if it knows nothing."""
        if not reply or isinstance(reply, Exception):
            return None
        if not self.cluster:
            return Chart([_address(reply, asked)])
        slots: list[Address | None] = [None] * SLOTS
        nodes: list[Address] = []
        for first, last, *servers in reply:
            addresses = [_address(server, asked) for server in servers]
            slots[first : last + 1] = addresses[:1] * (last - first + 1)
            nodes += addresses
        return Chart(slots, nodes)


class Seeds:
    """Who is asked where the data is: first who answered last, and last who has just failed.

    So one that stalls costs its time-out once. The nodes of a Cluster stand in for the seeds
    that were named, which may have gone for good.
    """

    def __init__(self, topology: Topology) -> None:
        self._named = topology.seeds
        self._known: Sequence[Address] = topology.seeds

    def __iter__(self) -> Iterator[Address]:
        return iter(self._known)

    def learn(self, seed: Address, chart: Chart) -> None:
        """Note who has answered, and what."""
        self._known = tuple(dict.fromkeys((seed, *self._named, *chart.nodes)))

    def doubt(self, address: Address) -> None:
        """Ask all others first: this one has just failed."""
        if address in self._known:
            others = (each for each in self._known if each != address)
            self._known = (*others, address)


def is_replica(role: object) -> bool:
    """Say whether a server's answer to `ROLE` is a replica's; who may not ask can't tell."""
    return isinstance(role, list) and role[:1] in ([b"slave"], ["slave"])


def target_of(error: Any, asked: Address) -> Address:
    """Give where a redirection leads; without a host it is the one that was asked."""
    return (error.host or asked[0], error.port)


def note_move(chart: Chart | None, error: Exception, address: Address) -> None:
    """Keep what a redirection says for good."""
    if chart is not None and isinstance(error, MovedError) and type(error) is MovedError:
        chart.move(error.slot_id, address)


def _address(parts: Any, asked: Address) -> Address:
    host, port = parts[:2]
    host = host.decode() if isinstance(host, bytes) else host
    return (host if host not in (None, "", "?") else asked[0], int(port))
