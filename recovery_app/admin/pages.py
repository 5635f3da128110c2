"""The template context of each page, read from a manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import formatting, listing
from recovery_app.admin.detail import facts
from recovery_app.admin.error_messages import InvalidInput, collect_errors
from recovery_app.admin.persons import Persons, PersonSearch
from recovery_app.admin.presence import places_of_pages, presence_of
from recovery_app.admin.sensitive_names import Redactor
from recovery_app.admin.state_tree import build_tree
from recovery_app.admin.summary import Contents, summarize_contents, summarize_history
from recovery_app.conf import get_redacted_names
from recovery_app.storages import Storage
from recovery_app.values import Inspection, Page

Context = dict[str, Any]


def list_page(
    manager: RecoveryManager,
    query: Mapping[str, str],
    persons: Persons,
    *,
    limit: int,
    sample_size: int,
    url_of: Callable[[str], str],
) -> Context:
    """Return the summary and the page of the list that the query parameters select."""
    storage = manager.storage
    params = listing.ListParams.from_query(query, storage)
    errors: list[str] = []
    contents, page, search = None, Page(items=[]), None
    with collect_errors(errors):
        contents = _summarize(manager, sample_size)
        search = _search_person(storage, params, persons)
        page = listing.find_page(manager, params, limit, search.digests if search else ())
    views = contents.views if contents else []
    return {
        "title": _("Snapshots"),
        "storage": type(storage).__name__,
        "can_list": storage.supports_listing,
        "keeps_expired": storage.keeps_expired,
        "params": params,
        "may_name": persons.may_name,
        "person": search.person if search else None,
        "errors": errors,
        "contents": contents,
        "history": summarize_history(),
        "headers": listing.column_headers(params, storage.sortable_by),
        "rows": listing.make_rows(
            page.items,
            url_of,
            persons.find(info.person for info in page.items),
            manager,
            places_of_pages(manager) if page.items else {},
        ),
        "is_search_unfinished": bool(params.is_search and page.looked_at and page.next_cursor),
        "looked_at": formatting.number(page.looked_at),
        "links": listing.page_links(params, page, can_list=storage.supports_listing),
        "filters": listing.make_filters(params, views, keeps_expired=storage.keeps_expired),
    }


def detail_page(
    manager: RecoveryManager, key: str, persons: Persons, *, reveal: bool
) -> Context | None:
    """Return everything known about a socket, or ``None`` if nothing is stored."""
    errors: list[str] = []
    found: Inspection | None = None
    with collect_errors(errors):
        found = manager.inspect(key)
        if found is None:
            return None
    tree = None
    if found is not None and found.state is not None:
        tree = build_tree(found.state, Redactor(get_redacted_names()), reveal=reveal)
    name = (found.info.socket_id if found else "") or key
    digest = found.info.person if found else ""
    person = persons.find([digest])[digest]
    place = places_of_pages(manager).get(key)
    return {
        "title": _("Snapshot %(name)s") % {"name": name},
        "found": found,
        "facts": facts(found, person, presence_of(found.info, manager), place) if found else [],
        "person": person,
        "can_list": manager.storage.supports_listing,
        "tree": tree,
        "reveals": reveal,
        "errors": errors,
    }


def revoke_page(
    manager: RecoveryManager, keys: Iterable[str], *, url_of: Callable[[str], str]
) -> Context:
    """Return the snapshots to confirm before they are revoked."""
    errors: list[str] = []
    items = []
    with collect_errors(errors):
        found = (listing.find_by_hash(manager, key) for key in keys)
        items = [info for info in found if info is not None]
    return {
        "title": _("Revoke snapshots"),
        "rows": listing.make_rows(items, url_of, {}, manager),
        "within": formatting.duration(manager.touch_interval),
        "errors": errors,
    }


def revoke_user_page(manager: RecoveryManager, persons: Persons, *, name: str, key: str) -> Context:
    """Return the user to confirm before all their pages are revoked.

    Without a ``name`` or a primary ``key``, or if nobody has it, an operator is asked for one.
    """
    errors: list[str] = []
    user = None
    with collect_errors(errors):
        if key:
            user = persons.with_pk(key)
        elif name:
            user = persons.named(name)
        if user is None and (name or key):
            raise InvalidInput(_("No user has this name or primary key."))
    storage = manager.storage
    return {
        "title": _("Revoke all pages of a user"),
        "user_to_revoke": user,
        "text": name or key,
        "may_name": persons.may_name,
        "person": manager.digests_of_user(user.pk)[0] if user else "",
        "within": formatting.duration(manager.touch_interval),
        "storage": type(storage).__name__,
        "can_list": storage.supports_listing,
        "is_shared": storage.is_shared,
        "errors": errors,
    }


def cleanup_page(manager: RecoveryManager, *, sample_size: int) -> Context:
    """Return the number of snapshots that a clean-up would remove, if it is known."""
    errors: list[str] = []
    contents = None
    with collect_errors(errors):
        contents = _summarize(manager, sample_size)
    return {
        "title": _("Remove expired snapshots"),
        "storage": type(manager.storage).__name__,
        "contents": contents,
        "errors": errors,
    }


def _summarize(manager: RecoveryManager, sample_size: int) -> Contents | None:
    if not manager.storage.supports_listing:
        return None
    return summarize_contents(manager.sample(sample_size), manager, now=manager.clock())


def _search_person(
    storage: Storage, params: listing.ListParams, persons: Persons
) -> PersonSearch | None:
    search = persons.search(user=params.user, digest=params.person)
    if search is not None and not storage.supports_listing:
        text = _("%(storage)s can’t list its snapshots, so they can’t be searched by person.")
        raise InvalidInput(text % {"storage": type(storage).__name__})
    return search
