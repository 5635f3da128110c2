"""Queries for listings and the admin, which read columns and never a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Substr

from recovery_app.clock import MICROSECONDS
from recovery_app.storages.browsing import (
    Entry,
    EntryPage,
    KeysetCursor,
    describe_prefix,
    field_of,
    moment,
)
from recovery_app.storages.database.columns import MAX_TEXT_LENGTH, bytes_of
from recovery_app.values import Page, Query, Sample, SnapshotInfo

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

    Rows = QuerySet[StoredSnapshot]

AnyRows = TypeVar("AnyRows", bound="QuerySet[Any]")
LAST_CHARACTER = "\U0010ffff"
FEW_ROWS = 500
LIVE_SHARE = 10
"""If fewer than one row in so many is live, the first rows by key may include none."""
SOCKET_HASHES = 16**16
"""The number of possible socket hashes."""
_COLUMNS = (
    "key",
    "expires_us",
    "revoked",
    "version",
    "created_us",
    "saved_us",
    "socket_id",
    "view",
    "topic",
    "person",
    "size_bytes",
)
_COLUMN_OF = {"saved_at": "saved_us", "expires_in_seconds": "expires_us"}


def entry_page(rows: Rows, prefix: str, cursor: str | None, limit: int, now_us: int) -> EntryPage:
    """Return a page of live snapshots by key, whose socket ids start with a prefix."""
    live = rows.filter(expires_us__gt=now_us, revoked=False).order_by("key")
    if prefix:
        live = starting_with(live, prefix)
    if cursor is not None:
        live = live.filter(key__gt=cursor)
    found = list(live[: limit + 1])
    entries = [entry_of(row, now_us) for row in found[:limit]]
    more = len(found) > limit
    return EntryPage(entries=entries, next_cursor=entries[-1].key if more else None)


def entry_of(row: StoredSnapshot, now_us: int) -> Entry:
    """Return a row as an entry."""
    expires_in = (row.expires_us - now_us) / MICROSECONDS
    return Entry(key=row.key, data=bytes_of(row), expires_in=expires_in)


def page_of(rows: Rows, query: Query, now_us: int) -> Page:
    """Return the page of snapshots for a query."""
    found = starting_after(matching(rows, query, now_us), query)
    infos = described(rows, found[: query.limit + 1], query.order, now_us)
    page = infos[: query.limit]
    more = len(infos) > query.limit
    return Page(items=[info for info, _ in page], next_cursor=str(page[-1][1]) if more else None)


def column_of(order: str) -> str:
    """Return the column that an order sorts by, or ``""``; raise `ValueError`."""
    field = field_of(order)
    return _COLUMN_OF.get(field, field)


def matching(rows: Rows, query: Query, now_us: int) -> Rows:
    """Return the rows that match a query, in its order."""
    found = _live_if_few(rows, query, now_us).filter(revoked=False)
    found = found.filter(**{"expires_us__lte" if query.expired else "expires_us__gt": now_us})
    if query.prefix:
        found = starting_with(found, query.prefix)
    if query.view is not None:
        # One of the two is case-sensitive on every database.
        found = found.filter(view=query.view, view__startswith=query.view)
    if query.persons:
        found = found.filter(person__in=query.persons)
    column = column_of(query.order)
    sign = "-" if query.order.startswith("-") else ""
    return found.order_by(*([f"{sign}{column}"] if column else []), f"{sign}key")


def _live_if_few(rows: Rows, query: Query, now_us: int) -> Rows:
    """Return only the live rows if they are few: by key, they may lie behind many expired ones."""
    if query.expired or query.order or query.prefix or query.persons:
        return rows
    live = rows.filter(expires_us__gt=now_us).order_by("expires_us")
    keys = list(live.values_list("key", flat=True)[: FEW_ROWS + 1])
    return rows if len(keys) > FEW_ROWS else rows.filter(key__in=keys)


def starting_with(rows: AnyRows, prefix: str, column: str = "socket_id") -> AnyRows:
    """Return the rows whose texts in a column start with a prefix, found by the index."""
    # LIKE can use the index but may ignore case, unlike equality.
    start = Substr(column, 1, len(prefix))
    found = rows.filter(**{f"{column}__startswith": prefix}).alias(start=start).filter(start=prefix)
    if connections[rows.db].vendor == "sqlite":
        # LIKE uses no index on SQLite, which sorts by code point.
        end = prefix + LAST_CHARACTER * MAX_TEXT_LENGTH
        found = found.filter(**{f"{column}__gte": prefix, f"{column}__lte": end})
    return found


def starting_after(rows: Rows, query: Query) -> Rows:
    """Return the rows after a query's cursor; raise `ValueError` if it is of another order."""
    cursor = KeysetCursor.read(query.cursor)
    if cursor is None:
        return rows
    column = column_of(query.order)
    then = "lt" if query.order.startswith("-") else "gt"
    if (cursor.value is None) is bool(column):
        raise ValueError("The cursor isn't one of this order.")
    if not column:
        return rows.filter(**{f"key__{then}": cursor.key})
    return rows.filter(
        Q(**{f"{column}__{then}": cursor.value})
        | Q(**{column: cursor.value, f"key__{then}": cursor.key})
    )


