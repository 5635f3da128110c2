"""Own the list: what a request asks for, and the rows that answer it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app._core.manager import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.admin import formatting as words
from recovery_app.snapshots import is_marker
from recovery_app.storages import Storage, describe
from recovery_app.values import Page, Query, SnapshotInfo

COLUMNS: Mapping[str, Promise] = {
    "socket_id": _("socket id"),
    "view": _("view"),
    "topic": _("topic"),
    "size_bytes": _("size"),
    "saved_at": _("saved"),
    "expires_in_seconds": _("expires in"),
    "version": _("version"),
}
GREATEST_FIRST = frozenset(("size_bytes", "saved_at", "version"))
"""Which end of these is the interesting one."""
EXPIRED = "expired"
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an address asks of the list; each part is a parameter of the same name."""

    q: str = ""
    view: str = ""
    state: str = ""
    o: str = ""
    cursor: str = ""
    starts: str = ""
    """Set where ids are wanted that start with ``q``, though one is ``q``."""

    @classmethod
    def read(cls, parameters: Mapping[str, str], storage: Storage) -> Asked:
        """Read an address; what it asks that can't be is left out."""
        asked = cls(**{name: parameters.get(name, "").strip() for name in cls.__slots__})
        return replace(
            asked,
            o=asked.o if asked.o.removeprefix("-") in storage.sortable_by else "",
            state=asked.state if storage.keeps_expired else "",
        )

    @property
    def is_filtered(self) -> bool:
        """Say whether anything narrows the list."""
        return bool(self.q or self.view or self.state)

    @property
    def is_search(self) -> bool:
        """Say whether the storage has to look for what is asked."""
        return bool(self.q or self.view)

    @property
    def may_be_exact(self) -> bool:
        """Say whether one snapshot may be all that is asked for."""
        return bool(self.q) and not (self.cursor or self.starts)

    def link(self, **changes: str) -> str:
        """Give the address that asks the same but for some changes, from the first page on."""
        changed = replace(self, **{"cursor": "", "starts": "", **changes})
        named = {name: getattr(changed, name) for name in self.__slots__}
        return f"?{urlencode({name: value for name, value in named.items() if value})}"

    def query(self, limit: int) -> Query:
        """Give what is asked of the storage."""
        return Query(
            prefix=self.q,
            view=self.view or None,
            expired=self.state == EXPIRED,
            order=self.o,
            cursor=self.cursor or None,
            limit=limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The head of a column, with the address that sorts by it where that can be."""

    name: str
    text: Promise
    link: str = ""
    sorted: str = ""
    """``ascending``, ``descending`` or nothing, as ``aria-sort`` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A snapshot as the list shows it."""

    info: SnapshotInfo
    url: str

    @property
    def name(self) -> str:
        """Give the socket id, or its hash where that is all we have."""
        return self.info.socket_id or self.info.socket_hash

    @property
    def size(self) -> str:
        """Put the size in words."""
        return words.size(self.info.size_bytes)

    @property
    def expiry(self) -> str:
        """Say when it expires."""
        return words.expiry(self.info.expires_in_seconds)

    @property
    def seconds_left(self) -> str:
        """Give the seconds that are counted down; nothing where there is nothing to count."""
        seconds = self.info.expires_in_seconds
        return f"{seconds:.1f}" if words.counts_down(seconds) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Addresses of what comes before and after a page; nothing where that makes no sense."""

    starts: str
    first: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to narrow the list."""

    text: str | Promise
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What the list can be narrowed by."""

    title: Promise
    choices: list[Choice]


def headers(asked: Asked, sortable: frozenset[str]) -> list[Header]:
    """Give the heads of all columns."""
    return [_header(asked, name, text, name in sortable) for name, text in COLUMNS.items()]


def find(manager: RecoveryManager, asked: Asked, limit: int) -> Page:
    """Give the page that is asked for: one snapshot by its id or hash, or a page of many.

    Raises `StorageError`, and `ValueError` for what can't be asked.
    """
    if asked.may_be_exact:
        exact = find_exactly(manager, asked.q)
        if exact:
            return Page(items=exact)
    if not manager.storage.supports_listing:
        return Page(items=[])
    return manager.browse(asked.query(limit))


def is_exact(asked: Asked, page: Page) -> bool:
    """Say whether the page is the one snapshot whose id or hash was asked for."""
    names = {name for info in page.items for name in (info.socket_id, info.socket_hash)}
    return asked.may_be_exact and asked.q in names


def find_exactly(manager: RecoveryManager, text: str) -> list[SnapshotInfo]:
    """Give the snapshot with this socket id, and the one whose hash this is, as in the log."""
    keys = {hash_socket_id(text).hex(), text}
    found = (find_by_hash(manager, key) for key in keys)
    return [info for info in found if info is not None]


def find_by_hash(manager: RecoveryManager, key: str) -> SnapshotInfo | None:
    """Give the snapshot of a socket, expired or not; `StorageError`."""
    if not _HASH.fullmatch(key):
        return None
    entry = manager.storage.look_up(key)
    return None if entry is None or is_marker(entry.data) else describe(entry)


def _header(asked: Asked, name: str, text: Promise, is_sortable: bool) -> Header:
    if not is_sortable:
        return Header(name=name, text=text)
    by_now = {name: "ascending", f"-{name}": "descending"}.get(asked.o, "")
    first = f"-{name}" if name in GREATEST_FIRST else name
    other = name if asked.o == f"-{name}" else f"-{name}"
    return Header(
        name=name, text=text, link=asked.link(o=other if by_now else first), sorted=by_now
    )


def rows_of(page: Page, url_of: Callable[[str], str]) -> list[Row]:
    """Give the rows of a page."""
    return [Row(info=info, url=url_of(info.socket_hash)) for info in page.items]


def links(asked: Asked, page: Page, *, can_list: bool) -> Links:
    """Give the ways on from a page."""
    return Links(
        starts=asked.link(starts="yes") if can_list and is_exact(asked, page) else "",
        first=asked.link(starts=asked.starts) if asked.cursor else "",
        next=asked.link(starts=asked.starts, cursor=page.next_cursor) if page.next_cursor else "",
    )


def filters(asked: Asked, views: list[str], *, keeps_expired: bool) -> list[Filter]:
    """Give what the list can be narrowed by: the state, and the views that are there most."""
    found = []
    if keeps_expired:
        states = {"": _("Live"), EXPIRED: _("Expired")}
        choices = [
            Choice(text=text, link=asked.link(state=state), is_chosen=asked.state == state)
            for state, text in states.items()
        ]
        found.append(Filter(title=_("state"), choices=choices))
    if views or asked.view:
        chosen = [asked.view] if asked.view and asked.view not in views else []
        choices = [
            Choice(text=view or _("All"), link=asked.link(view=view), is_chosen=asked.view == view)
            for view in ("", *chosen, *views)
        ]
        found.append(Filter(title=_("view"), choices=choices))
    return found
