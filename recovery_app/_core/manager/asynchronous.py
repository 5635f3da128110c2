"""Own the manager's calls for the event loop: the twins of those in `sync`."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from recovery_app._core.manager.base import State, page_of
from recovery_app._core.manager.sync import SyncCalls
from recovery_app._core.operations import Grant, SnapshotMetadata, check_listing
from recovery_app._core.telemetry import Watched
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers
from recovery_app.snapshots import digest_binding
from recovery_app.values import Page, Takeover

_Manager = TypeVar("_Manager", bound="AsyncCalls")


class AsyncCalls(SyncCalls):
    """Every call that touches the storage, for the event loop; none blocks it."""

    async def arenew(
        self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None
    ) -> str:
        """Do as `renew`."""
        permit = self._rules.admit(token, binding)
        after = binding if new_binding is None else new_binding
        with permit:
            with Watched(self._watch, "renewal"):
                decision = await self.storage.arenew(
                    permit.key,
                    permit,
                    self.ttl,
                    now_us=self._rules.tick(),
                    binding=digest_binding(after),
                )
            renewed = self._rules.renewed(permit, decision, after)
        observers.token_created()
        return renewed

    async def asave(
        self,
        token: str,
        state: State,
        *,
        binding: bytes = b"",
        applied_seq: int | None = None,
        version: int = 0,
        view: str = "",
        topic: str = "",
    ) -> None:
        """Do as `save`."""
        labels = SnapshotMetadata(applied_seq=applied_seq, version=version, view=view, topic=topic)
        permit = self._rules.admit(token, binding)
        with permit:
            payload = self.codec.encode(state)
            socket_id = self._socket_ids.find(permit.key) or await self._alook_up_id(permit)
            data = self._rules.seal(permit, payload, socket_id, labels)
            with Watched(self._watch, "save"):
                verdict = await self.storage.asave_fenced(permit.key, data, self.ttl)
            self._rules.settle(permit, verdict)
        self._note_saved(payload)

    async def asave_payload(
        self,
        token: str,
        payload: bytes,
        *,
        binding: bytes,
        socket_id: str,
        labels: SnapshotMetadata,
    ) -> None:
        """Do as `save`, with a state that ``codec.encode`` has serialized already."""
        permit = self._rules.admit(token, binding)
        with permit:
            data = self._rules.seal(permit, payload, socket_id, labels)
            with Watched(self._watch, "save"):
                verdict = await self.storage.asave_fenced(permit.key, data, self.ttl)
            self._rules.settle(permit, verdict)
        self._note_saved(payload)

    async def arecover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Do as `recover`."""
        try:
            permit = self._rules.admit(token, binding)
            with permit:
                with Watched(self._watch, "load"):
                    data = await self.storage.aload(permit.key)
                recovered = self._rules.open(permit, data)
        except RecoveryError as error:
            await self.announcer.afailed(error)
            raise
        self._socket_ids.remember(permit.key, recovered.socket_id)
        await self.announcer.arecovered(recovered, recovered.state)
        return recovered.state

    async def atake_over(
        self, token: str, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Do as `take_over`."""
        try:
            takeover = await self.aclaim(token, binding=binding, newest_version=newest_version)
        except RecoveryError as error:
            await self.announcer.afailed(error)
            raise
        await self.announcer.arecovered(takeover, takeover.state)
        return takeover

    async def aclaim(
        self, token: object, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Take over without announcing it: the caller does, when the state is restored."""
        permit = self._rules.admit(token, binding)
        with permit:
            with Watched(self._watch, "takeover"):
                decision = await self.storage.atake_over(
                    permit.key,
                    permit,
                    self.ttl,
                    now_us=self._rules.tick(),
                    newest_version=newest_version,
                )
            takeover = self._rules.hand_over(permit, decision, newest_version)
        self._note(permit, takeover)
        return takeover

    async def atouch(self, token: str, *, binding: bytes = b"") -> bool:
        """Do as `touch`."""
        permit = self._rules.admit(token, binding)
        with permit:
            with Watched(self._watch, "touch"):
                verdict = await self.storage.atouch_fenced(permit.key, permit, self.ttl)
            return self._rules.touched(permit, verdict)

    async def arevoke(self, token: str, *, binding: bytes = b"") -> None:
        """Do as `revoke`."""
        permit = self._rules.admit(token, binding)
        now_us = self._rules.tick()
        with permit:
            with Watched(self._watch, "revocation"):
                verdict = await self.storage.arevoke(permit.key, permit, self.ttl, now_us=now_us)
            self._rules.settle(permit, verdict)

    async def _alook_up_id(self, permit: Grant) -> str:
        with Watched(self._watch, "load"):
            data = await self.storage.aload(permit.key)
        return self._adopt_id(permit, data)

    async def acleanup_expired(self) -> int:
        """Do as `cleanup_expired`."""
        with Watched(self._watch, "cleanup"):
            return await self.storage.acleanup_expired()

    async def asnapshots(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> Page:
        """Do as `snapshots`."""
        check_listing(prefix=prefix, cursor=cursor, limit=limit)
        with Watched(self._watch, "listing"):
            found = await self.storage.alist_entries(prefix=prefix, cursor=cursor, limit=limit)
        return page_of(found)

    async def acount(self) -> int:
        """Do as `count`."""
        with Watched(self._watch, "count"):
            return await self.storage.acount()

    async def aclose(self) -> None:
        """Do as `close`."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self: _Manager) -> _Manager:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()
