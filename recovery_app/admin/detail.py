"""The facts about one snapshot that its page shows above the state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app.admin import formatting
from recovery_app.admin.persons import Person
from recovery_app.admin.presence import Presence
from recovery_app.storages.browsing import moment
from recovery_app.values import Inspection, ProcessReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled text, time or person."""

    name: Promise
    text: str = ""
    time: datetime | None = None
    note: str | Promise = ""
    seconds_left: str = ""
    digest: str = ""
    """The digest of a person whose snapshots can be searched for."""


def facts(
    inspection: Inspection,
    person: Person,
    presence: Presence,
    place: ProcessReport | None = None,
) -> list[Fact]:
    """Return the known facts about a snapshot of a person, in display order.

    ``place`` is the process in which the page is open, where that is known.
    """
    info = inspection.info
    expires = Fact(
        name=_("Expires in"),
        text=formatting.expiry(info.expires_in_seconds),
        seconds_left=formatting.seconds_left(info.expires_in_seconds),
    )
    hash_ = Fact(name=_("Socket hash"), text=info.socket_hash, note=_("as in the log"))
    stored = Fact(name=_("Stored bytes"), text=formatting.number(inspection.stored_bytes))
    if info.problem or inspection.is_revoked:
        return [hash_, expires, stored, *_fences(inspection)]
    seq = info.applied_seq
    return [
        Fact(name=_("Socket id"), text=info.socket_id),
        hash_,
        Fact(name=_("View"), text=info.view),
        Fact(name=_("Topic"), text=info.topic),
        _person(person),
        _page(presence, place),
        Fact(name=_("Saved"), time=info.saved_at),
        Fact(name=_("Created"), time=info.created_at),
        expires,
        Fact(
            name=_("Size of the state"),
            text=formatting.size(info.size_bytes),
            note=_bytes(info.size_bytes) if info.size_bytes >= formatting.KILOBYTE else "",
        ),
        stored,
        Fact(name=_("Encoding"), text=info.serializer),
        Fact(name=_("State version"), text=str(info.version)),
        Fact(name=_("Applied seq"), text="–" if seq is None else str(seq)),
        *_fences(inspection),
    ]


def _person(person: Person) -> Fact:
    if person.user is not None:
        text, note = person.text, str(_("primary key %(key)s") % {"key": person.user.pk})
    elif person.digest:
        text, note = person.digest, str(_("a digest: a visitor, or a user not known by name here"))
    else:
        text, note = person.text, ""
    return Fact(name=_("Person"), text=text, note=note, digest=person.digest)


def _page(presence: Presence, place: ProcessReport | None) -> Fact:
    if place is not None:
        where = {"node": place.node, "process": place.process}
        return Fact(
            name=_("Page"),
            text=str(_("open")),
            note=str(_("on %(node)s, process %(process)s") % where),
        )
    ago = presence.seconds_ago
    if ago is None:
        return Fact(name=_("Page"), text=str(_("unknown")))
    note = _("last sign of life %(time)s ago") % {"time": formatting.duration(ago)}
    return Fact(
        name=_("Page"), text=str(_("open") if presence.is_open else _("away")), note=str(note)
    )


def _fences(inspection: Inspection) -> list[Fact]:
    # A snapshot whose header can't be read has none.
    if not inspection.fence:
        return []
    return [
        _fence(_("Fence"), inspection.fence, _("the lowest token that may save")),
        _fence(_("Floor"), inspection.floor, _("the lowest token that may take over")),
    ]


def _fence(name: Promise, value: int, note: Promise) -> Fact:
    return Fact(name=name, text=str(value), time=moment(value), note=note)


def _bytes(size: int) -> str:
    return str(_("%(number)s bytes") % {"number": formatting.number(size)})
