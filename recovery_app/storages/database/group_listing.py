"""Listing durable groups in tables, for operators. Numbers have no gaps, so nothing is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from recovery_app.storages.database.queries import starting_with
from recovery_app.storages.group_listing import MAX_BEHIND
from recovery_app.storages.messages import number_of
from recovery_app.values import GroupInfo, GroupPage, LoggedMessage

if TYPE_CHECKING:
    from recovery_app.models import StoredGroup, StoredMessage

    Groups = QuerySet[StoredGroup]
    Rows = QuerySet[StoredMessage]


def list_groups(
    groups: Groups, messages: Rows, *, prefix: str, cursor: str | None, limit: int
) -> GroupPage:
    """Return a page of groups in the order of their names."""
    found = (starting_with(groups, prefix, "name") if prefix else groups).order_by("name")
    if cursor is not None:
        found = found.filter(name__gt=cursor)
    names = list(found.values_list("name", "newest")[: limit + 1])
    items = [_describe(messages, name, newest) for name, newest in names[:limit]]
    more = len(names) > limit
    return GroupPage(items=items, next_cursor=items[-1].name if more else None)


def describe(groups: Groups, messages: Rows, group: str) -> GroupInfo | None:
    """Return what is known of a group."""
    newest = groups.filter(name=group).values_list("newest", flat=True).first()
    return None if newest is None else _describe(messages, group, newest)


def last_messages(_groups: Groups, messages: Rows, group: str, limit: int) -> list[LoggedMessage]:
    """Return the last messages of a group, the newest first."""
    rows = messages.filter(group=group).order_by("-number")
    columns = rows.values_list("number", "data", "published_us")[:limit]
    return [LoggedMessage(str(number), bytes(data), at_us) for number, data, at_us in columns]


def count_behind(groups: Groups, messages: Rows, group: str, position: str) -> int | None:
    """Return how many messages come after a position."""
    found, number = describe(groups, messages, group), number_of(position)
    if found is None or number < 0:
        return None
    newest = number_of(found.newest)
    if not newest - found.length <= number <= newest:
        return None
    return min(newest - number, MAX_BEHIND)


def delete(groups: Groups, messages: Rows, group: str) -> bool:
    """Remove a group: its row first, because publishers wait for the lock of that row."""
    with transaction.atomic(using=groups.db):
        is_there = groups.filter(name=group)._raw_delete(groups.db) > 0
        removed = messages.filter(group=group)._raw_delete(groups.db)
    return is_there or removed > 0


def _describe(messages: Rows, name: str, newest: int) -> GroupInfo:
    rows = messages.filter(group=name).values_list("number", "published_us")
    first = rows.order_by("number").first()
    last = rows.order_by("-number").first()
    if first is None or last is None:
        return GroupInfo(name=name, newest=str(newest))
    return GroupInfo(
        name=name,
        newest=str(newest),
        length=last[0] - first[0] + 1,
        oldest_us=first[1],
        newest_us=last[1],
    )
