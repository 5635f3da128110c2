"""The logs of durable groups in tables.

Each group has a row with the number of its newest message. Whoever publishes raises it first, and
so holds the row's lock until the end of the transaction: messages of a group are numbered in the
order in which they are committed, without gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from recovery_app.storages.messages import MAX_MESSAGES, MESSAGE_SECONDS, Messages, number_of

if TYPE_CHECKING:
    from recovery_app.models import StoredGroup, StoredMessage

TRIM_EVERY = 64
MAX_NAMES = 500
"""How many groups one statement names."""


class DatabaseMessages:
    """The tables of `StoredGroup` and `StoredMessage` in one database; times in microseconds."""

    def __init__(self, database: str) -> None:
        self._database = database

    @property
    def _groups(self) -> QuerySet[StoredGroup]:
        # Settings may name the storage before the models are loaded.
        model: type[StoredGroup] = apps.get_model("recovery_app", "StoredGroup")
        return model._default_manager.using(self._database)

    @property
    def _messages(self) -> QuerySet[StoredMessage]:
        model: type[StoredMessage] = apps.get_model("recovery_app", "StoredMessage")
        return model._default_manager.using(self._database)

    def append(self, group: str, data: bytes, now_us: int, published: Callable[[], None]) -> None:
        """Publish a message, with the transaction if there is one."""
        with transaction.atomic(using=self._database):
            number = self._next_number(group, now_us)
            message = self._messages.model(
                group=group, number=number, data=data, published_us=now_us
            )
            self._messages.bulk_create([message])
            if number % TRIM_EVERY == 0:
                old = self._messages.filter(group=group, number__lte=number - MAX_MESSAGES)
                old._raw_delete(self._database)
        transaction.on_commit(published, using=self._database)

    def newest(self, group: str, now_us: int) -> str:
        """Return the number of the newest message, where the log is begun if need be."""
        number = self._number(group)
        if number is None:
            self._begin(group, now_us)
            number = self._number(group)
        return str(number)

    def read(self, group: str, after: str, limit: int) -> Messages:
        """Return the first messages behind a number."""
        newest, position = self._number(group), number_of(after)
        if newest == position:
            return Messages([])
        # The group began anew where it has fewer messages than the page has had.
        is_known = newest is not None and newest > position
        rows = self._messages.filter(group=group).order_by("number")
        if is_known:
            rows = rows.filter(number__gt=position)
        found = [(row.number, bytes(row.data)) for row in rows[:limit]]
        is_complete = is_known and bool(found) and found[0][0] == position + 1
        return Messages([(str(number), data) for number, data in found], is_complete)

    def changed(self, positions: dict[str, str]) -> list[str]:
        """Return which groups have another newest number than these, by a query for each 500."""
        names, newest = list(positions), {}
        for start in range(0, len(names), MAX_NAMES):
            rows = self._groups.filter(name__in=names[start : start + MAX_NAMES])
            newest.update(
                {name: str(number) for name, number in rows.values_list("name", "newest")}
            )
        return [group for group, number in positions.items() if newest.get(group) != number]

    def cleanup(self, now_us: int) -> None:
        """Remove messages that are too old."""
        limit_us = now_us - MESSAGE_SECONDS * 1_000_000
        self._messages.filter(published_us__lt=limit_us)._raw_delete(self._database)

    def _next_number(self, group: str, now_us: int) -> int:
        row = self._groups.filter(name=group)
        if not row.update(newest=F("newest") + 1):
            self._begin(group, now_us)
            row.update(newest=F("newest") + 1)
        return row.values_list("newest", flat=True).get()

    def _number(self, group: str) -> int | None:
        return self._groups.filter(name=group).values_list("newest", flat=True).first()

    def _begin(self, group: str, now_us: int) -> None:
        """Make the row of a group, with a number above all that it ever had."""
        try:
            with transaction.atomic(using=self._database):
                self._groups.bulk_create([self._groups.model(name=group, newest=now_us)])
        except IntegrityError:
            # Somebody else has.
            return
