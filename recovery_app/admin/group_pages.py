"""The template context of the pages on durable groups, read from a manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from recovery_app._core.driver import Flow
from recovery_app._core.manager import RecoveryManager
from recovery_app._live.group_lag import Readers, find_readers
from recovery_app._live.groups import decode_message
from recovery_app.admin import formatting
from recovery_app.admin.error_messages import collect_errors
from recovery_app.admin.sensitive_names import Redactor
from recovery_app.admin.state_tree import Tree, build_tree
from recovery_app.conf import get_redacted_names
from recovery_app.storages.browsing import moment
from recovery_app.storages.group_listing import MAX_BEHIND
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage

Context = dict[str, Any]
_NONE = GroupPage(items=[])
_SHORT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A row of the list, and the facts of a group's own page."""

    info: GroupInfo
    url: str
    oldest: datetime | None
    newest: datetime | None
    oldest_age: str
    newest_age: str
    length: str
    pages: int
    """How many of the snapshots looked at are in the group."""
    behind: str
    """How far the slowest of them is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message; without a ``tree`` if it can't be read."""

    at: datetime | None
    type: str
    tree: Tree | None


def list_page(
    manager: RecoveryManager,
    query: Mapping[str, str],
    *,
    limit: int,
    url_of: Callable[[str], str],
) -> Context:
    """Return the page of the list that the query parameters select."""
    storage, errors = manager.storage, list[str]()
    prefix, cursor = query.get("q", "").strip(), query.get("cursor") or None
    page, rows, readers = _NONE, list[GroupRow](), Readers()
    if storage.supports_group_listing:
        with collect_errors(errors):
            page = manager.driver.run(_list(prefix, cursor, limit))
            readers = _readers_of(manager)
            rows = [_row(manager, info, readers, url_of(info.name)) for info in page.items]
    following = {"q": prefix, "cursor": page.next_cursor or ""}
    return {
        "title": _("Durable groups"),
        "storage": type(storage).__name__,
        "can_list": storage.supports_group_listing,
        "is_shared": storage.is_shared,
        "text": prefix,
        "errors": errors,
        "rows": rows,
        "first_link": f"?{urlencode({'q': prefix})}" if cursor else "",
        "next_link": f"?{urlencode(following)}" if page.next_cursor else "",
        **_facts(manager, readers),
    }


def detail_page(manager: RecoveryManager, name: str, *, limit: int, reveal: bool) -> Context | None:
    """Return what is known of a group, and its last messages; ``None`` if it has no log."""
    errors, row, logged = list[str](), None, list[LoggedMessage]()
    readers = Readers()
    with collect_errors(errors):
        info = manager.driver.run(_describe(name))
        if info is None:
            return None
        readers = _readers_of(manager)
        row = _row(manager, info, readers, "")
        logged = manager.driver.run(_last(name, limit))
    redactor = Redactor(get_redacted_names())
    shown = [_message(manager, name, each, redactor, reveal=reveal) for each in logged]
    return {
        "title": _("Group %(name)s") % {"name": name},
        "row": row,
        "logged": shown,
        "hidden": sum(each.tree.sensitive for each in shown if each.tree),
        "reveals": reveal,
        "errors": errors,
        **_facts(manager, readers),
    }


def delete_page(manager: RecoveryManager, name: str) -> Context:
    """Return the group to confirm before its messages are deleted."""
    errors, info = list[str](), None
    with collect_errors(errors):
        info = manager.driver.run(_describe(name))
    return {
        "title": _("Delete the messages of a group"),
        "name": name,
        "info": info,
        "length": formatting.number(info.length) if info else "",
        "errors": errors,
    }


def _facts(manager: RecoveryManager, readers: Readers) -> Context:
    return {
        "knows_readers": manager.storage.supports_listing,
        "looked_at": readers.looked_at,
        "looked_at_all": readers.is_complete,
    }


def _readers_of(manager: RecoveryManager) -> Readers:
    return find_readers(manager) if manager.storage.supports_listing else Readers()


def _row(manager: RecoveryManager, info: GroupInfo, readers: Readers, url: str) -> GroupRow:
    times = (info.oldest_us, info.newest_us)
    oldest, newest = (None if at_us is None else moment(at_us) for at_us in times)
    now = moment(round(manager.clock() * 1_000_000))
    return GroupRow(
        info=info,
        url=url,
        oldest=oldest,
        newest=newest,
        oldest_age=_age(oldest, now),
        newest_age=_age(newest, now),
        length=formatting.number(info.length),
        pages=readers.count(info.name),
        behind=_behind(manager, info, readers.slowest(info.name)),
    )


def _age(at: datetime | None, now: datetime | None) -> str:
    if at is None or now is None:
        return ""
    seconds = max(0.0, (now - at).total_seconds())
    is_short = seconds < _SHORT_SECONDS
    text = formatting.duration(seconds) if is_short else timesince(at, now, depth=1)
    return _("%(time)s ago") % {"time": text}


def _behind(manager: RecoveryManager, info: GroupInfo, slowest: str | None) -> str:
    if slowest is None:
        return ""
    count = 0 if slowest == info.newest else manager.driver.run(_count(info.name, slowest))
    if count is None:
        return _("more than the log has")
    if count >= MAX_BEHIND:
        return _("%(number)s or more") % {"number": formatting.number(count)}
    return formatting.number(count)


def _message(
    manager: RecoveryManager, group: str, logged: LoggedMessage, redactor: Redactor, *, reveal: bool
) -> MessageRow:
    data = manager.operations.messages.open(group, logged.data)
    found = None if data is None else decode_message(data)
    tree = None if found is None else build_tree(found, redactor, reveal=reveal)
    kind = found.get("type") if found else ""
    return MessageRow(
        at=moment(logged.published_us), type=kind if isinstance(kind, str) else "", tree=tree
    )


def _list(prefix: str, cursor: str | None, limit: int) -> Flow[GroupPage]:
    options = {"prefix": prefix, "cursor": cursor, "limit": limit}
    page: GroupPage = yield "listing", "list_groups", (), options
    return page


def _describe(group: str) -> Flow[GroupInfo | None]:
    info: GroupInfo | None = yield "listing", "describe_group", (group,), {}
    return info


def _last(group: str, limit: int) -> Flow[list[LoggedMessage]]:
    found: list[LoggedMessage] = yield "listing", "last_messages", (group, limit), {}
    return found


def _count(group: str, position: str) -> Flow[int | None]:
    count: int | None = yield "listing", "count_behind", (group, position), {}
    return count


def delete(group: str) -> Flow[bool]:
    """Remove a group's log; return whether there was one."""
    removed: bool = yield "group", "delete_group", (group,), {}
    return removed
