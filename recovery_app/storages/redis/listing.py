"""Own pages of what is stored, and its count: by SCAN, as Redis keeps no order of keys.

A page costs a step of SCAN over about `STEP_KEYS` keys and the values that it shows; with a
``prefix`` the values of all keys on the way. A count looks at each key there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from recovery_app.snapshots import is_marker, socket_id_in
from recovery_app.storages.base import Entry, EntryPage
from recovery_app.storages.redis.stations import Talk
from recovery_app.storages.redis.topology import Address, Chart
from recovery_app.storages.redis.wire import Command

STEP_KEYS = 1000
MAX_STEPS = 100
"""After so many steps a page is given out as it is, however short."""
READ_KEYS = 100
HEADER_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """How the keys of this storage look like on the server."""

    prefix: str

    def full(self, key: str) -> bytes:
        """Give the server's key; the braces keep all keys of one socket on one node."""
        return f"{self.prefix}{{{key}}}".encode()

    def bare(self, full: bytes) -> str:
        """Give the key as the storage's callers know it."""
        return full[len(self.prefix.encode()) + 1 : -1].decode()

    def scan(self, cursor: str) -> Command:
        """Give a step of SCAN over these keys alone."""
        escaped = "".join(f"\\{char}" if char in "\\*?[]" else char for char in self.prefix)
        return ("SCAN", cursor, "MATCH", f"{escaped}{{*}}", "COUNT", STEP_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Behind which key of which step of which node a page starts.

    Within a step the keys are in order, so that it doesn't matter which of them have gone
    since. A store of up to about `STEP_KEYS` keys is one step, and all in order.
    """

    key: str = ""
    step: str = "0"
    node: int = 0

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """Read a cursor; `ValueError` for one that this storage can't have made."""
        key, _, rest = (text or "").partition("@")
        step, _, node = (rest or "0.0").partition(".")
        if not (step.isdecimal() and node.isdecimal()):
            raise ValueError("The cursor isn't one of this storage.")
        return cls(key=key, step=step, node=int(node))

    def __str__(self) -> str:
        place = f"{self.step}.{self.node}"
        return self.key if place == "0.0" and self.key else f"{self.key}@{place}"


def listing(
    keys: Keys, *, prefix: str, cursor: str | None, limit: int
) -> Callable[[Chart], Talk[EntryPage]]:
    """Give the work of making a page of snapshots whose socket ids start with ``prefix``."""
    start = Cursor.read(cursor)

    def work(chart: Chart) -> Talk[EntryPage]:
        entries: list[Entry] = []
        at: Cursor | None = start
        for _ in range(MAX_STEPS):
            address = _node(chart, at)
            if at is None or address is None:
                return EntryPage(entries=entries)
            found, behind = yield from _scan(keys, chart, address, at)
            at = yield from _fill(entries, keys, address, found, prefix=prefix, at=at, limit=limit)
            if at is not None:
                return EntryPage(entries=entries, next_cursor=str(at))
            at = behind
        return EntryPage(entries=entries, next_cursor=str(at) if at else None)

    return work


def counting(keys: Keys) -> Callable[[Chart], Talk[int]]:
    """Give the work of counting snapshots; the markers of revocations are none."""

    def work(chart: Chart) -> Talk[int]:
        total = 0
        at: Cursor | None = Cursor()
        while at is not None and (address := _node(chart, at)) is not None:
            found, at = yield from _scan(keys, chart, address, at)
            if found:
                full = (keys.full(key) for key in found)
                headers = yield address, [("GETRANGE", key, 0, HEADER_BYTES - 1) for key in full]
                total += sum(isinstance(each, bytes) and not is_marker(each) for each in headers)
        return total

    return work


def _node(chart: Chart, at: Cursor | None) -> Address | None:
    addresses = chart.addresses
    return addresses[at.node] if at is not None and at.node < len(addresses) else None


def _scan(
    keys: Keys, chart: Chart, address: Address, at: Cursor
) -> Talk[tuple[list[str], Cursor | None]]:
    """Give the keys of a step in order, behind the cursor's, and where the next step starts."""
    (reply,) = yield address, [keys.scan(at.step)]
    if isinstance(reply, Exception):
        raise reply
    step, found = reply
    names = sorted({keys.bare(full) for full in found})
    behind: Cursor | None = Cursor(step=step.decode(), node=at.node)
    if step == b"0":
        last = at.node + 1 == len(chart.addresses)
        behind = None if last else Cursor(node=at.node + 1)
    return [name for name in names if name > at.key], behind


def _fill(
    entries: list[Entry],
    keys: Keys,
    address: Address,
    found: Sequence[str],
    *,
    prefix: str,
    at: Cursor,
    limit: int,
) -> Talk[Cursor | None]:
    """Put live snapshots into the page; give the cursor behind it where more are there."""
    last = at.key
    for start in range(0, len(found), READ_KEYS):
        names = found[start : start + READ_KEYS]
        commands: list[Command] = []
        for name in names:
            commands += [("GET", keys.full(name)), ("PTTL", keys.full(name))]
        replies = yield address, commands
        for name, data, ttl_ms in zip(names, replies[::2], replies[1::2], strict=True):
            entry = _entry(name, data, ttl_ms, prefix)
            if entry is None:
                continue
            if len(entries) == limit:
                return Cursor(key=last, step=at.step, node=at.node)
            entries.append(entry)
            last = name
    return None


def _entry(name: str, data: Any, ttl_ms: Any, prefix: str) -> Entry | None:
    """Give an entry, unless it went in the meantime, is a marker, or not what is looked for."""
    if not isinstance(data, bytes) or not isinstance(ttl_ms, int) or is_marker(data):
        return None
    if not socket_id_in(data).startswith(prefix):
        return None
    return Entry(key=name, data=data, expires_in=ttl_ms / 1000)