def described(
    all_rows: Rows, rows: Rows, order: str, now_us: int
) -> list[tuple[SnapshotInfo, KeysetCursor]]:
    """Return the metadata of rows, each with its cursor."""
    found = list(rows.values(*_COLUMNS))
    problems = _problems(all_rows, [row["key"] for row in found if not row["socket_id"]])
    column = column_of(order)
    return [
        (
            _info_of(row, now_us, problems.get(row["key"], "")),
            KeysetCursor(key=row["key"], value=row[column] if column else None),
        )
        for row in found
    ]


def sample_of(rows: Rows, limit: int, now_us: int) -> Sample:
    """Return the live snapshots among the first rows, and an estimate of all from them."""
    found = list(rows.order_by("key").values(*_COLUMNS)[: limit + 1])
    is_exact = len(found) <= limit
    snapshots = [row for row in found[:limit] if not row["revoked"]]
    items = [_info_of(row, now_us) for row in snapshots if row["expires_us"] > now_us]
    share = 1.0 if is_exact else _share_up_to(found[limit - 1]["key"])
    expired = len(snapshots) - len(items)
    if share and len(items) * LIVE_SHARE < len(snapshots):
        few = _few_live(rows, limit, now_us)
        if few is not None:
            return Sample(
                items=few, total=len(few), expired=round(expired / share), is_exact=is_exact
            )
    if not share:
        # Keys that aren't hashes allow no estimate.
        of_all = rows.filter(revoked=False)
        total = of_all.filter(expires_us__gt=now_us).count()
        return Sample(items=items, total=total, expired=of_all.count() - total)
    return Sample(
        items=items,
        total=round(len(items) / share),
        expired=round(expired / share),
        is_exact=is_exact,
    )


def _few_live(rows: Rows, limit: int, now_us: int) -> list[SnapshotInfo] | None:
    """Return all live snapshots by the index on the expiry, or ``None`` if they are too many."""
    live = rows.filter(expires_us__gt=now_us).order_by("expires_us")
    found = list(live.values(*_COLUMNS)[: limit + 1])
    if len(found) > limit:
        return None
    return [_info_of(row, now_us) for row in found if not row["revoked"]]


def _share_up_to(key: str) -> float:
    try:
        return int(key, 16) / SOCKET_HASHES if len(key) == 16 else 0
    except ValueError:
        return 0


def _problems(rows: Rows, keys: list[str]) -> dict[str, str]:
    """Return why rows without a socket id are unreadable, by key; few rows are, if any."""
    if not keys:
        return {}
    found = rows.filter(key__in=keys).values_list("key", "data")
    return {key: describe_prefix(key, bytes(data), len(data), 0).problem for key, data in found}


def _info_of(row: dict[str, Any], now_us: int, problem: str = "") -> SnapshotInfo:
    return SnapshotInfo(
        socket_hash=row["key"],
        expires_in_seconds=(row["expires_us"] - now_us) / MICROSECONDS,
        size_bytes=row["size_bytes"],
        socket_id=row["socket_id"],
        view=row["view"],
        topic=row["topic"],
        person=row["person"],
        version=row["version"],
        created_at=moment(row["created_us"]) if row["created_us"] else None,
        saved_at=moment(row["saved_us"]) if row["saved_us"] else None,
        problem=problem,
    )
