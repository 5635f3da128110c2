"""Own the storage in any database that Django speaks to.

Each fenced step is one ``UPDATE … WHERE fence <= …``. No row changed means absent or
refused: a save then tries an ``INSERT``, and if that meets a row after all, the ``UPDATE``
once more. Nothing reads before it writes inside a transaction, so SQLite never has to
upgrade a lock and InnoDB holds no gap lock while it inserts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    close_old_connections,
    transaction,
)
from django.db.models import BigIntegerField, F, Q, QuerySet, Value
from django.db.models.functions import Greatest

from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import (
    SnapshotCorrupt,
    StorageError,
    StorageUnavailable,
    VersionMismatch,
)
from recovery_app.fencing import Claim, Decision, Verdict, raise_fence, refuse
from recovery_app.snapshots import Header, Snapshot, revoked_marker
from recovery_app.storages.base import Entry, EntryPage, Result, Storage

if TYPE_CHECKING:
    from recovery_app.models import StoredSnapshot

DELETE_BATCH = 1_000
_MADE_ONCE = ("created_us", "floor")


class DatabaseStorage(Storage):
    """Keep snapshots in the table of `recovery_app.models.StoredSnapshot`.

    ``database`` is an alias of ``DATABASES``. Give it ``CONN_MAX_AGE``, as each
    asynchronous call keeps Django's care of old connections. Inside an open transaction a
    save becomes durable with it, as any other row.
    """

    supports_atomic_fence = True
    supports_listing = True

    def __init__(self, *, database: str = DEFAULT_DB_ALIAS, clock: Clock = time.time) -> None:
        self.database = database
        self.clock = clock

    def save(self, key: str, data: bytes, ttl: float) -> None:
        with self._errors("save"):
            self._rows.update_or_create(key=key, defaults=self._columns(data, ttl))

    def load(self, key: str) -> bytes | None:
        with self._errors("load"):
            row = self._live(key).first()
        return None if row is None else _bytes_of(row)

    def delete(self, key: str) -> bool:
        with self._errors("delete"):
            there = bool(self._live(key).delete()[0])
            self._rows.filter(key=key).delete()
            return there

    def save_fenced(self, key: str, data: bytes, ttl: float) -> Verdict:
        header = Header.read(data)
        columns = self._columns(data, ttl)
        claim = Claim(issued_us=header.fence, binding=header.binding)
        with self._errors("save"):
            return self._write(key, _by_fence(claim), columns, _kept(columns), claim)

    def touch_fenced(self, key: str, claim: Claim, ttl: float) -> Verdict:
        with self._errors("touch"):
            allowed = self._live(key).filter(_by_fence(claim), revoked=False)
            if allowed.update(expires_us=self._expiry(ttl)):
                return Verdict.DONE
            return self._refusal(key, claim) or Verdict.ABSENT

    def take_over(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, newest_version: int | None
    ) -> Decision:
        allowed = Q(binding=claim.binding.hex(), floor__lte=claim.issued_us, revoked=False)
        if newest_version is not None:
            allowed &= Q(version__lte=newest_version)
        changes = {"fence": _raised(claim, now_us), "expires_us": self._expiry(ttl)}
        with self._errors("takeover"):
            return self._change(key, allowed, changes, claim, by_floor=True)

    def renew(
        self, key: str, claim: Claim, ttl: float, *, now_us: int, binding: bytes
    ) -> Decision:
        changes = {
            "fence": _raised(claim, now_us),
            "binding": binding.hex(),
            "expires_us": self._expiry(ttl),
        }
        with self._errors("renewal"):
            return self._change(key, _by_fence(claim) & Q(revoked=False), changes, claim)

    def revoke(self, key: str, claim: Claim, ttl: float, *, now_us: int) -> Verdict:
        fence = raise_fence(Header(fence=0, floor=0, binding=claim.binding), claim, now_us)
        header = Header(
            fence=fence, floor=fence, binding=claim.binding, created_us=now_us, saved_us=now_us
        )
        columns = self._columns(revoked_marker(header), ttl)
        raised = _raised(claim, now_us)
        with self._errors("revocation"):
            changes = columns | {"fence": raised, "floor": raised}
            return self._write(key, Q(binding=claim.binding.hex()), columns, changes, claim)

    def cleanup_expired(self) -> int:
        removed = 0
        with self._errors("clean-up"):
            while keys := list(self._expired().values_list("key", flat=True)[:DELETE_BATCH]):
                # Asked again, as one of them may have come back to life since.
                removed += self._expired().filter(key__in=keys).delete()[0]
        return removed

    def list_entries(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> EntryPage:
        rows = self._rows.filter(expires_us__gt=self._now_us(), revoked=False).order_by("key")
        if prefix:
            rows = rows.filter(socket_id__startswith=prefix)
        if cursor is not None:
            rows = rows.filter(key__gt=cursor)
        with self._errors("listing"):
            found = list(rows[: limit + 1])
        now_us = self._now_us()
        entries = [
            Entry(
                key=row.key,
                data=_bytes_of(row),
                expires_in=(row.expires_us - now_us) / MICROSECONDS,
            )
            for row in found[:limit]
        ]
        more = len(found) > limit
        return EntryPage(entries=entries, next_cursor=entries[-1].key if more else None)

    def count(self) -> int:
        with self._errors("count"):
            return self._rows.filter(expires_us__gt=self._now_us(), revoked=False).count()

    def on_thread(self, call: Callable[[], Result]) -> Result:
        """Make the call with Django's care of old connections, as around a request."""
        close_old_connections()
        try:
            return call()
        finally:
            close_old_connections()

    @property
    def _rows(self) -> QuerySet[StoredSnapshot]:
        # Looked up late, as settings may name this class before the models are loaded.
        model: type[StoredSnapshot] = apps.get_model("recovery_app", "StoredSnapshot")
        return model._default_manager.using(self.database)

    def _live(self, key: str) -> QuerySet[StoredSnapshot]:
        return self._rows.filter(key=key, expires_us__gt=self._now_us())

    def _expired(self) -> QuerySet[StoredSnapshot]:
        return self._rows.filter(expires_us__lte=self._now_us())

    def _now_us(self) -> int:
        return to_us(self.clock())

    def _expiry(self, ttl: float) -> int:
        return to_us(self.clock() + ttl)

    def _columns(self, data: bytes, ttl: float) -> dict[str, Any]:
        return {"data": data, "expires_us": self._expiry(ttl), **_columns_of(data)}

    def _write(
        self,
        key: str,
        allowed: Q,
        columns: dict[str, Any],
        changes: dict[str, Any],
        claim: Claim,
    ) -> Verdict:
        """Update where that is allowed, else insert, else update what came in between."""
        if self._live(key).filter(allowed).update(**changes):
            return Verdict.DONE
        self._expired().filter(key=key).delete()
        try:
            with transaction.atomic(using=self.database):
                self._rows.create(key=key, **columns)
        except IntegrityError:
            if not self._live(key).filter(allowed).update(**changes):
                return self._refusal(key, claim) or Verdict.ABSENT
        return Verdict.DONE

    def _change(
        self, key: str, allowed: Q, changes: dict[str, Any], claim: Claim, *, by_floor: bool = False
    ) -> Decision:
        # The transaction holds the row from the UPDATE on, so what is read is what it left.
        with transaction.atomic(using=self.database):
            changed = self._live(key).filter(allowed).update(**changes)
            row = self._live(key).first()
        data = None if row is None else _bytes_of(row)
        if changed:
            return Decision(verdict=Verdict.DONE, data=data)
        refusal = _refusal_in(data, claim, by_floor=by_floor)
        # Nobody else holds it, and still it wasn't allowed: then the version is too new.
        return Decision(verdict=refusal or Verdict.NEWER, data=data)

    def _refusal(self, key: str, claim: Claim) -> Verdict | None:
        row = self._live(key).first()
        return _refusal_in(None if row is None else _bytes_of(row), claim)

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


