"""Conversion between the bytes of a snapshot and the columns of its row.

What a fenced step compares or changes is in columns, which take precedence over the bytes if
the two differ.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db.models import BigIntegerField, F, Q, Value
from django.db.models.functions import Greatest

from recovery_app.exceptions import SnapshotCorrupt, VersionMismatch
from recovery_app.fencing import Claim, latest_date
from recovery_app.snapshots import Header, Snapshot
from recovery_app.storages.browsing import person_in

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

MAX_TEXT_LENGTH = 255
_NUMBER = BigIntegerField()
_TEXTS = ("socket_id", "view", "topic")
_WIDE = re.compile("[\U00010000-\U0010ffff]")
_MADE_ONCE = ("created_us", "floor")
# The columns of unreadable bytes. No binding has an empty digest, so no step changes them.
_UNREADABLE = {
    "fence": 0,
    "floor": 0,
    "binding": "",
    "revoked": False,
    "version": 0,
    "created_us": 0,
    "saved_us": 0,
    "socket_id": "",
    "view": "",
    "topic": "",
    "person": "",
}


def columns_of(data: bytes) -> dict[str, Any]:
    """Return the columns for a snapshot's bytes, as far as they are readable."""
    columns: dict[str, Any] = {**_UNREADABLE, "data": data, "size_bytes": len(data)}
    try:
        columns |= _of_header(Header.read(data))
        columns |= _of_rest(Snapshot.from_bytes(data))
    except (SnapshotCorrupt, VersionMismatch):
        pass
    return columns


def narrowed_texts(columns: dict[str, Any]) -> dict[str, str]:
    """Return the texts that have characters beyond U+FFFF, with U+FFFD in place of these."""
    narrow = {name: _WIDE.sub("\ufffd", columns[name]) for name in _TEXTS}
    return {name: text for name, text in narrow.items() if text != columns[name]}


def storable_text(text: str) -> str:
    """Return a text in a form that every table can store, always the same for comparisons."""
    return _WIDE.sub("\ufffd", _text(text))


def bytes_of(row: StoredSnapshot) -> bytes:
    """Return the bytes of a row, with the values of its columns in the header."""
    data = bytes(row.data)
    try:
        header = Header.read(data)
    except (SnapshotCorrupt, VersionMismatch):
        return data
    return replace(
        header,
        fence=row.fence,
        floor=row.floor,
        binding=bytes.fromhex(row.binding),
        created_us=row.created_us,
    ).put_on(data)


def saved(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that a save makes to an existing row."""
    changes = {name: value for name, value in columns.items() if name not in _MADE_ONCE}
    return changes | {"floor": Greatest(F("floor"), _number(columns["floor"]))}


def revoked(columns: dict[str, Any], claim: Claim, now_us: int) -> dict[str, Any]:
    """Return the changes that a revocation makes to an existing row."""
    fence = raised_fence(claim, now_us)
    others = {name: value for name, value in columns.items() if name not in ("fence", "floor")}
    # MySQL assigns in order: the floor has to be first, as F("fence") changes with the fence.
    return {"floor": fence, "fence": fence, **others}


def allowed_by_fence(claim: Claim, now_us: int) -> Q:
    """Return the condition for rows that the claim may save to."""
    latest_us = latest_date(now_us)
    return bound_to(claim) & Q(fence__lte=min(claim.issued_us, latest_us), floor__lte=latest_us)


def allowed_by_floor(claim: Claim, now_us: int) -> Q:
    """Return the condition for snapshots that the claim may take over."""
    latest_us = latest_date(now_us)
    allowed = Q(floor__lte=min(claim.issued_us, latest_us), fence__lte=latest_us, revoked=False)
    return bound_to(claim) & allowed


def bound_to(claim: Claim) -> Q:
    """Return the condition for rows with the claim's binding."""
    return Q(binding=claim.binding.hex())


def unreadable(now_us: int) -> Q:
    """Return the condition for rows whose bytes are unreadable, or dated years ahead."""
    latest_us = latest_date(now_us)
    is_ahead = Q(fence__gt=latest_us) | Q(floor__gt=latest_us)
    return Q(binding=_UNREADABLE["binding"]) | is_ahead


def readable(now_us: int) -> Q:
    """Return the condition for the other rows."""
    latest_us = latest_date(now_us)
    return Q(fence__lte=latest_us, floor__lte=latest_us)


def raised_fence(claim: Claim, now_us: int) -> Greatest:
    """Return `recovery_app.fencing.raise_fence` as an expression of the database."""
    return Greatest(
        _number(now_us),
        F("fence") + 1,
        _number(min(claim.issued_us, latest_date(now_us)) + 1),
        output_field=_NUMBER,
    )


def _number(value: int) -> Value:
    return Value(value, output_field=_NUMBER)


def _of_header(header: Header) -> dict[str, Any]:
    return {
        "fence": header.fence,
        "floor": header.floor,
        "binding": header.binding.hex(),
        "revoked": header.revoked,
        "version": header.version,
        "created_us": header.created_us,
        "saved_us": header.saved_us,
    }


def _of_rest(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "socket_id": _text(snapshot.socket_id),
        "view": _text(snapshot.view),
        "topic": _text(snapshot.topic),
        "size_bytes": len(snapshot.state),
        "person": person_in(snapshot.person),
    }


def _text(text: str) -> str:
    # The manager accepts only texts that fit; bytes stored without it may hold any.
    return text[:MAX_TEXT_LENGTH].replace("\x00", "")
