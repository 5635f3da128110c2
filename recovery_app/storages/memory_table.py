"""The entries of `MemoryStorage`: compact, and evicted from the holder with the most.

A million snapshots are a million keys, so an entry isn't an object of its own. It is a number, its
slot in a few arrays; the stored bytes begin with it. Its `Holder` has the ends of a list of slots
in the order of their last use.

The amount of a holder is the sum of two shares, of the entries and of the bytes that may be
stored. It is counted in units, the bytes that there are for one entry, so that holders with about
the same share lose in the order of their last use.
"""

from __future__ import annotations

import struct
from array import array
from binascii import a2b_hex
from typing import Any

from recovery_app.clock import to_us
from recovery_app.fencing import latest_date
from recovery_app.snapshots import (
    BINDING,
    HEADER_BYTES,
    NOBODY,
    PERSON,
    READABLE,
    REVOKED,
    read_fencing,
)
from recovery_app.storages.memory_holders import NO_SLOT, Holder, HolderQueue

_HEX_KEY = 16
_SLOT = 4
"""The bytes of a slot's number, in front of the stored bytes."""
_FEW = 64
_GROWTH = 16
_LOOKS = 32
"""How many slots each eviction searches for what has expired."""
_SNAPSHOT = READABLE[-1] + b"\0"
"""The first bytes of a snapshot, as this version writes it in the clear."""
_slot_in = struct.Struct("=I").unpack_from
_slot_bytes = struct.Struct("=I").pack
_number_in = struct.Struct(">Q").unpack
_NOBODY = Holder("")
Name = int | str
"""A key as the table has it."""


