"""How far pages have read the logs of durable groups, according to their snapshots.

A page's position is stored with its state. So a snapshot shows the position of a page wherever it
is connected, and even while it is away. With delayed saves, an open page is ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recovery_app._core.driver import Flow
from recovery_app._core.manager import RecoveryManager
from recovery_app._live.groups import positions_in
from recovery_app.exceptions import SnapshotError
from recovery_app.snapshots import Snapshot
from recovery_app.storages import Entry, EntryPage

MAX_SNAPSHOTS = 500
"""How many snapshots are looked at, whole."""
MAX_BYTES = 16 * 1024 * 1024
PAGE = 50


@dataclass(slots=True)
class Readers:
    """The positions of pages by group, and the number of snapshots that were read to find them."""

    looked_at: int = 0
    is_complete: bool = True
    positions: dict[str, list[str]] = field(default_factory=dict)

    def count(self, group: str) -> int:
        """Return how many pages are in a group."""
        return len(self.positions.get(group, ()))

    def slowest(self, group: str) -> str | None:
        """Return the position of the page that is furthest behind."""
        return min(self.positions.get(group, ()), key=_order, default=None)


def find_readers(manager: RecoveryManager) -> Readers:
    """Return the positions of pages, from a bounded number of snapshots."""
    found = Readers()
    cursor, size_bytes = None, 0
    while True:
        page = manager.driver.run(_entries(cursor))
        for entry in page.entries:
            _add(found, manager, entry)
            size_bytes += len(entry.data)
        found.looked_at += len(page.entries)
        cursor = page.next_cursor
        if cursor is None:
            return found
        if found.looked_at >= MAX_SNAPSHOTS or size_bytes >= MAX_BYTES:
            found.is_complete = False
            return found


def _entries(cursor: str | None) -> Flow[EntryPage]:
    options = {"prefix": "", "cursor": cursor, "limit": PAGE}
    page: EntryPage = yield "listing", "list_entries", (), options
    return page


def _add(found: Readers, manager: RecoveryManager, entry: Entry) -> None:
    try:
        snapshot = Snapshot.from_bytes(entry.data)
        if snapshot.header.revoked:
            return
        # Verifies the seal, and decrypts.
        manager.operations.read_state(snapshot, entry.key, entry.data)
    except SnapshotError:
        # What can't be read tells of no group.
        return
    for group, position in positions_in(snapshot.replies).items():
        found.positions.setdefault(group, []).append(position)


def _order(position: str) -> list[int]:
    """Return the sort key of a position in one log."""
    numbers = position.partition("~")[0].split("-")
    return [int(each) if each.isascii() and each.isdigit() else -1 for each in numbers]
