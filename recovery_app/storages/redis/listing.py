"""Pages of what is stored, its count and samples, as flows over SCAN.

A page costs a step of SCAN and the values that it shows; with a ``prefix``, all values on the
way. A count looks at each key. Browsing reads only the first bytes of values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from recovery_app.snapshots import HEAD_BYTES, HEADER_BYTES, is_marker, socket_id_in
from recovery_app.storages.base import Entry, EntryPage
from recovery_app.storages.browsing import describe_prefix
from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.routing import Flow, ask, unwrap
from recovery_app.storages.redis.scanning import STEP_KEYS, Cursor, scan
from recovery_app.storages.redis.topology import Address, SlotMap
from recovery_app.values import Page, Query, Sample, SnapshotInfo

MAX_STEPS = 100
"""The number of steps after which a page ends, however short it is."""
READ_KEYS = 100
SEARCH_KEYS = 500
MAX_LOOKED_AT = 10_000
"""The number of keys after which a search ends its page; the next page continues."""
SAMPLE_STEPS = 10
"""The number of steps that look for keys of this storage among others, on each node."""
NO_KEY = -2
"""The reply to PTTL for a key that doesn't exist."""


def list_entries(
    slots: SlotMap, *, keys: Keys, prefix: str, start: Cursor, limit: int
) -> Flow[EntryPage]:
    """Return a page of snapshots whose socket ids start with ``prefix``."""
    entries: list[Entry] = []
    at: Cursor | None = start
    for _ in range(MAX_STEPS):
        address = at.address(slots) if at else None
        if at is None or address is None:
            return EntryPage(entries=entries)
        found, following = yield from scan(keys, slots, address, at)
        for names in _batches(found, READ_KEYS):
            batch = yield from _read_entries(keys, address, names)
            for entry in batch:
                if not socket_id_in(entry.data).startswith(prefix):
                    continue
                if len(entries) == limit:
                    return EntryPage(entries=entries, next_cursor=str(at))
                entries.append(entry)
                at = at.after(entry.key)
        at = following
    return EntryPage(entries=entries, next_cursor=str(at) if at else None)


def count_entries(slots: SlotMap, *, keys: Keys) -> Flow[int]:
    """Return the number of snapshots, without the markers of revocations."""
    total = 0
    at: Cursor | None = Cursor()
    while at is not None and (address := at.address(slots)) is not None:
        found, at = yield from scan(keys, slots, address, at)
        if found:
            headers = yield from ask(
                address, [("GETRANGE", keys.encode(key), 0, HEADER_BYTES - 1) for key in found]
            )
            total += sum(isinstance(each, bytes) and not is_marker(each) for each in headers)
    return total


def browse(slots: SlotMap, *, keys: Keys, query: Query, start: Cursor) -> Flow[Page]:
    """Return a page for a query, without any state."""
    items: list[SnapshotInfo] = []
    looked_at = 0
    at: Cursor | None = start
    for _ in range(MAX_STEPS):
        address = at.address(slots) if at else None
        if at is None or address is None:
            break
        found, following = yield from scan(keys, slots, address, at)
        # Without a search, the first keys are those that the page shows; one more tells its end.
        size = SEARCH_KEYS if query.is_search else query.limit + 1 - len(items)
        for names in _batches(found, size):
            infos = yield from _matching(keys, address, names, query)
            for name in names:
                if len(items) == query.limit or looked_at == MAX_LOOKED_AT:
                    return Page(items=items, next_cursor=str(at), looked_at=looked_at)
                at = at.after(name)
                looked_at += 1
                if name in infos:
                    items.append(infos[name])
        at = following
    return Page(items=items, next_cursor=str(at) if at else None, looked_at=looked_at)