class EntryTable:
    """Stored bytes by key, with a limit on their number and on the total size.

    Over many operations, each takes O(log n) at most. Nothing here is thread-safe.
    ``evicted_fence`` is the greatest fence of all evicted entries.

    Markers of revocations have no holder and aren't evicted for others. There are at most
    ``max_entries`` of them too; above that, the oldest is dropped, and ``evicted_fence``
    continues to refuse what it refused.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._unit = max(1, max_bytes // max_entries)
        self.evicted_fence = -1
        self.entries = 0
        self.bytes = 0
        # By the last of 16 digits: an int of the other 15 takes 32 bytes, and a str of all 80.
        self._shards: tuple[dict[int, bytes], ...] = tuple({} for _ in range(16))
        self._others: dict[str, bytes] = {}
        self._other_keys: dict[int, str] = {}
        # The arrays by slot. Slot 0 stands for none.
        self._keys = array("Q", [0])
        self._expiries = array("d", [0.0])
        self._before = array("I", [NO_SLOT])
        self._after = array("I", [NO_SLOT])
        self._holders: list[Holder] = [_NOBODY]
        self._free = NO_SLOT
        self._by_name: dict[bytes | Name, Holder] = {}
        self._markers = Holder("")
        self._uses = 0
        self._searched = NO_SLOT
        self._queue = HolderQueue(self._unit)

    def __len__(self) -> int:
        return self.entries + self._markers.load

    def find(self, name: Name) -> tuple[bytes, float] | None:
        """Return the stored bytes and when they expire, without counting that as a use."""
        record = self._record(name)
        if record is None:
            return None
        return record[_SLOT:], self._expiries[_slot_in(record)[0]]

    def use(self, name: Name, now: float) -> bytes | None:
        """Return the stored bytes, unless they have expired, as the most recently used."""
        record = self._record(name)
        if record is None:
            return None
        slot = _slot_in(record)[0]
        if self._expiries[slot] <= now:
            return None
        holder = self._holders[slot]
        self._uses = holder.used = self._uses + 1
        if holder.last != slot:
            self._unlink(slot, holder)
            self._append(slot, holder)
        return record[_SLOT:]

    def prolong(self, name: Name, expires_at: float) -> None:
        """Change when an entry expires."""
        record = self._record(name)
        if record is not None:
            self._expiries[_slot_in(record)[0]] = expires_at

    def put(self, name: Name, data: bytes, now: float, expires_at: float) -> None:
        """Store bytes, and evict other entries if there are too many."""
        shard: dict[Any, bytes] = self._others
        key: Any = name
        if type(name) is int:
            shard, key = self._shards[name & 15], name >> 4
        record = shard.get(key)
        slot = self._take_slot(name) if record is None else _slot_in(record)[0]
        shard[key] = _slot_bytes(slot) + data
        self._expiries[slot] = expires_at
        # Most are snapshots of somebody who holds others.
        holder = self._by_name.get(data[PERSON]) if data.startswith(_SNAPSHOT) else None
        if holder is None:
            holder = self._holder_of(name, data)
        self._uses = holder.used = self._uses + 1
        if record is not None and holder is self._holders[slot] and holder is not self._markers:
            self._resize(slot, holder, len(data) - len(record) + _SLOT)
        else:
            if record is not None:
                self._release(slot, len(record) - _SLOT, holder)
            self._add(slot, holder, len(data))
        if self._is_full():
            self._evict(slot, now)
        elif self._markers.load > self._max_entries:
            self._remember(self._drop(self._markers.first), now)

    def remove(self, name: Name) -> None:
        """Remove an entry, if there is one."""
        record = self._record(name)
        if record is not None:
            self._drop(_slot_in(record)[0])

    def snapshots(self, now: float, *, expired: bool) -> list[Name]:
        """Return the names of live or of expired entries, without the markers."""
        expiries = self._expiries
        return [
            self._other_keys.get(slot, self._keys[slot])
            for slot, holder in enumerate(self._holders)
            if holder is not _NOBODY
            and holder is not self._markers
            and (expiries[slot] <= now) is expired
        ]

    def expired(self, now: float) -> list[Name]:
        """Return the names of expired entries."""
        holders = self._holders
        return [
            self._other_keys.get(slot, self._keys[slot])
            for slot, expires_at in enumerate(self._expiries)
            if expires_at <= now and holders[slot] is not _NOBODY
        ]

    # Slots.

    def _record(self, name: Name) -> bytes | None:
        if type(name) is int:
            return self._shards[name & 15].get(name >> 4)
        return self._others.get(name)  # type: ignore[arg-type]

    def _take_slot(self, name: Name) -> int:
        slot = self._free or self._grow()
        self._free = self._after[slot]
        if type(name) is int:
            self._keys[slot] = name
        else:
            self._other_keys[slot] = str(name)
        return slot

    def _grow(self) -> int:
        """Add some free slots and return the first."""
        first = len(self._keys)
        number = max(_FEW, first // _GROWTH)
        for each in (self._keys, self._expiries, self._before):
            each.frombytes(bytes(each.itemsize * number))
        self._after.extend(range(first + 1, first + number))
        self._after.append(NO_SLOT)
        self._holders.extend([_NOBODY] * number)
        return first

    def _drop(self, slot: int) -> bytes:
        """Remove the entry in a slot and return its bytes."""
        key = self._other_keys.pop(slot, None)
        if key is None:
            number = self._keys[slot]
            record = self._shards[number & 15].pop(number >> 4)
        else:
            record = self._others.pop(key)
        self._release(slot, len(record) - _SLOT)
        self._after[slot] = self._free
        self._free = slot
        return record[_SLOT:]

    def _append(self, slot: int, holder: Holder) -> None:
        last = holder.last
        self._before[slot] = last
        self._after[slot] = NO_SLOT
        if last:
            self._after[last] = slot
        else:
            holder.first = slot
        holder.last = slot

    def _unlink(self, slot: int, holder: Holder) -> None:
        before, after = self._before[slot], self._after[slot]
        if before:
            self._after[before] = after
        else:
            holder.first = after
        if after:
            self._before[after] = before
        else:
            holder.last = before

    # Holders.

    def _add(self, slot: int, holder: Holder, size: int) -> None:
        """Add a new entry of so many bytes to its holder's."""
        self._holders[slot] = holder
        self._append(slot, holder)
        if holder is self._markers:
            holder.load += 1
        else:
            self.entries += 1
            self._grow_load(holder, size + self._unit, size)

    def _resize(self, slot: int, holder: Holder, more: int) -> None:
        """Note the change of size of a holder's entry, which was just used."""
        if holder.last != slot:
            self._unlink(slot, holder)
            self._append(slot, holder)
        if more:
            self._grow_load(holder, more, more)

    def _grow_load(self, holder: Holder, load: int, size: int) -> None:
        holder.load += load
        self.bytes += size
        if holder.load > holder.enough:
            self._queue.add(holder, len(self._by_name))

    def _holder_of(self, name: Name, data: bytes) -> Holder:
        whose: bytes | Name = name
        if data.startswith(READABLE) and len(data) >= HEADER_BYTES:
            if data[3] & REVOKED:
                return self._markers
            person = data[PERSON] if data.startswith(READABLE[-1]) else NOBODY
            whose = data[BINDING] if person == NOBODY else person
        holder = self._by_name.get(whose)
        if holder is None:
            holder = self._by_name[whose] = Holder(whose)
        return holder

    def _release(self, slot: int, size: int, following: Holder | None = None) -> None:
        """Remove an entry from its holder, which is forgotten if it has no others."""
        holder = self._holders[slot]
        self._holders[slot] = _NOBODY
        self._unlink(slot, holder)
        if holder is self._markers:
            holder.load -= 1
            return
        holder.load -= size + self._unit
        self.entries -= 1
        self.bytes -= size
        if not holder.first and holder is not following:
            del self._by_name[holder.name]
            holder.queued = -1

    # Eviction.

    def _evict(self, kept: int, now: float) -> None:
        """Remove entries until few enough are left, but not ``kept``.

        Expired entries go first, as far as they are found; then the holder with the most loses.
        """
        self._drop_expired(kept, now)
        spared = None
        while self._is_full():
            holder = self._queue.find_heaviest()
            if holder.first == kept:
                self._queue.take_front()
                spared = holder
                continue
            self._remember(self._drop(holder.first), now)
        if spared is not None:
            self._queue.put_back(spared, spared.bound)

    def _is_full(self) -> bool:
        return self.entries > self._max_entries or self.bytes > self._max_bytes

    def _drop_expired(self, kept: int, now: float) -> None:
        """Search a few slots, from where the last search ended: all would stall the event loop."""
        for _ in range(_LOOKS):
            if not self._is_full():
                break
            self._searched = slot = (self._searched + 1) % len(self._holders)
            is_expired = self._expiries[slot] <= now and self._holders[slot] is not _NOBODY
            if is_expired and slot != kept:
                self._drop(slot)

    def _remember(self, data: bytes, now: float) -> None:
        fencing = read_fencing(data)
        if fencing is not None:
            # Dated by a clock that is ahead it would refuse new sockets too.
            self.evicted_fence = max(self.evicted_fence, min(fencing[0], to_us(now)))

    def fenced_until(self, now: float) -> int:
        """Return the greatest evicted fence; -1 for none, or if the clock was set back since."""
        return self.evicted_fence if self.evicted_fence <= latest_date(to_us(now)) else -1


def key_of(name: Name) -> str:
    """Return the key for a name that `name_of` returned."""
    return f"{name:016x}" if type(name) is int else str(name)


def name_of(key: str) -> Name:
    """Return a socket's hash as a number; any other key as it is."""
    # Another spelling of a number is another key.
    if len(key) == _HEX_KEY and key.lower() == key:
        try:
            number: int = _number_in(a2b_hex(key))[0]
        except ValueError:
            return key
        return number
    return key
