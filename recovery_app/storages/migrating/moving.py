"""How a snapshot gets from the old storage into the new one, and where it lives meanwhile.

Some processes may know only the old storage, as in a rolling deploy. For each key:

1. What has the higher fence counts, wherever it is. The old storage is read first: a snapshot
   that is on its way between the two reads is then found in one of them at least.
2. A move raises the fence in the old storage, in its own atomic step, which returns the data
   with all that was saved until then. From then on no older connection saves there, whatever
   process it is on.
3. The tombstone that holds the data replaces the snapshot, unless somebody else has raised the
   fence since: of several that move the same key only one gets here, and the others look again.
4. The data is stored in the new storage, unless something newer is there. It has the fence that
   it had in the old one, so that the same tokens may use it.
5. A tombstone without data replaces that.

A process that dies after 2 has done what a lost join reply does. After 3 or 4, the next process
that looks goes on with what the tombstone holds. Nothing is written to the new storage before 3,
so nothing there is older than what an old process may still save.
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass, replace

from recovery_app._concurrency import LRUCache
from recovery_app.clock import MAX_AHEAD_US, MICROSECONDS, Clock, to_us
from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.snapshots import NOBODY, Header, is_marker, revoked_marker
from recovery_app.storages.base import Entry, Storage
from recovery_app.storages.migrating.flows import Flow, call
from recovery_app.storages.migrating.tombstones import (
    NOTHING,
    Held,
    claim_on_tombstones,
    fence_of,
    read_held,
    tombstone,
    tombstone_for_all,
)

ATTEMPTS = 8
RETRY_SECONDS = 5
"""For so long after an error of the old storage, calls that can do without don't ask it."""
REMEMBERED_KEYS = 50_000
PROBE_SECONDS = 60
LONGEST_SECONDS = MAX_AHEAD_US / MICROSECONDS
"""The lifetime of a copied marker whose own isn't known: as long as a token's by default."""
SAME_PLACE = (
    "MigratingStorage has the same place as its new and its old storage: nothing was changed. "
    "Give the new one another server, database or prefix."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What only the old storage holds: the number of snapshots, and when the last one expires."""

    count: int
    expires_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """What both storages hold for a key."""

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


class InRace(StorageUnavailable):
    """Others changed the same key each time."""

    def __init__(self) -> None:
        super().__init__("MigratingStorage", "move, in a race")


class Moves:
    """Finds and moves what two storages hold, as flows.

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

    # Finding.

    def look(self, key: str, *, is_new: bool = False) -> Flow[Found]:
        """Return what both storages hold.

        While the old one fails, what is in the new one counts. If nothing is there, its error is
        raised, since it may hold the only copy; ``is_new`` says that it hardly does.
        """
        if time.monotonic() - self._failed_at < RETRY_SECONDS:
            new = read_held((yield from call(self.new, "load", key)))
            if is_new or new.data is not None:
                return Found(new, NOTHING, is_old_known=False)
        for _ in range(2):
            try:
                yield from self._tell_apart()
                old = read_held((yield from call(self.old, "load", key)))
            except StorageUnavailable:
                self._failed_at = time.monotonic()
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
        """Return what counts as an entry, expired or not."""
        old: Entry | None = yield from call(self.old, "look_up", key)
        new: Entry | None = yield from call(self.new, "look_up", key)
        old, new = _without_tombstone(old), _without_tombstone(new)
        if old is None or new is None:
            return new or old
        if _has_expired(old) is not _has_expired(new):
            return new if _has_expired(old) else old
        return old if Found(Held(new.data), Held(old.data)).is_in_old else new

    def _tell_apart(self) -> Flow[None]:
        """Make sure, once, that the two aren't the same: a tombstone would replace the snapshot."""
        if self._are_distinct:
            return
        marker = revoked_marker(Header(0, 0, NOBODY))
        yield from call(self.new, "save", self._probe, marker, PROBE_SECONDS)
        found = yield from call(self.old, "load", self._probe)
        yield from call(self.new, "delete", self._probe)
        if found is not None:
            raise StorageError(SAME_PLACE)
        self._are_distinct = True

    # Moving.

    def bring(self, key: str, ttl: float, now_us: int) -> Flow[bool]:
        """Move a readable snapshot; return whether the new storage has what counts."""
        for _ in range(ATTEMPTS):
            found = yield from self.look(key)
            if not found.is_in_old:
                if not found.new.is_moved or found.new.data is None:
                    return found.data is not None
                # It came back from a move the other way, which didn't end.
                if (yield from self._store(key, found.new.data, ttl, now_us)):
                    return True
                continue
            data = found.old.data
            if not found.old.is_moved:
                data = yield from self._withdraw(key, data or b"", ttl, now_us)
            if data is not None and (yield from self._store(key, data, ttl, now_us)):
                yield from self.plant(key, Header.read(data).binding, ttl)
                return True
        raise InRace

    def _withdraw(self, key: str, data: bytes, ttl: float, now_us: int) -> Flow[bytes | None]:
        """Replace a snapshot in the old storage by a tombstone that holds it, and return it.

        Return ``None`` if others changed it meanwhile.
        """
        before = Header.read(data)
        claim = Claim(before.fence, before.binding)
        raised: Decision = yield from call(
            self.old, "renew", key, claim, ttl, now_us=now_us, binding=before.binding
        )
        if raised.verdict is not Verdict.DONE or raised.data is None:
            return None
        header = Header.read(raised.data)
        moved = replace(header, fence=before.fence).put_on(raised.data)
        marker = tombstone(header.fence, header.binding, moved)
        verdict = yield from call(self.old, "save_fenced", key, marker, ttl)
        if verdict is Verdict.UNREADABLE:
            # Its fence is the latest that counts, and so nobody else may change it.
            yield from call(self.old, "save", key, marker, ttl)
        elif verdict is not Verdict.DONE:
            return None
        return moved

    def _store(self, key: str, data: bytes, ttl: float, now_us: int) -> Flow[bool]:
        """Store a moved snapshot in the new storage, unless something newer is there."""
        verdict = yield from call(self.new, "save_fenced", key, data, ttl)
        if verdict is Verdict.DONE:
            return True
        stored = yield from call(self.new, "load", key)
        there = read_held(stored)
        header = Header.read(data)
        if stored is None:
            # A storage may refuse what is older than the fence of something it has evicted.
            header = replace(header, fence=max(header.fence, now_us))
            verdict = yield from call(self.new, "save_fenced", key, header.put_on(data), ttl)
            return verdict is Verdict.DONE
        fence = fence_of(stored)
        if fence is None:
            return True
        if not there.is_moved and fence >= header.fence:
            return True
        # A tombstone, or what is older and bound to somebody else, and nobody may change it
        # between the next two steps either.
        claim = Claim(fence, Header.read(stored).binding)
        raised: Decision = yield from call(
            self.new, "renew", key, claim, ttl, now_us=now_us, binding=header.binding
        )
        if raised.verdict is not Verdict.DONE or raised.data is None:
            return False
        header = replace(header, fence=Header.read(raised.data).fence)
        verdict = yield from call(self.new, "save_fenced", key, header.put_on(data), ttl)
        return verdict is Verdict.DONE

    # Tombstones.

    def plant(self, key: str, binding: bytes, ttl: float) -> Flow[None]:
        """Leave a tombstone in the old storage, where that is possible.

        Without one, a process that knows only the old storage finds nothing.
        """
        if time.monotonic() - self._failed_at < RETRY_SECONDS:
            return
        try:
            marker = tombstone_for_all(self.now_us(), binding)
            yield from call(self.old, "save", key, marker, ttl)
        except StorageUnavailable:
            self._failed_at = time.monotonic()
        else:
            self.settle(key)

    def guard(self, key: str, claim: Claim, ttl: float) -> Flow[bool]:
        """Prolong the tombstone; return whether a process with the old storage has revoked it."""
        if time.monotonic() - self._failed_at < RETRY_SECONDS:
            return False
        try:
            ours = Claim(claim_on_tombstones(self.now_us()), claim.binding)
            verdict = yield from call(self.old, "touch_fenced", key, ours, ttl)
            stored = None
            if verdict is not Verdict.DONE:
                stored = yield from call(self.old, "load", key)
        except StorageUnavailable:
            self._failed_at = time.monotonic()
            return False
        if stored is not None and is_marker(stored) and (fence_of(stored) or 0) > claim.issued_us:
            return True
        if verdict is not Verdict.DONE:
            yield from self.plant(key, claim.binding, ttl)
        return False


def _without_tombstone(entry: Entry | None) -> Entry | None:
    if entry is None:
        return None
    held = read_held(entry.data)
    return None if held.data is None else replace(entry, data=held.data)


def _has_expired(entry: Entry) -> bool:
    return entry.expires_in <= 0
