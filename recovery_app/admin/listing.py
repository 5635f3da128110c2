"""The list of snapshots: the parameters of a request, and the rows, links and filters for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recovery_app._core.inspection import hashes_meant, is_hash
from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import formatting
from recovery_app.admin.persons import NOBODY, Person
from recovery_app.admin.presence import UNKNOWN, Lifetimes, Presence, presence_of
from recovery_app.snapshots import is_marker
from recovery_app.storages import Storage, describe
from recovery_app.values import Page, ProcessReport, Query, SnapshotInfo

COLUMNS: Mapping[str, Promise] = {
    "socket_id": _("socket id"),
    "view": _("view"),
    "topic": _("topic"),
    "person": _("person"),
    "size_bytes": _("size"),
    "saved_at": _("saved"),
    "expires_in_seconds": _("expires in"),
    "version": _("version"),
}
DESCENDING_FIRST = frozenset(("size_bytes", "saved_at", "version"))
EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParams:
    """The query parameters of the list, by their names in the URL."""

    q: str = ""
    view: str = ""
    user: str = ""
    """The name or the primary key of a user."""
    person: str = ""
    """The digest of a person; ignored where there is a ``user``."""
    state: str = ""
    o: str = ""
    cursor: str = ""
    starts: str = ""
    """Not empty: search for ids that start with ``q`` even if a snapshot has exactly this id."""

    @classmethod
    def from_query(cls, query: Mapping[str, str], storage: Storage) -> ListParams:
        """Parse a query string; ignore an order or a state that the storage doesn't have."""
        params = cls(**{name: query.get(name, "").strip() for name in cls.__slots__})
        return replace(
            params,
            person="" if params.user else params.person,
            o=params.o if params.o.removeprefix("-") in storage.sortable_by else "",
            state=params.state if storage.keeps_expired else "",
        )

    @property
    def is_filtered(self) -> bool:
        """Return whether anything narrows the list."""
        return self.is_search or bool(self.state)

    @property
    def is_search(self) -> bool:
        """Return whether the storage has to search."""
        return bool(self.q or self.view or self.user or self.person)

    @property
    def may_be_exact(self) -> bool:
        """Return whether ``q`` may be the whole id or hash of one snapshot."""
        return bool(self.q) and not (self.cursor or self.starts)

    def link(self, **changes: str) -> str:
        """Return the URL of the first page with the same parameters except the changed ones."""
        changed = replace(self, **{"cursor": "", "starts": "", **changes})
        params = {name: getattr(changed, name) for name in self.__slots__}
        return f"?{urlencode({name: value for name, value in params.items() if value})}"

    def storage_query(self, limit: int, persons: tuple[str, ...]) -> Query:
        """Return the query for the storage, for the snapshots of all ``persons`` if empty."""
        return Query(
            prefix=self.q,
            view=self.view or None,
            persons=persons,
            expired=self.state == EXPIRED,
            order=self.o,
            cursor=self.cursor or None,
            limit=limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnHeader:
    """The header of a column, with a link if the storage can sort by it."""

    name: str
    text: Promise
    link: str = ""
    sorted: str = ""
    """``ascending``, ``descending`` or empty, as in ``aria-sort``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    """A row of the list."""

    info: SnapshotInfo
    url: str
    person: Person = NOBODY
    presence: Presence = UNKNOWN
    node: str = ""
    """The node on which the page is open, where that is known."""

    @property
    def name(self) -> str:
        """Return the socket id, or its hash if the id is unknown."""
        return self.info.socket_id or self.info.socket_hash

    @property
    def size(self) -> str:
        """Return the size as text."""
        return formatting.size(self.info.size_bytes)

    @property
    def expiry(self) -> str:
        """Return the time until the snapshot expires as text."""
        return formatting.expiry(self.info.expires_in_seconds)

    @property
    def seconds_left(self) -> str:
        """Return the start of the countdown, or "" if there is none."""
        return formatting.seconds_left(self.info.expires_in_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLinks:
    """The URLs of related pages; empty where there is no such page."""

    starts: str
    first: str
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoice:
    """One choice of a filter."""

    text: str | Promise
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter in the sidebar."""

    title: Promise
    choices: list[FilterChoice]


def find_page(
    manager: RecoveryManager, params: ListParams, limit: int, persons: tuple[str, ...]
) -> Page:
    """Return the one snapshot with the requested id or hash, or else a page of the list.

    Only snapshots of ``persons`` are found if there are any. Raise `StorageError`, or
    `ValueError` for invalid parameters.
    """
    if params.may_be_exact:
        exact = _find_exact(manager, params.q)
        if exact:
            wanted = Query(persons=persons)
            return Page(items=list(filter(wanted.admits, exact)))
    if not manager.storage.supports_listing:
        return Page(items=[])
    return manager.browse(params.storage_query(limit, persons))


def find_by_hash(manager: RecoveryManager, key: str) -> SnapshotInfo | None:
    """Return the snapshot of a socket, expired or not; raise `StorageError`."""
    if not is_hash(key):
        return None
    entry = manager.storage.look_up(key)
    return None if entry is None or is_marker(entry.data) else describe(entry)


def _find_exact(manager: RecoveryManager, text: str) -> list[SnapshotInfo]:
    found = (find_by_hash(manager, key) for key in hashes_meant(text))
    return [info for info in found if info is not None]


def column_headers(params: ListParams, sortable: frozenset[str]) -> list[ColumnHeader]:
    """Return the headers of all columns."""
    return [_header(params, name, text, name in sortable) for name, text in COLUMNS.items()]


def _header(params: ListParams, name: str, text: Promise, is_sortable: bool) -> ColumnHeader:
    if not is_sortable:
        return ColumnHeader(name=name, text=text)
    current = {name: "ascending", f"-{name}": "descending"}.get(params.o, "")
    is_descending_next = name in DESCENDING_FIRST if not current else current == "ascending"
    link = params.link(o=f"-{name}" if is_descending_next else name)
    return ColumnHeader(name=name, text=text, link=link, sorted=current)


def make_rows(
    items: list[SnapshotInfo],
    url_of: Callable[[str], str],
    persons: Mapping[str, Person],
    lifetimes: Lifetimes,
    places: Mapping[str, ProcessReport] | None = None,
) -> list[SnapshotRow]:
    """Return the rows for some snapshots, with the ``persons`` that digests stand for.

    ``places`` are the processes in which pages are open, by the hashes of their sockets.
    """
    nodes = {key: report.node for key, report in (places or {}).items()}
    return [
        SnapshotRow(
            info=info,
            url=url_of(info.socket_hash),
            person=persons.get(info.person, NOBODY),
            presence=presence_of(info, lifetimes),
            node=nodes.get(info.socket_hash, ""),
        )
        for info in items
    ]


def page_links(params: ListParams, page: Page, *, can_list: bool) -> PageLinks:
    """Return the links below a page."""
    names = {name for info in page.items for name in (info.socket_id, info.socket_hash)}
    is_exact = params.may_be_exact and params.q in names
    next_cursor = page.next_cursor
    return PageLinks(
        starts=params.link(starts="yes") if can_list and is_exact else "",
        first=params.link(starts=params.starts) if params.cursor else "",
        next=params.link(starts=params.starts, cursor=next_cursor) if next_cursor else "",
    )


def make_filters(params: ListParams, views: list[str], *, keeps_expired: bool) -> list[Filter]:
    """Return the filters by state and by view; ``views`` are the most frequent ones."""
    filters = []
    if keeps_expired:
        states = {"": _("Live"), EXPIRED: _("Expired")}
        choices = [
            FilterChoice(text=text, link=params.link(state=state), is_chosen=params.state == state)
            for state, text in states.items()
        ]
        filters.append(Filter(title=_("state"), choices=choices))
    if views or params.view:
        current = [params.view] if params.view and params.view not in views else []
        choices = [
            FilterChoice(
                text=view or _("All"), link=params.link(view=view), is_chosen=params.view == view
            )
            for view in ("", *current, *views)
        ]
        filters.append(Filter(title=_("view"), choices=choices))
    return filters
