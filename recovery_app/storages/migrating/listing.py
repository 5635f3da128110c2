"""Lists and counts over both storages, as flows: the new one first, each key once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recovery_app.storages.base import Entry, EntryPage, describe
from recovery_app.storages.migrating.finding import Found, Remaining
from recovery_app.storages.migrating.flows import Flow, call
from recovery_app.storages.migrating.moving import Moves
from recovery_app.storages.migrating.tombstones import MOVED_VERSION, Held, read_held
from recovery_app.values import Page, Query, Sample, SnapshotInfo

_NEW, _OLD = "new:", "old:"
COUNTED_AT_ONCE = 1000


def list_entries(moves: Moves, prefix: str, cursor: str | None, limit: int) -> Flow[EntryPage]:
    """Return a page of the new storage, filled up from the old one."""
    start, is_new = _read(cursor)
    entries: list[Entry] = []
    if is_new:
        options = {"prefix": prefix, "cursor": start, "limit": limit}
        page: EntryPage = yield from call(moves.new, "list_entries", **options)
        entries = [each for each in page.entries if not read_held(each.data).is_moved]
        if page.next_cursor is not None:
            return EntryPage(entries=entries, next_cursor=_NEW + page.next_cursor)
        if not moves.old.supports_listing:
            return EntryPage(entries=entries)
        if len(entries) == limit:
            return EntryPage(entries=entries, next_cursor=_OLD)
        start = None
    options = {"prefix": "", "cursor": start, "limit": limit - len(entries)}
    if prefix:
        # A tombstone that still holds its snapshot has no socket id of its own.
        options["prefix"] = prefix
    page = yield from call(moves.old, "list_entries", **options)
    for entry in page.entries:
        held = read_held(entry.data)
        if held.data is not None and (yield from _counts(moves, entry.key, held)):
            entries.append(replace(entry, data=held.data))
    following = None if page.next_cursor is None else _OLD + page.next_cursor
    return EntryPage(entries=entries, next_cursor=following)


def browse(moves: Moves, query: Query) -> Flow[Page]:
    """Return a page for a query, in the order of each storage."""
    start, is_new = _read(query.cursor)
    items: list[SnapshotInfo] = []
    looked_at = 0
    if is_new:
        if not query.expired or moves.new.keeps_expired:
            asked = replace(query, cursor=start)
            page: Page = yield from call(moves.new, "browse", asked)
            items = [info for info in page.items if info.version != MOVED_VERSION]
            looked_at = page.looked_at
            if page.next_cursor is not None:
                return replace(page, items=items, next_cursor=_NEW + page.next_cursor)
        if not _can_browse_old(moves, query):
            return Page(items=items, looked_at=looked_at)
        if len(items) >= query.limit:
            return Page(items=items, next_cursor=_OLD, looked_at=looked_at)
        start = None
    asked = replace(query, cursor=start, limit=query.limit - len(items))
    page = yield from call(moves.old, "browse", asked)
    items += yield from _live_in_old(moves, page.items, is_expired=query.expired)
    following = None if page.next_cursor is None else _OLD + page.next_cursor
    return Page(items=items, next_cursor=following, looked_at=looked_at + page.looked_at)


def sample(moves: Moves, limit: int) -> Flow[Sample]:
    """Return some snapshots of both, and an estimate of the total."""
    new: Sample = yield from call(moves.new, "sample", limit)
    if not moves.old.supports_listing:
        return new
    old: Sample = yield from call(moves.old, "sample", limit)
    found = yield from _live_in_old(moves, old.items)
    share = len(found) / len(old.items) if old.items else 0
    return Sample(
        items=new.items + found,
        total=new.total + round(old.total * share),
        expired=new.expired + old.expired,
        is_exact=new.is_exact and old.is_exact and old.total == len(old.items),
    )


def count(moves: Moves) -> Flow[int]:
    """Return the number of snapshots, each key counted once."""
    total: int = yield from call(moves.new, "count")
    if moves.old.supports_listing:
        left = yield from remaining(moves)
        total += left.count
    return total


def remaining(moves: Moves) -> Flow[Remaining]:
    """Return what is only in the old storage, after looking at each key there."""
    number, seconds, cursor = 0, 0.0, None
    while True:
        query = Query(cursor=cursor, limit=COUNTED_AT_ONCE)
        page: Page = yield from call(moves.old, "browse", query)
        found = yield from _live_in_old(moves, page.items)
        number += len(found)
        seconds = max([seconds, *(info.expires_in_seconds for info in found)])
        cursor = page.next_cursor
        if cursor is None:
            return Remaining(count=number, expires_in_seconds=seconds)


def estimate_count(moves: Moves) -> Flow[int | None]:
    """Return roughly the number of snapshots.

    The old storage has a tombstone for nearly each key of the new one, so the greater number
    is the better estimate.
    """
    new: int | None = yield from call(moves.new, "estimate_count")
    old: int | None = yield from call(moves.old, "estimate_count")
    known = [each for each in (new, old) if each is not None]
    return max(known) if known else None


def count_expired(moves: Moves) -> Flow[int]:
    """Return the number of expired values that wait for a clean-up in either."""
    total = 0
    for storage in (moves.new, moves.old):
        if storage.keeps_expired or not storage.expires_by_itself:
            total += yield from call(storage, "count_expired")
    return total


def cleanup_expired(moves: Moves) -> Flow[int]:
    """Remove expired values in both."""
    removed: int = yield from call(moves.new, "cleanup_expired")
    also: int = yield from call(moves.old, "cleanup_expired")
    return removed + also


def _live_in_old(
    moves: Moves, infos: Sequence[SnapshotInfo], *, is_expired: bool = False
) -> Flow[list[SnapshotInfo]]:
    """Return the old storage's entries that aren't in the new one."""
    found = []
    for info in infos:
        if info.version != MOVED_VERSION:
            # Its fence isn't known here, so that of the stored bytes decides if both have it.
            stored = yield from call(moves.new, "load", info.socket_hash)
            is_there = not is_expired and read_held(stored).data is not None
            if not is_there or (yield from moves.look(info.socket_hash)).is_in_old:
                found.append(info)
        elif info.size_bytes and not is_expired:
            # It is on its way, in its tombstone.
            entry = yield from moves.describe(info.socket_hash)
            looked = yield from moves.look(info.socket_hash)
            if entry is not None and looked.is_in_old:
                found.append(describe(entry))
    return found


def _counts(moves: Moves, key: str, held: Held) -> Flow[bool]:
    new = read_held((yield from call(moves.new, "load", key)))
    return Found(new, held).is_in_old


def _can_browse_old(moves: Moves, query: Query) -> bool:
    return moves.old.supports_listing and (not query.expired or moves.old.keeps_expired)


def _read(cursor: str | None) -> tuple[str | None, bool]:
    """Return a storage's own cursor, and whether it is the new one's."""
    if cursor is None:
        return None, True
    if cursor.startswith(_NEW):
        return cursor.removeprefix(_NEW), True
    if cursor.startswith(_OLD):
        return cursor.removeprefix(_OLD) or None, False
    raise ValueError("The cursor isn't one of this storage.")
