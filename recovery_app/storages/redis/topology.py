"""Own the question which server holds what: one, a Sentinel's master, or a Cluster's nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from recovery_app.storages.redis.wire import Command

SLOTS = 16_384

Address = tuple[str, int]
"""Host and port; path and 0 for a socket in the file system."""


class Chart:
    """Which address holds which key."""

    def __init__(self, slots: list[Address | None]) -> None:
        self._slots = slots

    @property
    def addresses(self) -> list[Address]:
        """Give all servers that hold something, in a steady order."""
        return sorted({address for address in self._slots if address is not None})

    def of(self, key: bytes) -> Address:
        """Give the server of a key; an error of redis-py's if none has its slot."""
        address = self._slots[key_slot(key) if len(self._slots) > 1 else 0]
        if address is None:
            raise RedisConnectionError("No node of the Cluster has the slot.")
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
        for first, last, primary, *_replicas in reply:
            address = _address(primary, asked)
            slots[first : last + 1] = [address] * (last - first + 1)
        return Chart(slots)


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
