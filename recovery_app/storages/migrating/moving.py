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
    """Others changed the same key each time."""

    def __init__(self) -> None:
        super().__init__("MigratingStorage", "move, in a race")


class Moves(Finder):
    """Moves what the old storage holds to the new one, as flows."""

    def bring(self, key: str, ttl: float, now_us: int, found: Found | None = None) -> Flow[bool]:
        """Move a readable snapshot; return whether the new storage has what counts.

        ``found`` is what a look has found before; each step makes sure that it still holds.
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
        """Prolong the tombstone; return whether a process with the old storage has revoked it."""
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
