"""The storage in any database that Django supports.

Each fenced step is one ``UPDATE … WHERE fence <= …``. If it changes no row, there is none or
the step is refused: a save then tries an ``INSERT``, and if a row exists after all, that row
decides. Nothing reads before it writes inside a transaction, so SQLite never has to upgrade a
lock and InnoDB holds no gap lock while it inserts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage
from django.db import (
    DEFAULT_DB_ALIAS,
    DataError,
    IntegrityError,
    close_old_connections,
    connections,
    transaction,
)
from django.db.models import Q, QuerySet

from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageUnavailable
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
from recovery_app.storages.database import cleanup
from recovery_app.storages.database.checks import check_database
from recovery_app.storages.database.columns import (
    allowed_by_fence,
    allowed_by_floor,
    bound_to,
    bytes_of,
    columns_of,
    narrowed_texts,
    raised_fence,
    readable,
    revoked,
    saved,
    unreadable,
)
from recovery_app.storages.database.deadlines import Deadlines
from recovery_app.storages.database.errors import ATTEMPTS
from recovery_app.storages.database.groups import DatabaseGroups
from recovery_app.storages.database.journal import DatabaseJournal
from recovery_app.storages.database.lock_wait import limit_lock_wait
from recovery_app.storages.database.messages import DatabaseMessages
from recovery_app.storages.database.queries import entry_of, entry_page, page_of, sample_of
from recovery_app.storages.database.reports import DatabaseReports
from recovery_app.storages.database.tables import model_of
from recovery_app.values import (
    Incident,
    IncidentPage,
    IncidentQuery,
    JournalLimits,
    Page,
    Query,
    Sample,
)

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

    Rows = QuerySet[StoredSnapshot]

DEFAULT_TIMEOUT = 3.0
_DONE = Decision(verdict=Verdict.DONE)


class DatabaseStorage(DatabaseGroups, DatabaseReports, Storage):
    """The storage in the table of `recovery_app.models.StoredSnapshot`.

    ``database`` is an alias of ``DATABASES``. Set its ``CONN_MAX_AGE``: like a request, each async
    call closes connections that aren't persistent when it ends. Inside an open transaction, a save
    is committed or rolled back with it, like any other row.

    ``timeout`` is the number of seconds that an asynchronous call may take; after that it counts as
    an outage. It can't end the thread that waits: set the time limits of the driver for that.

    ``listen`` is the alias on which to listen for messages of durable groups on PostgreSQL, which
    has to bypass a pooler. ``True`` means ``database``; ``False`` means to poll instead.
    """

    supports_atomic_fence = True
    supports_listing = True
    supports_journal = True
    keeps_expired = True
    sortable_by = SORTABLE

    def __init__(
        self,
        *,
        database: str = DEFAULT_DB_ALIAS,
        timeout: float = DEFAULT_TIMEOUT,
        listen: bool | str = True,
        clock: Clock = time.time,
    ) -> None:
        for alias in (database, *([listen] if isinstance(listen, str) else ())):
            if alias not in connections:
                raise ValueError(f"DATABASES has no alias {alias!r}.")
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout is {timeout} and must be a number of seconds above 0.")
        self.database = database
        self.clock = clock
        self._listen_on = database if listen is True else listen or None
        self._messages = DatabaseMessages(database)
        self._journal = DatabaseJournal(database)
        self._timeout = timeout
        self._deadlines = Deadlines(self._name, seconds=timeout, threads=self.threads)

    def save(self, key: str, data: bytes, ttl: float) -> None:
        columns = self._columns(data, ttl)
        self._attempt(
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
        now_us = self._now_us()

        def write(live: Rows) -> Decision | None:
            allowed = live.filter(allowed_by_fence(claim, now_us))
            return self._put(key, allowed, columns, saved(columns))

        decide = partial(decide_save, data=data, now_us=now_us)
        return self._attempt("save", key, write, decide).verdict

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        now_us = self._now_us()

        def write(live: Rows) -> Decision | None:
            allowed = live.filter(allowed_by_fence(claim, now_us), revoked=False)
            return _DONE if allowed.update(expires_us=self._expiry(ttl)) else None

        decide = partial(decide_touch, claim=claim, now_us=now_us)
        return self._attempt("touch", key, write, decide).verdict

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        allowed = allowed_by_floor(claim, now_us)
        if newest_version is not None:
            allowed &= Q(version__lte=newest_version)
        changes = {"fence": raised_fence(claim, now_us), "expires_us": self._expiry(ttl)}
        decide = partial(decide_takeover, claim=claim, now_us=now_us, newest_version=newest_version)
        write = partial(self._change, allowed=allowed, changes=changes)
        return self._attempt("takeover", key, write, decide)

    def renew(self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes) -> Decision:
        changes = {
            "fence": raised_fence(claim, now_us),
            "binding": binding.hex(),
            "expires_us": self._expiry(ttl),
        }
        decide = partial(decide_renewal, claim=claim, now_us=now_us, binding=binding)
        allowed = allowed_by_fence(claim, now_us) & Q(revoked=False)
        write = partial(self._change, allowed=allowed, changes=changes)
        return self._attempt("renewal", key, write, decide)

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        decide = partial(decide_revocation, claim=claim, now_us=now_us)
        columns = self._columns(decide(None).data or b"", ttl)

        def write(live: Rows) -> Decision | None:
            allowed = live.filter(bound_to(claim) & readable(now_us))
            if allowed.update(**revoked(columns, claim, now_us)):
                return _DONE
            # An unreadable snapshot may be revoked all the same, but its fence isn't kept.
            return self._put(key, live.filter(unreadable(now_us)), columns, columns)

        return self._attempt("revocation", key, write, decide).verdict

    def cleanup_expired(self) -> int:
        return sum(self._clean_up(cleanup.DELETE_BATCH, all_rows=False))

    def cleanup_batches(self, size: int) -> Iterator[int]:
        """Remove expired snapshots, oldest first, each step in one statement.

        Old messages of groups are removed after the snapshots, and aren't counted.
        """
        return self._clean_up(size, all_rows=True)

    def count_expired(self) -> int:
        with self._errors("count"):
            return self._expired().count()

    def estimate_count(self) -> int:
        """Return the number of live values, markers included, which the index alone gives."""
        with self._errors("count"):
            return self._rows.filter(expires_us__gt=self._now_us()).count()

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        with self._errors("listing"):
            return entry_page(self._rows, prefix, cursor, limit, self._now_us())

    def count(self) -> int:
        with self._errors("count"):
            return self._rows.filter(expires_us__gt=self._now_us(), revoked=False).count()

    def browse(self, query: Query) -> Page:
        """Return a page in any order; only the socket id and the expiry have an index."""
        with self._errors("listing"):
            return page_of(self._rows, query, self._now_us())

    def sample(self, limit: int = 1000) -> Sample:
        """Return the first snapshots by key, which is a hash, and an estimate from their share."""
        with self._errors("listing"):
            return sample_of(self._rows, limit, self._now_us())

    def look_up(self, key: str) -> Entry | None:
        with self._errors("load"):
            row = self._rows.filter(key=key).first()
        return None if row is None else entry_of(row, self._now_us())

    def add_incidents(self, incidents: Sequence[Incident], limits: JournalLimits) -> None:
        with self._errors("journal"):
            self._journal.add(incidents, limits)

    def list_incidents(self, query: IncidentQuery) -> IncidentPage:
        with self._errors("listing"):
            return self._journal.page(query)

    def prune_incidents(self, limits: JournalLimits) -> int:
        with self._errors("clean-up"):
            return self._journal.prune(limits)

    def check(self) -> list[CheckMessage]:
        return check_database(self.database, threads=self.threads)

    async def run(self, call: Callable[[], Result]) -> Result:
        bounded = partial(self._patiently, self._timeout, call)
        return await self._deadlines.run(bounded, super().run)

    async def asave_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        # The one write that an older one of the same token could undo, if it landed late.
        call = partial(self._patiently, self._timeout, partial(self.save_fenced, key, data, ttl))
        return await self._deadlines.run(call, super().run, key)

    async def acleanup_expired(self) -> int:
        # It takes as long as there is something to remove.
        return await super().run(partial(self._patiently, None, self.cleanup_expired))

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make the call like a separate request, closing old connections around it."""
        close_old_connections()
        try:
            return call()
        finally:
            close_old_connections()

    def leave_thread(self) -> None:
        """Close the connections of this thread."""
        connections.close_all()

    def _patiently(self, seconds: float | None, call: Callable[[], Result]) -> Result:
        """Make the call, waiting for SQLite's lock for at most ``seconds``."""
        with self._errors("connection"):
            limit_lock_wait(self.database, seconds)
        return call()

    @property
    def _model(self) -> type[StoredSnapshot]:
        model: type[StoredSnapshot] = model_of("StoredSnapshot")
        return model

    @property
    def _rows(self) -> Rows:
        return self._model._default_manager.using(self.database)

    def _live(self, key: str) -> Rows:
        return self._rows.filter(key=key, expires_us__gt=self._now_us())

    def _expired(self) -> Rows:
        return self._rows.filter(expires_us__lte=self._now_us())

    def _clean_up(self, size: int, *, all_rows: bool) -> Iterator[int]:
        errors, now_us = partial(self._errors, "clean-up"), self._now_us()
        yield from cleanup.remove_expired(self._rows, size, now_us, errors)
        steps = self._messages.cleanup(now_us, all_rows=all_rows)
        yield from cleanup.in_turns(steps, self.database, errors)

    def _expiry(self, ttl: float) -> int:
        return to_us(self.clock() + ttl)

    def _columns(self, data: bytes, ttl: float) -> dict[str, Any]:
        return columns_of(data) | {"expires_us": self._expiry(ttl)}

    def _attempt(
        self,
        operation: str,
        key: str,
        write: Callable[[Rows], Decision | None],
        decide: Callable[[bytes | None], Decision],
    ) -> Decision:
        """Write, or return why it is refused; retry if neither is true, which is a race."""
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
        """Update the row if that is allowed, or insert one if there is none."""
        try:
            return self._write_row(key, allowed, columns, changes)
        except DataError:
            narrow = narrowed_texts(columns)
            if not narrow or connections[self.database].vendor != "mysql":
                raise
            # A table in utf8mb3 holds no emoji. The bytes in ``data`` keep what the texts were.
            return self._write_row(key, allowed, columns | narrow, changes | narrow)

    def _write_row(
        self, key: str, allowed: Rows, columns: dict[str, Any], changes: dict[str, Any]
    ) -> Decision | None:
        if allowed.update(**changes):
            return _DONE
        try:
            with transaction.atomic(using=self.database):
                # Unlike save() it sends no signals; some apps listen to those of every model.
                self._rows.bulk_create([self._model(key=key, **columns)])
        except IntegrityError:
            self._expired().filter(key=key)._raw_delete(self.database)
            return None
        return _DONE

    def _change(self, live: Rows, *, allowed: Q, changes: dict[str, Any]) -> Decision | None:
        # The UPDATE locks the row until the end of the transaction.
        with transaction.atomic(using=self.database):
            if not live.filter(allowed).update(**changes):
                return None
            return Decision(verdict=Verdict.DONE, data=_stored_in(live))


def _stored_in(rows: Rows) -> bytes | None:
    row = rows.first()
    return None if row is None else bytes_of(row)
