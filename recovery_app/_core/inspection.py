"""Listing, inspecting and revoking for operators, who have no token but the socket's hash."""

from __future__ import annotations

import re
from dataclasses import replace

from recovery_app._core.driver import Flow
from recovery_app._core.journal import Journal
from recovery_app._core.metadata import MAX_PAGE, check_listing, check_name, check_number
from recovery_app._core.operations import Operations
from recovery_app._core.report_codec import latest_reports
from recovery_app._core.reports import Reporter
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import SnapshotError, StorageUnavailable
from recovery_app.fencing import Claim, Verdict
from recovery_app.snapshots import DIGEST_SIZE, Header, Snapshot
from recovery_app.storages import Entry, EntryPage, describe
from recovery_app.values import (
    IncidentPage,
    IncidentQuery,
    Inspection,
    Page,
    ProcessReport,
    Query,
    Sample,
)

ATTEMPTS = 5
_HASH = re.compile(r"[0-9a-f]{16}")
_NO_BINDING = bytes(DIGEST_SIZE)


def is_hash(text: str) -> bool:
    """Return whether a text looks like the hash of a socket."""
    return _HASH.fullmatch(text) is not None


def hashes_meant(text: str) -> list[str]:
    """Return the hashes of the sockets whose id or hash is a text.

    The text may be the id of one socket and the hash of another. Raises `ValueError` for a text
    that can't be encoded.
    """
    hashes = [hash_socket_id(text).hex()]
    return [text, *hashes] if is_hash(text) else hashes


def list_snapshots(prefix: str, cursor: str | None, limit: int) -> Flow[Page]:
    """Return a page of live snapshots; raise `ValueError` for an invalid query."""
    check_listing(prefix=prefix, cursor=cursor, limit=limit)
    options = {"prefix": prefix, "cursor": cursor, "limit": limit}
    found: EntryPage = yield "listing", "list_entries", (), options
    items = [describe(entry) for entry in found.entries]
    return Page(items=items, next_cursor=found.next_cursor)


def browse(query: Query) -> Flow[Page]:
    """Return a page of the snapshots that match a query; raise `ValueError` for an invalid one."""
    check_listing(prefix=query.prefix, cursor=None, limit=query.limit)
    check_name("view", query.view or "")
    page: Page = yield "listing", "browse", (query,), {}
    return page


def sample(limit: int) -> Flow[Sample]:
    """Return some live snapshots and their total number."""
    found: Sample = yield "listing", "sample", (limit,), {}
    return found


def count() -> Flow[int]:
    """Return the number of live snapshots."""
    found: int = yield "count", "count", (), {}
    return found


def clean_up() -> Flow[int]:
    """Remove expired snapshots; return how many."""
    removed: int = yield "cleanup", "cleanup_expired", (), {}
    return removed


def list_incidents(query: IncidentQuery, journal: Journal) -> Flow[IncidentPage]:
    """Return a page of the journal, without entries that are too old."""
    check_number("limit", query.limit, MAX_PAGE, least=1)
    check_name("view", query.view)
    journal.check_kept()
    oldest_us = max(query.since_us, journal.limits().oldest_us)
    page: IncidentPage = yield (
        "listing", "list_incidents", (replace(query, since_us=oldest_us),), {},
    )  # fmt: skip
    return page


def prune_journal(journal: Journal) -> Flow[int]:
    """Remove the entries over the journal's limits; return how many."""
    removed: int = yield "cleanup", "prune_incidents", (journal.limits(),), {}
    return removed


def list_reports(reporter: Reporter) -> Flow[list[ProcessReport]]:
    """Return the last report of each process."""
    reporter.check_kept()
    stored: list[bytes] = yield "listing", "list_reports", (), {}
    return latest_reports(stored)


def inspect(socket_hash: str, operations: Operations) -> Flow[Inspection | None]:
    """Return everything that is known of a socket."""
    entry: Entry | None = yield "load", "look_up", (socket_hash,), {}
    return None if entry is None else _inspection_of(entry, operations)


def revoke_socket(socket_hash: str, operations: Operations, ttl: float) -> Flow[bool]:
    """Revoke without a token; return whether there was a snapshot."""
    for _ in range(ATTEMPTS):
        entry: Entry | None = yield "load", "look_up", (socket_hash,), {}
        claim = _claim_on(entry)
        if claim is None:
            return False
        options = {"now_us": operations.now_us()}
        verdict = yield "revocation", "revoke", (socket_hash, claim, ttl), options
        if verdict is Verdict.DONE:
            return True
    # Each time it was bound to somebody else in between.
    raise StorageUnavailable("The storage", "revocation, in a race", socket_hash=socket_hash)


def _inspection_of(entry: Entry, operations: Operations) -> Inspection:
    found = Inspection(info=describe(entry), stored_bytes=len(entry.data))
    try:
        header = Header.read(entry.data)
        found = replace(found, fence=header.fence, floor=header.floor, is_revoked=header.revoked)
        snapshot = Snapshot.from_bytes(entry.data)
        if header.revoked:
            return found
        return replace(found, state=operations.read_state(snapshot, entry.key, entry.data))
    except SnapshotError as error:
        return replace(found, info=replace(found.info, problem=str(error)))


def _claim_on(entry: Entry | None) -> Claim | None:
    """Return the claim that the socket's owner would have, if there is something to revoke."""
    if entry is None:
        return None
    try:
        header = Header.read(entry.data)
    except SnapshotError:
        # Anybody may remove what can't be read.
        return Claim(issued_us=0, binding=_NO_BINDING)
    return None if header.revoked else Claim(issued_us=header.fence, binding=header.binding)
