"""Own pages of what is stored, and its count: by SCAN, as Redis keeps no order of keys.

A page costs a step of SCAN over about `STEP_KEYS` keys and the values that it shows; with a
``prefix`` the values of all keys on the way. A count looks at each key there is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recovery_app.snapshots import HEAD_BYTES, is_marker, socket_id_in
from recovery_app.storages.base import Entry, EntryPage
from recovery_app.storages.browsing import describe_prefix
from recovery_app.storages.redis.async_client import Talk
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.topology import Address, Chart
from recovery_app.values import Page, Query, Sample, SnapshotInfo

STEP_KEYS = 1000
MAX_STEPS = 100
"""After so many steps a page is given out as it is, however short."""
READ_KEYS = 100
SEARCH_KEYS = 500
MAX_LOOKED_AT = 10_000
"""After so many keys a search gives out what it has, for the next page to go on."""
SAMPLE_STEPS = 10
"""So many steps look for keys of ours among others, on each node."""
HEADER_BYTES = 64
MAX_STEP = 2**64
"""Where the numbers end that SCAN gives as its cursors."""
GONE = -2
"""What PTTL says of a key that isn't there."""
_NUMBER = re.compile(r"[0-9]{1,20}")


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

    def owns(self, full: bytes) -> bool:
        """Say whether a server's key is one of these."""
        return full.startswith(f"{self.prefix}{{".encode()) and full.endswith(b"}")

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
        if not (_NUMBER.fullmatch(step) and _NUMBER.fullmatch(node) and int(step) < MAX_STEP):
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


# For people who look: the heads of values, and never a state.


def browsing(keys: Keys, query: Query) -> Callable[[Chart], Talk[Page]]:
    """Give the work of making a page of what somebody wants to see."""
    start = Cursor.read(query.cursor)

    def work(chart: Chart) -> Talk[Page]:
        items: list[SnapshotInfo] = []
        looked_at = 0
        at: Cursor | None = start
        for _ in range(MAX_STEPS):
            address = _node(chart, at)
            if at is None or address is None:
                break
            found, behind = yield from _scan(keys, chart, address, at)
            # Without a search the first are those that the page shows, and one more.
            size = SEARCH_KEYS if query.is_search else query.limit + 1 - len(items)
            for names in _batches(found, size):
                infos = yield from _wanted(keys, address, names, query)
                for name in names:
                    if len(items) == query.limit or looked_at == MAX_LOOKED_AT:
                        return Page(items=items, next_cursor=str(at), looked_at=looked_at)
                    at = Cursor(key=name, step=at.step, node=at.node)
                    looked_at += 1
                    items += infos[name]
            at = behind
        return Page(items=items, next_cursor=str(at) if at else None, looked_at=looked_at)

    return work


def sampling(keys: Keys, limit: int) -> Callable[[Chart], Talk[Sample]]:
    """Give the work of looking at about ``limit`` snapshots, as many on each node.

    The order of SCAN is that of hashes, so the first keys are like all others.
    """

    def work(chart: Chart) -> Talk[Sample]:
        items: list[SnapshotInfo] = []
        total, is_exact = 0, True
        addresses = chart.addresses
        for address in addresses:
            part = yield from _sample(keys, address, max(1, limit // len(addresses)))
            items += part.items
            total += part.total
            is_exact = is_exact and part.is_exact
        return Sample(items=items, total=total, is_exact=is_exact)

    return work


def _sample(keys: Keys, address: Address, limit: int) -> Talk[Sample]:
    seen: set[bytes] = set()
    size = 0
    ours: list[str] = []
    step = b"0"
    for _ in range(SAMPLE_STEPS):
        replies = yield address, [("DBSIZE",), ("SCAN", step, "COUNT", STEP_KEYS)]
        size, (step, found) = map(_good, replies)
        ours += [keys.bare(full) for full in set(found) - seen if keys.owns(full)]
        seen.update(found)
        if step == b"0" or len(ours) >= limit:
            break
    heads: list[SnapshotInfo | None] = []
    for names in _batches(ours[:limit], READ_KEYS):
        heads += yield from _heads(keys, address, names)
    items = [info for info in heads if info is not None]
    if step == b"0" and len(ours) <= limit:
        return Sample(items=items, total=len(items))
    share = len(ours) / len(seen) * len(items) / max(1, len(heads))
    return Sample(items=items, total=round(size * share), is_exact=False)


def _good(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _wanted(
    keys: Keys, address: Address, names: Sequence[str], query: Query
) -> Talk[dict[str, list[SnapshotInfo]]]:
    """Give what is wanted under each name, at most one; all else is asked of no more than that."""
    asked = names
    if query.is_search:
        heads = yield address, [("GETRANGE", keys.full(each), 0, HEAD_BYTES - 1) for each in names]
        asked = [
            name for name, head in zip(names, heads, strict=True) if _is_like(name, head, query)
        ]
    infos = (yield from _heads(keys, address, asked)) if asked else []
    found: dict[str, list[SnapshotInfo]] = {name: [] for name in names}
    for info in infos:
        if info is not None and query.admits(info):
            found[info.socket_hash].append(info)
    return found


def _is_like(name: str, head: Any, query: Query) -> bool:
    return isinstance(head, bytes) and query.admits(describe_prefix(name, head, sys.maxsize, 0))


def _heads(keys: Keys, address: Address, names: Sequence[str]) -> Talk[list[SnapshotInfo | None]]:
    """Tell what the heads of values say; ``None`` for what is gone or a marker."""
    commands: list[Command] = []
    for full in map(keys.full, names):
        commands += [("GETRANGE", full, 0, HEAD_BYTES - 1), ("STRLEN", full), ("PTTL", full)]
    replies = yield address, commands
    parts = zip(names, replies[::3], replies[1::3], replies[2::3], strict=True)
    return [_info(*each) for each in parts]


def _info(name: str, head: Any, size: Any, ttl_ms: Any) -> SnapshotInfo | None:
    """Describe a value, unless it went in the meantime, is a marker, or no string."""
    if not (isinstance(head, bytes) and isinstance(size, int) and isinstance(ttl_ms, int)):
        return None
    if ttl_ms == GONE or is_marker(head):
        return None
    return describe_prefix(name, head, size, ttl_ms / 1000)


def _batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
