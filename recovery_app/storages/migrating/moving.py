"""Moving a snapshot from the old storage to the new one, and where it is in the meantime.

Some processes may know only the old storage, as in a rolling deploy. For each key:

1. The data with the higher fence counts, in either storage. The old storage is read first: a
   snapshot that moves between the two reads is then found in at least one of them.
2. A move raises the fence in the old storage, in its own atomic step, which returns the data
   with everything that was saved so far. From then on, no older connection can save there, in
   any process.
3. A tombstone that contains the data replaces the snapshot, unless another process has raised the
   fence since: if several move the same key, only one gets this far, and the others look again.
4. The data is stored in the new storage, unless there is something newer. It has the same fence
   as in the old one, so that the same tokens can use it.
5. A tombstone without data replaces the first one.

A process that dies after step 2 has done no more than a lost join reply does. After step 3 or 4,
the next process that looks continues with the contents of the tombstone. Nothing is written to
the new storage before step 3, so nothing there is older than what an old process may still save.
"""

from __future__ import annotations

from dataclasses import replace

from recovery_app.exceptions import StorageError, StorageUnavailable
from recovery_app.fencing import Claim, Decision, Verdict
from recovery_app.snapshots import Header, is_marker
from recovery_app.storages.migrating.finding import Finder, Found
from recovery_app.storages.migrating.flows import Flow, call
from recovery_app.storages.migrating.tombstones import (
    claim_on_tombstones,
    fence_of,
    read_held,
    tombstone,
    tombstone_for_all,
)

ATTEMPTS = 8


class InRace(StorageUnavailable):
    """Other processes changed the same key in each attempt."""

    def __init__(self) -> None:
        super().__init__("MigratingStorage", "move, in a race")


class Moves(Finder):
    """Moves data from the old storage to the new one, as flows."""

    def bring(self, key: str, ttl: float, now_us: int, found: Found | None = None) -> Flow[bool]:
        """Move a readable snapshot; return whether the new storage has the data that counts.

        ``found`` is the result of an earlier look; each step checks that it still holds.
        """
        for attempt in range(ATTEMPTS):
            if found is None or attempt:
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
        """Replace a snapshot in the old storage by a tombstone that contains it, and return it.

        Return ``None`` if others have changed it in the meantime.
        """
        before = Header.read(data)
        claim = Claim(before.fence, before.binding)
        raised: Decision = yield from call(
            self.old, "renew", key, claim, ttl, now_us=now_us, binding=before.binding
        )
        if raised.verdict is not Verdict.DONE or raised.data is None:
            return None
        if read_held(raised.data).is_moved:
            # Of somebody who had raised the fence before this one looked, so that it still fits.
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
        """Store a moved snapshot in the new storage, unless there is something newer."""
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
        """Leave a tombstone in the old storage, if possible.

        Without one, a process that knows only the old storage finds nothing.
        """
        if self.has_failed():
            return
        try:
            marker = tombstone_for_all(self.now_us(), binding)
            yield from call(self.old, "save", key, marker, ttl)
        except StorageError as error:
            self.note_failure(error)
        else:
            self.settle(key)

    def guard(self, key: str, claim: Claim, ttl: float) -> Flow[bool]:
        """Extend the tombstone's life; return whether an old process has revoked it."""
        if self.has_failed():
            return False
        try:
            ours = Claim(claim_on_tombstones(self.now_us()), claim.binding)
            verdict = yield from call(self.old, "touch_fenced", key, ours, ttl)
            stored = None
            if verdict is not Verdict.DONE:
                stored = yield from call(self.old, "load", key)
        except StorageError as error:
            self.note_failure(error)
            return False
        if stored is not None and is_marker(stored) and (fence_of(stored) or 0) > claim.issued_us:
            return True
        if verdict is not Verdict.DONE:
            yield from self.plant(key, claim.binding, ttl)
        return False
