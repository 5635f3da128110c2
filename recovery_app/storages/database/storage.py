"""Own the storage in any database that Django speaks to.

Each fenced step is one ``UPDATE … WHERE fence <= …``. No row changed means absent or
refused: a save then tries an ``INSERT``, and if that meets a row after all, what this row
holds decides. Nothing reads before it writes inside a transaction, so SQLite never has to
upgrade a lock and InnoDB holds no gap lock while it inserts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    connections,
    transaction,
)
from django.db.models import Q, QuerySet

from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import (
    Claim,
    Decision,
    Verdict,
    decide_renewal,
    decide_revocation,
    decide_save,
    decide_takeover,
    decide_touch,
)
from recovery_app.snapshots import Header
from recovery_app.storages.base import Entry, EntryPage, Result, Storage
from recovery_app.storages.browsing import SORTABLE
from recovery_app.storages.database.columns import (
    bound_to,
    by_fence,
    by_floor,
    bytes_of,
    columns_of,
    kept,
    raised,
    revoked,
    unreadable,
)
from recovery_app.storages.database.queries import after, infos_of, sample_of, starting_with, wanted
from recovery_app.values import Page, Query, Sample

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

    Rows = QuerySet[StoredSnapshot]

DELETE_BATCH = 2000
MOST_KEYS = 500
ATTEMPTS = 5
TURN_SECONDS = 0.1
_DONE = Decision(verdict=Verdict.DONE)


class DatabaseStorage(Storage):
    """Keep snapshots in the table of `recovery_app.models.StoredSnapshot`.

    ``database`` is an alias of ``DATABASES``. Give it ``CONN_MAX_AGE``, as each
    asynchronous call keeps Django's care of old connections. Inside an open transaction a
    save becomes durable with it, as any other row.
    """

    supports_atomic_fence = True
    supports_listing = True
    keeps_expired = True
    sortable_by = SORTABLE

    def __init__(self, *, database: str = DEFAULT_DB_ALIAS, clock: Clock = time.time) -> None:
        if database not in connections:
            raise ValueError(f"DATABASES has no alias {database!r}.")
        self.database = database
        self.clock = clock

    def save(self, key: str, data: bytes, ttl: float) -> None:
        columns = self._columns(data, ttl)
        self._settle(
            "save", key, lambda live: self._put(key, live, columns, columns), lambda _stored: _DONE
        )

    def load(self, key: str) -> bytes | None:
        with self._errors("load"):
            return _stored_in(self._live(key))

    def delete(self, key: str) -> bool:
        with self._errors("delete"):
            there = self._live(key)._raw_delete(self.database) > 0
            self._rows.filter(key=key)._raw_delete(self.database)
            return there

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        header = Header.read(data)
        claim = Claim(issued_us=header.fence, binding=header.binding)
        columns = self._columns(data, ttl)

        def write(live: Rows) -> Decision | None:
            return self._put(key, live.filter(by_fence(claim)), columns, kept(columns))

        return self._settle("save", key, write, partial(decide_save, data=data)).verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        def write(live: Rows) -> Decision | None:
            allowed = live.filter(by_fence(claim), revoked=False)
            return _DONE if allowed.update(expires_us=self._expiry(ttl)) else None

        return self._settle("touch", key, write, partial(decide_touch, claim=claim)).verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        allowed = by_floor(claim)
        if newest_version is not None:
            allowed &= Q(version__lte=newest_version)
        changes = {"fence": raised(claim, now_us), "expires_us": self._expiry(ttl)}
        decide = partial(decide_takeover, claim=claim, now_us=now_us, newest_version=newest_version)
        write = partial(self._change, allowed=allowed, changes=changes)
        return self._settle("takeover", key, write, decide)

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        changes = {
            "fence": raised(claim, now_us),
            "binding": binding.hex(),
            "expires_us": self._expiry(ttl),
        }
        decide = partial(decide_renewal, claim=claim, now_us=now_us, binding=binding)
        allowed = by_fence(claim) & Q(revoked=False)
        write = partial(self._change, allowed=allowed, changes=changes)
        return self._settle("renewal", key, write, decide)

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        decide = partial(decide_revocation, claim=claim, now_us=now_us)
        columns = self._columns(decide(None).data or b"", ttl)

        def write(live: Rows) -> Decision | None:
            # What can't be read may still be removed.
            allowed = live.filter(bound_to(claim) | unreadable())
            return self._put(key, allowed, columns, revoked(columns, claim, now_us))

        return self._settle("revocation", key, write, decide).verdict

    def cleanup_expired(self) -> int:
        return sum(self.cleanup_batches(DELETE_BATCH))

    def cleanup_batches(self, size: int) -> Iterator[int]:
        """Remove what has expired by now, oldest first, each step in a statement of its own.

        A step takes a range of the index and goes on where the one before it ended: what
        that has removed may stay in the index for long, on PostgreSQL until a vacuum.
        """
        start_us: int | None = 0
        now_us = self._now_us()
        turns = _Turns(connections[self.database].vendor == "sqlite")
        while start_us is not None:
            turns.take()
            with self._errors("clean-up"):
                rows = self._rows.filter(expires_us__gte=start_us, expires_us__lte=now_us)
                start_us = _time_of(rows, place=size)
                removed = self._remove_before(start_us, rows, size)
            yield removed

    def count_expired(self) -> int:
        with self._errors("count"):
            return self._expired().count()

    def estimate_count(self) -> int:
        """Give all that hasn't expired, markers included: the index alone can tell."""
        with self._errors("count"):
            return self._rows.filter(expires_us__gt=self._now_us()).count()

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        now_us = self._now_us()
        rows = self._rows.filter(expires_us__gt=now_us, revoked=False).order_by("key")
        if prefix:
            rows = starting_with(rows, prefix)
        if cursor is not None:
            rows = rows.filter(key__gt=cursor)
        with self._errors("listing"):
            found = list(rows[: limit + 1])
        entries = [
            Entry(
                key=row.key,
                data=bytes_of(row),
                expires_in=(row.expires_us - now_us) / MICROSECONDS,
            )
            for row in found[:limit]
        ]
        more = len(found) > limit
        return EntryPage(entries=entries, next_cursor=entries[-1].key if more else None)

    def count(self) -> int:
        with self._errors("count"):
            return self._rows.filter(expires_us__gt=self._now_us(), revoked=False).count()

    def browse(self, query: Query) -> Page:
        """Give a page in any order; only the socket id and the time of expiry are indexed."""
        now_us = self._now_us()
        with self._errors("listing"):
            rows = after(wanted(self._rows, query, now_us), query)
            infos = infos_of(self._rows, rows[: query.limit + 1], query.order, now_us)
        page = infos[: query.limit]
        more = len(infos) > query.limit
        return Page(
            items=[info for info, _ in page], next_cursor=str(page[-1][1]) if more else None
        )

    def sample(self, limit: int = 1000) -> Sample:
        """Give the first by their keys, which are hashes: their share of all keys is known."""
        with self._errors("listing"):
            return sample_of(self._rows, limit, self._now_us())

    def look_up(self, key: str) -> Entry | None:
        with self._errors("load"):
            row = self._rows.filter(key=key).first()
        if row is None:
            return None
        expires_in = (row.expires_us - self._now_us()) / MICROSECONDS
        return Entry(key=key, data=bytes_of(row), expires_in=expires_in)

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make the call with Django's care of old connections, as around a request."""
        close_old_connections()
        try:
            return call()
        finally:
            close_old_connections()

    def leave_thread(self) -> None:
        """Close the connections of a thread of ours."""
        connections.close_all()

    @property
    def _model(self) -> type[StoredSnapshot]:
        # Looked up late, as settings may name this class before the models are loaded.
        model: type[StoredSnapshot] = apps.get_model("recovery_app", "StoredSnapshot")
        return model

    @property
    def _rows(self) -> Rows:
        return self._model._default_manager.using(self.database)

    def _live(self, key: str) -> Rows:
        return self._rows.filter(key=key, expires_us__gt=self._now_us())

    def _expired(self) -> Rows:
        return self._rows.filter(expires_us__lte=self._now_us())

    def _now_us(self) -> int:
        return to_us(self.clock())

    def _expiry(self, ttl: float) -> int:
        return to_us(self.clock() + ttl)

    def _columns(self, data: bytes, ttl: float) -> dict[str, Any]:
        return columns_of(data) | {"expires_us": self._expiry(ttl)}

    def _settle(
        self,
        operation: str,
        key: str,
        write: Callable[[Rows], Decision | None],
        decide: Callable[[bytes | None], Decision],
    ) -> Decision:
        """Write, or say what refuses it; again where neither holds, as only a race explains."""
        with self._errors(operation):
            for _ in range(ATTEMPTS):
                live = self._live(key)
                done = write(live)
                if done is not None:
                    return done
                refusal = decide(_stored_in(live))
                if refusal.verdict is not Verdict.DONE:
                    return refusal
        raise StorageUnavailable(self._name, f"{operation}, in a race")

    def _put(
        self, key: str, allowed: Rows, columns: dict[str, Any], changes: dict[str, Any]
    ) -> Decision | None:
        """Update the row where that is allowed, else insert one."""
        if allowed.update(**changes):
            return _DONE
        try:
            with transaction.atomic(using=self.database):
                # Unlike save() it sends no signals: some apps listen to all models there are.
                self._rows.bulk_create([self._model(key=key, **columns)])
        except IntegrityError:
            self._expired().filter(key=key)._raw_delete(self.database)
            return None
        return _DONE

    def _change(self, live: Rows, *, allowed: Q, changes: dict[str, Any]) -> Decision | None:
        # The transaction holds the row from the UPDATE on, so what is read is what it left.
        with transaction.atomic(using=self.database):
            if not live.filter(allowed).update(**changes):
                return None
            return Decision(verdict=Verdict.DONE, data=_stored_in(live))

    def _remove_before(self, end_us: int | None, rows: Rows, size: int) -> int:
        """Remove rows up to a time, or if they are all of that very time some of them."""
        if end_us is None:
            return rows._raw_delete(self.database)
        removed = rows.filter(expires_us__lt=end_us)._raw_delete(self.database)
        if not removed:
            alike = rows.filter(expires_us=end_us)
            keys = list(alike.values_list("key", flat=True)[: min(size, MOST_KEYS)])
            removed = alike.filter(key__in=keys)._raw_delete(self.database)
        return removed

    @contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise StorageUnavailable(self._name, operation) from error
        except DatabaseError as error:
            raise StorageError(f"{self._name} failed (during {operation}).") from error

    @property
    def _name(self) -> str:
        return f"DatabaseStorage on {self.database!r}"


class _Turns:
    """Leave SQLite's one lock to others in between: who waits for it looks each tenth of a second.

    Without that a writer may look in vain until its time-out, however short each step is.
    """

    def __init__(self, are_wanted: bool) -> None:
        self._are_wanted = are_wanted
        self._since = time.monotonic()

    def take(self) -> None:
        """Wait, if it has been our turn for long enough."""
        if self._are_wanted and time.monotonic() - self._since >= TURN_SECONDS:
            time.sleep(TURN_SECONDS)
            self._since = time.monotonic()


def _time_of(rows: Rows, *, place: int) -> int | None:
    """Give when the row expires that is at this place, the one that expires first at 0."""
    times = rows.order_by("expires_us").values_list("expires_us", flat=True)
    return next(iter(times[place : place + 1]), None)


def _stored_in(rows: Rows) -> bytes | None:
    row = rows.first()
    return None if row is None else bytes_of(row)