def _by_fence(claim: Claim) -> Q:
    return Q(binding=claim.binding.hex(), fence__lte=claim.issued_us)


def _raised(claim: Claim, now_us: int) -> Greatest:
    number = BigIntegerField()
    return Greatest(
        Value(now_us, output_field=number),
        F("fence") + 1,
        Value(claim.issued_us + 1, output_field=number),
        output_field=number,
    )


def _kept(columns: dict[str, Any]) -> dict[str, Any]:
    """Give the changes of a save to a row that is there: its past is kept."""
    floor = Greatest(F("floor"), Value(columns["floor"], output_field=BigIntegerField()))
    changes = {name: value for name, value in columns.items() if name not in _MADE_ONCE}
    return changes | {"floor": floor}


def _columns_of(data: bytes) -> dict[str, Any]:
    try:
        snapshot = Snapshot.from_bytes(data)
    except (SnapshotCorrupt, VersionMismatch):
        return {"size_bytes": len(data)}
    header = snapshot.header
    return {
        "fence": header.fence,
        "floor": header.floor,
        "binding": header.binding.hex(),
        "revoked": header.revoked,
        "version": header.version,
        "created_us": header.created_us,
        "saved_us": header.saved_us,
        "socket_id": snapshot.socket_id,
        "view": snapshot.view,
        "topic": snapshot.topic,
        "size_bytes": len(snapshot.state),
    }


def _bytes_of(row: StoredSnapshot) -> bytes:
    data = bytes(row.data)
    try:
        header = Header.read(data)
    except (SnapshotCorrupt, VersionMismatch):
        return data
    return replace(
        header,
        fence=row.fence,
        floor=row.floor,
        binding=bytes.fromhex(row.binding),
        created_us=row.created_us,
    ).put_on(data)


def _refusal_in(data: bytes | None, claim: Claim, *, by_floor: bool = False) -> Verdict | None:
    if data is None:
        return Verdict.ABSENT
    try:
        header = Header.read(data)
    except (SnapshotCorrupt, VersionMismatch):
        return Verdict.UNREADABLE
    refusal = refuse(header, claim, by_floor=by_floor)
    return refusal or (Verdict.ABSENT if header.revoked else None)
