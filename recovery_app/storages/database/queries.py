"""Own what is read of rows for people who look: their columns, and never a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Substr

from recovery_app.clock import MICROSECONDS
from recovery_app.storages.browsing import Place, describe_prefix, field_of, moment
from recovery_app.storages.database.columns import MAX_TEXT_LENGTH
from recovery_app.values import Query, Sample, SnapshotInfo

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

    Rows = QuerySet[StoredSnapshot]

LAST_CHARACTER = "\U0010ffff"
FEW = 500
MOSTLY = 10
"""Where fewer than one of so many is live, the first rows by key may hold none."""
ALL_KEYS = 16**16
"""How many socket hashes there can be."""
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
    "size_bytes",
)
_COLUMN_OF = {"saved_at": "saved_us", "expires_in_seconds": "expires_us"}


def column_of(order: str) -> str:
    """Give the column that an order sorts by; `ValueError`."""
    field = field_of(order)
    return _COLUMN_OF.get(field, field)


def wanted(rows: Rows, query: Query, now_us: int) -> Rows:
    """Give the rows that a query is for, in its order."""
    found = _few(rows, query, now_us).filter(revoked=False)
    found = found.filter(**{"expires_us__lte" if query.expired else "expires_us__gt": now_us})
    if query.prefix:
        found = starting_with(found, query.prefix)
    if query.view is not None:
        # Where equality minds no case, LIKE does, and the other way round.
        found = found.filter(view=query.view, view__startswith=query.view)
    column = column_of(query.order)
    sign = "-" if query.order.startswith("-") else ""
    return found.order_by(*([f"{sign}{column}"] if column else []), f"{sign}key")


def _few(rows: Rows, query: Query, now_us: int) -> Rows:
    """Give the live rows alone where they are few: by key, all that expired is on the way."""
    if query.expired or query.order or query.prefix:
        return rows
    live = rows.filter(expires_us__gt=now_us).order_by("expires_us")
    keys = list(live.values_list("key", flat=True)[: FEW + 1])
    return rows if len(keys) > FEW else rows.filter(key__in=keys)


def starting_with(rows: Rows, prefix: str) -> Rows:
    """Give the rows whose socket ids start with a prefix, by the index."""
    # LIKE may use the index and mind no case, which equality does.
    start = Substr("socket_id", 1, len(prefix))
    found = rows.filter(socket_id__startswith=prefix).alias(start=start).filter(start=prefix)
    if connections[rows.db].vendor == "sqlite":
        # Here LIKE uses none, and the order is that of code points.
        end = prefix + LAST_CHARACTER * MAX_TEXT_LENGTH
        found = found.filter(socket_id__gte=prefix, socket_id__lte=end)
    return found


def after(rows: Rows, query: Query) -> Rows:
    """Give the rows behind a query's cursor; `ValueError` for one that isn't of its order."""
    place = Place.read(query.cursor)
    if place is None:
        return rows
    column = column_of(query.order)
    then = "lt" if query.order.startswith("-") else "gt"
    if (place.value is None) is bool(column):
        raise ValueError("The cursor isn't one of this order.")
    if not column:
        return rows.filter(**{f"key__{then}": place.key})
    return rows.filter(
        Q(**{f"{column}__{then}": place.value})
        | Q(**{column: place.value, f"key__{then}": place.key})
    )


def infos_of(
    all_rows: Rows, rows: Rows, order: str, now_us: int
) -> list[tuple[SnapshotInfo, Place]]:
    """Give what rows say, each with its place in the order."""
    found = list(rows.values(*_COLUMNS))
    problems = _problems(all_rows, [row["key"] for row in found if not row["socket_id"]])
    column = column_of(order)
    return [
        (
            _info_of(row, now_us, problems.get(row["key"], "")),
            Place(key=row["key"], value=row[column] if column else None),
        )
        for row in found
    ]


def sample_of(rows: Rows, limit: int, now_us: int) -> Sample:
    """Give the snapshots among the first rows, and what follows from them about all."""
    found = list(rows.order_by("key").values(*_COLUMNS)[: limit + 1])
    is_exact = len(found) <= limit
    snapshots = [row for row in found[:limit] if not row["revoked"]]
    items = [_info_of(row, now_us) for row in snapshots if row["expires_us"] > now_us]
    share = 1.0 if is_exact else _share_up_to(found[limit - 1]["key"])
    expired = len(snapshots) - len(items)
    if share and len(items) * MOSTLY < len(snapshots):
        few = _few_live(rows, limit, now_us)
        if few is not None:
            return Sample(
                items=few, total=len(few), expired=round(expired / share), is_exact=is_exact
            )
    if not share:
        # Keys that are no hashes tell nothing about those behind them.
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
    """Give all live snapshots by the index on the expiry; ``None`` if they are too many."""
    live = rows.filter(expires_us__gt=now_us).order_by("expires_us")
    found = list(live.values(*_COLUMNS)[: limit + 1])
    if len(found) > limit:
        return None
    return [_info_of(row, now_us) for row in found if not row["revoked"]]


def _share_up_to(key: str) -> float:
    try:
        return int(key, 16) / ALL_KEYS if len(key) == 16 else 0
    except ValueError:
        return 0


def _problems(rows: Rows, keys: list[str]) -> dict[str, str]:
    """Say what is wrong with the bytes of rows that name no socket; few, if any, are read."""
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
        version=row["version"],
        created_at=moment(row["created_us"]) if row["created_us"] else None,
        saved_at=moment(row["saved_us"]) if row["saved_us"] else None,
        problem=problem,
    )
