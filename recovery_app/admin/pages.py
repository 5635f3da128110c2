"""Own what each page is given to show: read from a manager, troubles and all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from recovery_app._core.manager import RecoveryManager
from recovery_app.admin import formatting as words
from recovery_app.admin import listing
from recovery_app.admin.detail import facts
from recovery_app.admin.error_messages import told_to
from recovery_app.admin.listing import Asked
from recovery_app.admin.state_tree import Redactor, grow
from recovery_app.admin.summary import describe_contents, describe_history
from recovery_app.conf import get_redacted_names
from recovery_app.values import Inspection, Page

Context = dict[str, Any]


def list_page(
    manager: RecoveryManager,
    parameters: Mapping[str, str],
    *,
    limit: int,
    sample_size: int,
    url_of: Callable[[str], str],
) -> Context:
    """Give the summary, and the part of the list that an address asks for."""
    storage = manager.storage
    asked = Asked.read(parameters, storage)
    troubles: list[str] = []
    contents, page = None, Page(items=[])
    with told_to(troubles):
        if storage.supports_listing:
            contents = describe_contents(manager, manager.sample(sample_size))
        page = listing.find(manager, asked, limit)
    views = contents.views if contents else []
    return {
        "title": _("Snapshots"),
        "storage": type(storage).__name__,
        "can_list": storage.supports_listing,
        "keeps_expired": storage.keeps_expired,
        "asked": asked,
        "troubles": troubles,
        "contents": contents,
        "history": describe_history(),
        "headers": listing.headers(asked, storage.sortable_by),
        "rows": listing.rows_of(page, url_of),
        # A search that has come to its end, or needed none, is told of by its rows alone.
        "was_searched": bool(asked.is_search and page.looked_at and page.next_cursor),
        "looked_at": words.number(page.looked_at),
        "links": listing.links(asked, page, can_list=storage.supports_listing),
        "filters": listing.filters(asked, views, keeps_expired=storage.keeps_expired),
    }


def detail_page(manager: RecoveryManager, key: str, *, reveal: bool) -> Context | None:
    """Give all that is known of a socket; ``None`` where nothing is stored."""
    troubles: list[str] = []
    found: Inspection | None = None
    with told_to(troubles):
        found = manager.inspect(key)
        if found is None:
            return None
    tree = None
    if found is not None and found.state is not None:
        tree = grow(found.state, Redactor(get_redacted_names()), reveal=reveal)
    name = (found.info.socket_id if found else "") or key
    return {
        "title": _("Snapshot %(name)s") % {"name": name},
        "found": found,
        "facts": facts(found) if found else [],
        "tree": tree,
        "reveals": reveal,
        "troubles": troubles,
    }


def revoke_page(
    manager: RecoveryManager, keys: Iterable[str], *, url_of: Callable[[str], str]
) -> Context:
    """Give the snapshots that are to be revoked."""
    troubles: list[str] = []
    items = []
    with told_to(troubles):
        found = (listing.find_by_hash(manager, key) for key in keys)
        items = [info for info in found if info is not None]
    return {
        "title": _("Revoke snapshots"),
        "rows": listing.rows_of(Page(items=items), url_of),
        "troubles": troubles,
    }


def cleanup_page(manager: RecoveryManager, *, sample_size: int) -> Context:
    """Give what a clean-up would remove, as far as that is known."""
    troubles: list[str] = []
    contents = None
    with told_to(troubles):
        if manager.storage.supports_listing:
            contents = describe_contents(manager, manager.sample(sample_size))
    return {
        "title": _("Remove expired snapshots"),
        "storage": type(manager.storage).__name__,
        "contents": contents,
        "troubles": troubles,
    }
