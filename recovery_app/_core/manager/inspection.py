"""Own what people may see and do who hold no token: an operator, by the socket's hash."""

from __future__ import annotations

from dataclasses import replace

from recovery_app._core.manager.base import ManagerBase
from recovery_app._core.operations import check_listing, check_name
from recovery_app.exceptions import SnapshotError, StorageUnavailable
from recovery_app.fencing import Claim, Verdict
from recovery_app.snapshots import DIGEST_SIZE, Header, Snapshot
from recovery_app.storages import Entry, describe
from recovery_app.values import Inspection, Page, Query, Sample

ATTEMPTS = 5
NOBODY = bytes(DIGEST_SIZE)
EVERYTHING = Query()


class InspectionCalls(ManagerBase):
    """Look into the storage and revoke by hash; each call has its twin."""

    def browse(self, query: Query = EVERYTHING) -> Page:
        """Give a page of what somebody wants to see, after a bounded amount of work.

        Raises `StorageError` where the storage can't list, and `ValueError` for what can't
        be asked.
        """
        _check(query)
        return self.storage.browse(query)

    async def abrowse(self, query: Query = EVERYTHING) -> Page:
        """Do as `browse`."""
        _check(query)
        return await self.storage.abrowse(query)

    def sample(self, limit: int = 1000) -> Sample:
        """Give some live snapshots, and how many there are; bounded, so it may be estimated."""
        return self.storage.sample(limit)

    async def asample(self, limit: int = 1000) -> Sample:
        """Do as `sample`."""
        return await self.storage.asample(limit)

    def inspect(self, socket_hash: str) -> Inspection | None:
        """Give all that is known of a socket, its state too; `StorageError`."""
        entry = self.storage.look_up(socket_hash)
        return None if entry is None else self._inspected(entry)

    async def ainspect(self, socket_hash: str) -> Inspection | None:
        """Do as `inspect`."""
        entry = await self.storage.alook_up(socket_hash)
        return None if entry is None else self._inspected(entry)

    def revoke_socket(self, socket_hash: str) -> bool:
        """Do as `revoke` without a token; say whether there was a snapshot. `StorageError`."""
        for _ in range(ATTEMPTS):
            claim = _claim_on(self.storage.look_up(socket_hash))
            if claim is None:
                return False
            now_us = self._rules.tick()
            verdict = self.storage.revoke(socket_hash, claim, self.ttl, now_us=now_us)
            if verdict is Verdict.DONE:
                return True
        raise _bound_anew(socket_hash)

    async def arevoke_socket(self, socket_hash: str) -> bool:
        """Do as `revoke_socket`."""
        for _ in range(ATTEMPTS):
            claim = _claim_on(await self.storage.alook_up(socket_hash))
            if claim is None:
                return False
            now_us = self._rules.tick()
            verdict = await self.storage.arevoke(socket_hash, claim, self.ttl, now_us=now_us)
            if verdict is Verdict.DONE:
                return True
        raise _bound_anew(socket_hash)

    def _inspected(self, entry: Entry) -> Inspection:
        found = Inspection(info=describe(entry), stored_bytes=len(entry.data))
        try:
            header = Header.read(entry.data)
            found = replace(
                found, fence=header.fence, floor=header.floor, is_revoked=header.revoked
            )
            snapshot = Snapshot.from_bytes(entry.data)
            if header.revoked:
                return found
            return replace(found, state=self.codec.decode(snapshot.state, snapshot.serializer))
        except SnapshotError as error:
            return replace(found, info=replace(found.info, problem=str(error)))


def _check(query: Query) -> None:
    check_listing(prefix=query.prefix, cursor=None, limit=query.limit)
    check_name("view", query.view or "")


def _claim_on(entry: Entry | None) -> Claim | None:
    """Claim what its owner would; nothing where there is nothing left to revoke."""
    if entry is None:
        return None
    try:
        header = Header.read(entry.data)
    except SnapshotError:
        # What can't be read may still be removed, by anybody.
        return Claim(issued_us=0, binding=NOBODY)
    return None if header.revoked else Claim(issued_us=header.fence, binding=header.binding)


def _bound_anew(socket_hash: str) -> StorageUnavailable:
    return StorageUnavailable("The storage", "revocation, in a race", socket_hash=socket_hash)
