"""The holders of entries in a `MemoryStorage`, and a queue with the largest holder in front."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace

NO_SLOT = 0
_FEW = 64


class Holder:
    """One person's entries: a list of slots, the least recently used first."""

    __slots__ = ("bound", "enough", "first", "last", "load", "name", "queued", "used")

    def __init__(self, name: bytes | int | str) -> None:
        self.name = name
        self.first = self.last = NO_SLOT
        self.load = 0
        """The bytes of all entries, and a unit for each."""
        self.used = 0
        self.bound = self.queued = -1
        """What the queue knows: no more units than these, and when the holder was last used."""
        self.enough = -1
        """The greatest load of so many units."""


class HolderQueue:
    """Finds the holder with the most units; of equal ones, the least recently used.

    The queue may be out of date: a holder has no more units than the queue believes, and was used
    no earlier. So most changes of a holder needn't be recorded here; a holder that comes to the
    front is updated then. Each change costs O(log n) on average.
    """

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._queue: list[tuple[int, int, Holder]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, holder: Holder, holders: int) -> None:
        """Queue a holder, of so many, that has more than the queue knows."""
        units = holder.load // self._unit
        # A quarter more than it is: whoever grows is seldom queued anew.
        self.put_back(holder, units + units // 4)
        queue = self._queue
        if len(queue) > 2 * holders + _FEW:
            queue[:] = [each for each in queue if each[:2] == (-each[2].bound, each[2].queued)]
            heapify(queue)

    def put_back(self, holder: Holder, bound: int) -> None:
        """Queue a holder of ``bound`` units at most."""
        holder.queued = holder.used
        self._expect(holder, bound)
        heappush(self._queue, (-bound, holder.used, holder))

    def take_front(self) -> None:
        """Remove what `find_heaviest` has found."""
        heappop(self._queue)

    def find_heaviest(self) -> Holder:
        """Return the first holder of the queue, once the queue's data about it is current."""
        while True:
            bound, queued, holder = self._queue[0]
            if (-bound, queued) != (holder.bound, holder.queued):
                heappop(self._queue)
                continue
            units = holder.load // self._unit
            if (units, holder.used) == (-bound, queued):
                return holder
            holder.queued = holder.used
            self._expect(holder, units)
            heapreplace(self._queue, (-units, holder.used, holder))

    def _expect(self, holder: Holder, bound: int) -> None:
        holder.bound = bound
        holder.enough = (bound + 1) * self._unit - 1
