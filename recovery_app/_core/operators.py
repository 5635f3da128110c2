"""The manager's calls for operators, who have no token."""

from __future__ import annotations

import asyncio

from recovery_app._core import inspection
from recovery_app._core.driver import Driver
from recovery_app._core.journal import Journal
from recovery_app._core.operations import Operations
from recovery_app._core.reports import Reporter
from recovery_app._core.user_keys import user_key_of
from recovery_app.values import (
    IncidentPage,
    IncidentQuery,
    Inspection,
    Page,
    ProcessReport,
    Query,
    Sample,
)

EVERYTHING = Query()
EVERY_INCIDENT = IncidentQuery()


class OperatorCalls:
    """The calls that the admin and `manage.py` use."""

    driver: Driver
    journal: Journal
    operations: Operations
    reporter: Reporter
    ttl: float

    def browse(self, query: Query = EVERYTHING) -> Page:
        """Return a page of the snapshots that match a query, after a bounded amount of work.

        Raises `StorageError` if the storage can't list, and `ValueError` for an invalid query.
        """
        return self.driver.run(inspection.browse(query))

    async def abrowse(self, query: Query = EVERYTHING) -> Page:
        """Async variant of `browse`."""
        return await self.driver.arun(inspection.browse(query))

    def sample(self, limit: int = 1000) -> Sample:
        """Return some live snapshots and their total number, which may be an estimate."""
        return self.driver.run(inspection.sample(limit))

    async def asample(self, limit: int = 1000) -> Sample:
        """Async variant of `sample`."""
        return await self.driver.arun(inspection.sample(limit))

    def inspect(self, socket_hash: str) -> Inspection | None:
        """Return everything that is known of a socket, with its state. Raises `StorageError`."""
        return self.driver.run(inspection.inspect(socket_hash, self.operations))

    async def ainspect(self, socket_hash: str) -> Inspection | None:
        """Async variant of `inspect`."""
        return await self.driver.arun(inspection.inspect(socket_hash, self.operations))

    def revoke_socket(self, socket_hash: str) -> bool:
        """Do what `revoke` does, without a token; return whether there was a snapshot.

        Raises `StorageError`.
        """
        flow = inspection.revoke_socket(socket_hash, self.operations, self.ttl)
        revoked = self.driver.run(flow)
        if revoked:
            self.journal.write("revocation", "socket_revoked", shown_hash=socket_hash)
        return revoked

    async def arevoke_socket(self, socket_hash: str) -> bool:
        """Async variant of `revoke_socket`."""
        flow = inspection.revoke_socket(socket_hash, self.operations, self.ttl)
        revoked = await self.driver.arun(flow)
        if revoked:
            self.journal.note("revocation", "socket_revoked", shown_hash=socket_hash)
        return revoked

    def revoke_user(self, user: object) -> None:
        """End every page of a user: no token issued to them so far can take over again.

        Each open page is closed at its next touch, within a quarter of the time to live.
        ``user`` is a user, or the primary key of one, also as text. Raises `StorageError`, and
        `ValueError` for a user without a primary key and for an impossible key.
        """
        self.driver.run(self.operations.revoke_user(user_key_of(user)))
        person = self.digests_of_user(user)[0]
        self.journal.write("revocation", "user_revoked", person=person)

    async def arevoke_user(self, user: object) -> None:
        """Async variant of `revoke_user`."""
        await self.driver.arun(self.operations.revoke_user(user_key_of(user)))
        person = self.digests_of_user(user)[0]
        self.journal.note("revocation", "user_revoked", person=person)

    def digests_of_user(self, user: object) -> tuple[str, ...]:
        """Return the digests that a user's snapshots have as ``person``, for `Query.persons`.

        There is one for each secret, starting with the current one. ``user`` is a user or their
        primary key.
        """
        digests = self.operations.digests_of_user(user_key_of(user))
        return tuple(digest.hex() for digest in digests)

    # The journal of what was lost.

    def incidents(self, query: IncidentQuery = EVERY_INCIDENT) -> IncidentPage:
        """Return a page of the journal, the newest entries first.

        Raises `StorageError` if the storage keeps no journal or it is switched off, and
        `ValueError` for an invalid query.
        """
        flow = inspection.list_incidents(query, self.journal)
        self.journal.flush()
        return self.driver.run(flow)

    async def aincidents(self, query: IncidentQuery = EVERY_INCIDENT) -> IncidentPage:
        """Async variant of `incidents`."""
        flow = inspection.list_incidents(query, self.journal)
        await asyncio.to_thread(self.journal.flush)
        return await self.driver.arun(flow)

    def prune_journal(self) -> int:
        """Remove the journal's entries that are too old or too many; return how many.

        Raises `StorageError`.
        """
        return self.driver.run(inspection.prune_journal(self.journal))

    async def aprune_journal(self) -> int:
        """Async variant of `prune_journal`."""
        return await self.driver.arun(inspection.prune_journal(self.journal))

    # Live pages.

    def processes(self) -> list[ProcessReport]:
        """Return what each process said last of its pages, the newest first.

        Processes that have ended, or say nothing any more, are among them for an hour. Raises
        `StorageError` where the storage keeps no reports, or they are off.
        """
        flow = inspection.list_reports(self.reporter)
        self.reporter.write()
        return self.driver.run(flow)

    async def aprocesses(self) -> list[ProcessReport]:
        """Async variant of `processes`."""
        flow = inspection.list_reports(self.reporter)
        await asyncio.to_thread(self.reporter.write)
        return await self.driver.arun(flow)

    # Looking after the storage.

    def cleanup_expired(self) -> int:
        """Remove expired snapshots; return how many."""
        return self.driver.run(inspection.clean_up())

    async def acleanup_expired(self) -> int:
        """Async variant of `cleanup_expired`."""
        return await self.driver.arun(inspection.clean_up())

    def snapshots(self, *, prefix: str = "", cursor: str | None = None, limit: int = 100) -> Page:
        """Return a page of live snapshots whose socket ids start with ``prefix``.

        Raises `StorageError` if the storage can't list, and `ValueError` for an invalid query.
        """
        return self.driver.run(inspection.list_snapshots(prefix, cursor, limit))

    async def asnapshots(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> Page:
        """Async variant of `snapshots`."""
        return await self.driver.arun(inspection.list_snapshots(prefix, cursor, limit))

    def count(self) -> int:
        """Return the number of live snapshots. Raises `StorageError` if the storage can't count."""
        return self.driver.run(inspection.count())

    async def acount(self) -> int:
        """Async variant of `count`."""
        return await self.driver.arun(inspection.count())
