"""Finding the data of a key: in the new storage, in the old one, or in both.

The data with the higher fence counts. The old storage is read first, so that a snapshot that moves
between the two reads is found in at least one of them.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from dataclasses import dataclass, replace

from recovery_app._concurrency import LRUCache
from recovery_app.clock import Clock, to_us
from recovery_app.exceptions import StorageError
from recovery_app.snapshots import NOBODY, Header, revoked_marker
from recovery_app.storages.base import Entry, Storage
from recovery_app.storages.migrating.flows import Flow, call
from recovery_app.storages.migrating.tombstones import NOTHING, Held, fence_of, read_held

logger = logging.getLogger("recovery_app")

RETRY_SECONDS = 5
"""For how long after an error of the old storage calls that don't need it skip it."""
OUTAGE_ENDS_SECONDS = 60
"""After how long without a failure the next one starts another outage."""
REMEMBERED_KEYS = 50_000
PROBE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is only in the old storage: the number of snapshots, and when the last one expires."""

    count: int
    expires_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """The data that both storages have for a key."""

    new: Held
    old: Held
    is_old_known: bool = True
    """Whether the old storage was asked."""

    @property
    def is_in_old(self) -> bool:
        """Whether the data in the old storage is what counts."""
        if self.old.data is None or self.new.data is None:
            return self.old.data is not None
        old, new = fence_of(self.old.data), fence_of(self.new.data)
        return old is not None and new is not None and old > new

    @property
    def data(self) -> bytes | None:
        """The data that counts."""
        return self.old.data if self.is_in_old else self.new.data


class SamePlace(StorageError):
    """The new and the old storage are the same."""

    def __init__(self) -> None:
        super().__init__(
            "The new and the old storage of MigratingStorage are the same: nothing was "
            "changed. Use another server, database or prefix for the new one."
        )


class Finder:
    """Finds the data of keys in two storages, as flows.

    A key is settled once this process knows that nothing in the old storage can count any more.
    """

    def __init__(self, new: Storage, old: Storage, clock: Clock) -> None:
        self.new = new
        self.old = old
        self._clock = clock
        self._settled: LRUCache[str, bool] = LRUCache(REMEMBERED_KEYS)
        self._failed_at = -math.inf
        self._probe = f"probe:{secrets.token_hex(8)}"
        self._are_distinct = False

    def now_us(self) -> int:
        """Return the time in microseconds."""
        return to_us(self._clock())

    def is_settled(self, key: str) -> bool:
        """Return whether the old storage needn't be asked about a key."""
        return self._settled.get(key) is not None

    def settle(self, key: str) -> None:
        """Note that the old storage needn't be asked about a key."""
        self._settled.put(key, True)

    def has_failed(self) -> bool:
        """Return whether the old storage failed a moment ago."""
        return time.monotonic() - self._failed_at < RETRY_SECONDS

    def note_failure(self, error: StorageError) -> None:
        """Note that the old storage has failed; log the first failure of an outage."""
        now = time.monotonic()
        if now - self._failed_at > OUTAGE_ENDS_SECONDS:
            logger.warning(
                "The old storage is failing, and states that are only there are unavailable: %s",
                error,
                extra={"event": "old_storage_failed", "reason": error.reason},
            )
        self._failed_at = now

    def look(self, key: str, *, is_new: bool = False) -> Flow[Found]:
        """Return what both storages have.

        While the old one fails, the data in the new one counts. If there is none, the error is
        raised, because the old storage may have the only copy; ``is_new`` says that this is
        unlikely.
        """
        if self.has_failed():
            new = read_held((yield from call(self.new, "load", key)))
            if is_new or new.data is not None:
                return Found(new, NOTHING, is_old_known=False)
        for _ in range(2):
            try:
                yield from self._tell_apart()
                old = read_held((yield from call(self.old, "load", key)))
            except SamePlace:
                raise
            except StorageError as error:
                self.note_failure(error)
                new = read_held((yield from call(self.new, "load", key)))
                if is_new or new.data is not None:
                    return Found(new, NOTHING, is_old_known=False)
                raise
            new = read_held((yield from call(self.new, "load", key)))
            found = Found(new, old)
            if found.data is not None or not new.is_moved:
                break
            # Moved the other way, perhaps between the two reads.
        return found

    def describe(self, key: str) -> Flow[Entry | None]:
        """Return the data that counts as an entry, expired or not."""
        old: Entry | None = None
        failure: StorageError | None = None
        try:
            old = yield from call(self.old, "look_up", key)
        except StorageError as error:
            failure = error
        new: Entry | None = yield from call(self.new, "look_up", key)
        if failure is not None and new is None:
            raise failure
        old, new = _without_tombstone(old), _without_tombstone(new)
        if old is None or new is None:
            return new or old
        if _has_expired(old) is not _has_expired(new):
            return new if _has_expired(old) else old
        return old if Found(Held(new.data), Held(old.data)).is_in_old else new

    def _tell_apart(self) -> Flow[None]:
        """Check once that the storages differ: otherwise a tombstone would replace the snapshot."""
        if self._are_distinct:
            return
        marker = revoked_marker(Header(0, 0, NOBODY))
        yield from call(self.new, "save", self._probe, marker, PROBE_SECONDS)
        found = yield from call(self.old, "load", self._probe)
        yield from call(self.new, "delete", self._probe)
        if found is not None:
            raise SamePlace
        self._are_distinct = True


def _without_tombstone(entry: Entry | None) -> Entry | None:
    if entry is None:
        return None
    held = read_held(entry.data)
    return None if held.data is None else replace(entry, data=held.data)


def _has_expired(entry: Entry) -> bool:
    return entry.expires_in <= 0
