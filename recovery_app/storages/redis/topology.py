"""Which server holds which key: one server, a Sentinel's master, or a Cluster's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.crc import key_slot

from recovery_app.storages.redis.requests import Command

SLOTS = 16_384

ROLE: Command = ("ROLE",)
"""Sent on each new connection to a Sentinel's master, as Redis' guide for clients asks for."""

Address = tuple[str, int]
"""Host and port; path and 0 for a socket in the file system."""


class SlotMap:
    """The address for each slot. ``nodes`` are all that can be asked for the next map."""

    def __init__(self, slots: list[Address | None], nodes: Sequence[Address] = ()) -> None:
        self._slots = slots
        self._only = slots[0] if len(slots) == 1 else None
        self.nodes = nodes

    @property
    def addresses(self) -> list[Address]:
        """The servers that hold keys, sorted."""
        return sorted({address for address in self._slots if address is not None})

    def get(self, key: bytes) -> Address | None:
        """Return the server of a key, or ``None`` if no node has its slot."""
        return self._only or self._slots[key_slot(key)]

    def move(self, slot: int, address: Address) -> None:
        """Record that a slot has moved."""
        if self._only is None:
            self._slots[slot] = address


@dataclass(frozen=True, kw_only=True)
class Topology:
    """How to find the servers, and redis-py's arguments for connections to them.

    ``kind`` is ``tcp``, ``ssl`` or ``unix``. Without a ``service``, and if this isn't a
    Cluster, the first of ``seeds`` is the server; otherwise seeds are asked where the data is.
    """

    seeds: tuple[Address, ...]
    kind: str = "tcp"
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    seed_kind: str = "tcp"
    seed_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    service: str | None = None
    cluster: bool = False

    @property
    def title(self) -> str:
        """The servers as the settings name them, for error messages."""
        seeds = ", ".join(host if not port else f"{host}:{port}" for host, port in self.seeds)
        if self.service is not None:
            return f"{self.service!r} of the Sentinels {seeds}"
        return f"Cluster of {seeds}" if self.cluster else seeds

    @property
    def question(self) -> Command | None:
        """The command that asks a seed where the data is, or ``None`` for a single server."""
        if self.cluster:
            return ("CLUSTER", "SLOTS")
        if self.service is not None:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return None

    def read(self, reply: Any, seed: Address) -> SlotMap | None:
        """Return the map in a seed's answer, or ``None`` if it doesn't know."""
        if not reply or isinstance(reply, Exception):
            return None
        if not self.cluster:
            return SlotMap([_address(reply, seed)])
        slots: list[Address | None] = [None] * SLOTS
        nodes: list[Address] = []
        for first, last, *servers in reply:
            addresses = [_address(server, seed) for server in servers]
            slots[first : last + 1] = addresses[:1] * (last - first + 1)
            nodes += addresses
        return SlotMap(slots, nodes)


class SeedNodes:
    """The servers to ask where the data is: the last to answer first, the last to fail last.

    So a server that stalls costs its timeout only once. Nodes of a Cluster are added to the
    seeds in the settings, which may have gone for good.
    """

    def __init__(self, configured: tuple[Address, ...]) -> None:
        self._configured = configured
        self._known: Sequence[Address] = configured

    def __iter__(self) -> Iterator[Address]:
        return iter(self._known)

    def learn(self, seed: Address, slots: SlotMap) -> None:
        """Record which seed has answered, and the nodes in its answer."""
        self._known = tuple(dict.fromkeys((seed, *self._configured, *slots.nodes)))

    def demote(self, address: Address) -> None:
        """Ask all others before this one, which has just failed."""
        if address in self._known:
            others = (each for each in self._known if each != address)
            self._known = (*others, address)


def is_replica(role: object) -> bool:
    """Return whether a reply to `ROLE` is a replica's; an error says nothing either way."""
    return isinstance(role, list) and role[:1] in ([b"slave"], ["slave"])


def _address(parts: Any, asked: Address) -> Address:
    host, port = parts[:2]
    host = host.decode() if isinstance(host, bytes) else host
    return (host if host not in (None, "", "?") else asked[0], int(port))
