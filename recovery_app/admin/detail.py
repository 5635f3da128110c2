"""Own what is shown of one snapshot beside its state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app.admin import formatting as words
from recovery_app.storages.browsing import moment
from recovery_app.values import Inspection

KILOBYTE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and what it is: a text, or a time."""

    name: Promise
    text: str = ""
    time: datetime | None = None
    note: str | Promise = ""
    seconds_left: str = ""


def facts(found: Inspection) -> list[Fact]:
    """Give what is known of a snapshot, in the order in which one asks."""
    info = found.info
    left = info.expires_in_seconds
    expires = Fact(
        name=_("Expires in"),
        text=words.expiry(left),
        seconds_left=f"{left:.1f}" if words.counts_down(left) else "",
    )
    hash_ = Fact(name=_("Socket hash"), text=info.socket_hash, note=_("as in the log"))
    stored = Fact(name=_("Stored bytes"), text=words.number(found.stored_bytes))
    if info.problem or found.is_revoked:
        return [hash_, expires, stored, *_fences(found)]
    seq = info.applied_seq
    return [
        Fact(name=_("Socket id"), text=info.socket_id),
        hash_,
        Fact(name=_("View"), text=info.view),
        Fact(name=_("Topic"), text=info.topic),
        Fact(name=_("Saved"), time=info.saved_at),
        Fact(name=_("Created"), time=info.created_at),
        expires,
        Fact(
            name=_("Size of the state"),
            text=words.size(info.size_bytes),
            note=_bytes(info.size_bytes) if info.size_bytes >= KILOBYTE else "",
        ),
        stored,
        Fact(name=_("Encoding"), text=info.serializer),
        Fact(name=_("State version"), text=str(info.version)),
        Fact(name=_("Applied seq"), text="–" if seq is None else str(seq)),
        *_fences(found),
    ]


def _fences(found: Inspection) -> list[Fact]:
    """Tell the counters that look like times as both; nothing where they can't be read."""
    if not found.fence:
        return []
    return [
        _fence(_("Fence"), found.fence, _("the least token that may save")),
        _fence(_("Floor"), found.floor, _("the least token that may take over")),
    ]


def _fence(name: Promise, value: int, note: Promise) -> Fact:
    return Fact(name=name, text=str(value), time=moment(value), note=note)


def _bytes(size: int) -> str:
    return str(_("%(number)s bytes") % {"number": words.number(size)})