def sample(slots: SlotMap, *, keys: Keys, limit: int) -> Flow[Sample]:
    """Return about ``limit`` snapshots, equally many of each node, and an estimate of the total.

    SCAN goes by hashes, so the first keys are as good a sample as any.
    """
    items: list[SnapshotInfo] = []
    total, is_exact = 0, True
    addresses = slots.addresses
    for address in addresses:
        part = yield from _sample_node(keys, address, max(1, limit // len(addresses)))
        items += part.items
        total += part.total
        is_exact = is_exact and part.is_exact
    return Sample(items=items, total=total, is_exact=is_exact)


def to_entry(key: str, data: Any, ttl_ms: Any) -> Entry | None:
    """Return an entry from the replies to GET and PTTL, unless it is gone or not a string."""
    if not isinstance(data, bytes) or not isinstance(ttl_ms, int) or ttl_ms == NO_KEY:
        return None
    return Entry(key=key, data=data, expires_in=ttl_ms / 1000)


def _read_entries(keys: Keys, address: Address, names: Sequence[str]) -> Flow[list[Entry]]:
    commands: list[Command] = []
    for name in map(keys.encode, names):
        commands += [("GET", name), ("PTTL", name)]
    replies = yield from ask(address, commands)
    entries = map(to_entry, names, replies[::2], replies[1::2])
    return [entry for entry in entries if entry is not None and not is_marker(entry.data)]


def _sample_node(keys: Keys, address: Address, limit: int) -> Flow[Sample]:
    seen: set[bytes] = set()
    size = 0
    ours: list[str] = []
    step = b"0"
    for _ in range(SAMPLE_STEPS):
        replies = yield from ask(address, [("DBSIZE",), ("SCAN", step, "COUNT", STEP_KEYS)])
        size, (step, found) = map(unwrap, replies)
        ours += [keys.decode(name) for name in set(found) - seen if keys.owns(name)]
        seen.update(found)
        if step == b"0" or len(ours) >= limit:
            break
    infos: list[SnapshotInfo | None] = []
    for names in _batches(ours[:limit], READ_KEYS):
        infos += yield from _describe(keys, address, names)
    items = [info for info in infos if info is not None]
    if step == b"0" and len(ours) <= limit:
        return Sample(items=items, total=len(items))
    share = len(ours) / len(seen) * len(items) / max(1, len(infos))
    return Sample(items=items, total=round(size * share), is_exact=False)


def _matching(
    keys: Keys, address: Address, names: Sequence[str], query: Query
) -> Flow[dict[str, SnapshotInfo]]:
    """Return the matching snapshots by key, reading only the first bytes of the values."""
    wanted = names
    if query.is_search:
        heads = yield from ask(
            address, [("GETRANGE", keys.encode(each), 0, HEAD_BYTES - 1) for each in names]
        )
        wanted = [
            name for name, head in zip(names, heads, strict=True) if _may_match(name, head, query)
        ]
    infos = (yield from _describe(keys, address, wanted)) if wanted else []
    admitted = (info for info in infos if info is not None and query.admits(info))
    return {info.socket_hash: info for info in admitted}


def _may_match(name: str, head: Any, query: Query) -> bool:
    return isinstance(head, bytes) and query.admits(describe_prefix(name, head, sys.maxsize, 0))


def _describe(
    keys: Keys, address: Address, names: Sequence[str]
) -> Flow[list[SnapshotInfo | None]]:
    """Return the metadata in the first bytes of values; ``None`` if missing or a marker."""
    commands: list[Command] = []
    for name in map(keys.encode, names):
        commands += [("GETRANGE", name, 0, HEAD_BYTES - 1), ("STRLEN", name), ("PTTL", name)]
    replies = yield from ask(address, commands)
    return list(map(_to_info, names, replies[::3], replies[1::3], replies[2::3]))


def _to_info(name: str, head: Any, size: Any, ttl_ms: Any) -> SnapshotInfo | None:
    if not (isinstance(head, bytes) and isinstance(size, int) and isinstance(ttl_ms, int)):
        return None
    if ttl_ms == NO_KEY or is_marker(head):
        return None
    return describe_prefix(name, head, size, ttl_ms / 1000)


def _batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]
