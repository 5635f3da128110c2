"""Listing the streams of durable groups, for operators: flows over SCAN, and single requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.messages import StreamEntry, read_entries
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.routing import Flow, ask
from recovery_app.storages.redis.scanning import Cursor, scan
from recovery_app.storages.redis.topology import Address, SlotMap
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage

MAX_STEPS = 50
"""After so many steps of SCAN, of a thousand keys each, a page ends, however short it is."""


def stream_keys(prefix: str) -> Keys:
    """Return the names of streams, in the form of those of snapshots with another prefix."""
    return Keys(prefix=f"{prefix}groups:")


def list_groups(
    slots: SlotMap, *, keys: Keys, prefix: str, start: Cursor, limit: int
) -> Flow[GroupPage]:
    """Return a page of groups in the order of SCAN."""
    items: list[GroupInfo] = []
    at: Cursor | None = start
    for _ in range(MAX_STEPS):
        address = at.address(slots) if at else None
        if at is None or address is None:
            return GroupPage(items=items)
        found, following = yield from scan(keys, slots, address, at)
        names = [name for name in found if name.startswith(prefix)]
        room = limit - len(items)
        items += yield from _describe(keys, address, names[:room])
        if len(names) > room:
            behind = at.after(names[room - 1]) if room else at
            return GroupPage(items=items, next_cursor=str(behind))
        at = following
    return GroupPage(items=items, next_cursor=str(at) if at else None)


def describe(
    name: str, length: int, first: Sequence[StreamEntry], last: Sequence[StreamEntry]
) -> GroupInfo | None:
    """Return the facts from the ends of a stream; ``first`` has its first two entries."""
    if not length or not last:
        return None
    messages = [each for each in first if each.data]
    length -= len(first) - len(messages)
    position = last[0].position
    if not messages or length < 1:
        return GroupInfo(name=name, newest=position)
    oldest_us, newest_us = time_in(messages[0].position), time_in(position)
    return GroupInfo(
        name=name, newest=position, length=length, oldest_us=oldest_us, newest_us=newest_us
    )


def logged(entries: Sequence[StreamEntry]) -> list[LoggedMessage]:
    """Return the messages among some entries."""
    return [
        LoggedMessage(entry.position, entry.data, time_in(entry.position))
        for entry in entries
        if entry.data
    ]


def time_in(position: str) -> int:
    """Return the time of an entry, which is in its id, in microseconds."""
    return int(position.partition("-")[0]) * 1000


def _describe(keys: Keys, address: Address, names: Sequence[str]) -> Flow[list[GroupInfo]]:
    if not names:
        return []
    commands: list[Command] = []
    for name in map(keys.encode, names):
        commands += [
            ("XLEN", name),
            ("XRANGE", name, "-", "+", "COUNT", 2),
            ("XREVRANGE", name, "+", "-", "COUNT", 1),
        ]
    replies = yield from ask(address, commands)
    found = map(_to_info, names, replies[::3], replies[1::3], replies[2::3])
    return [info for info in found if info is not None]


def _to_info(name: str, length: Any, first: Any, last: Any) -> GroupInfo | None:
    if not (isinstance(length, int) and isinstance(first, list) and isinstance(last, list)):
        # Something else has this name, or the key is gone to another node.
        return None
    return describe(name, length, read_entries(first), read_entries(last))
