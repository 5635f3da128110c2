"""Own the manager's calls for sync code."""

from __future__ import annotations

from typing import Any, TypeVar

from recovery_app._core.manager.base import ManagerBase, State, page_of
from recovery_app._core.operations import Grant, SnapshotMetadata, check_listing
from recovery_app._core.telemetry import Watched
from recovery_app.exceptions import RecoveryError
from recovery_app.signals import observers
from recovery_app.snapshots import digest_binding
from recovery_app.values import Page, Takeover

_Manager = TypeVar("_Manager", bound="SyncCalls")


class SyncCalls(ManagerBase):
    """Every call that touches the storage, for sync code."""

    # States.

    def save(
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
        """Store a state and restart its time to live.

        Raises `TokenError` (`TokenSuperseded` for an older connection, or after `revoke`),
        `StateTooLarge` and `UnserializableState` (the older snapshot stays),
        `StorageError`, and `ValueError` for labels that can't be stored.
        """
        labels = SnapshotMetadata(applied_seq=applied_seq, version=version, view=view, topic=topic)
        permit = self._rules.admit(token, binding)
        with permit:
            payload = self.codec.encode(state)
            socket_id = self._socket_ids.find(permit.key) or self._look_up_id(permit)
            data = self._rules.seal(permit, payload, socket_id, labels)
            with Watched(self._watch, "save"):
                verdict = self.storage.save_fenced(permit.key, data, self.ttl)
            self._rules.settle(permit, verdict)
        self._note_saved(payload)

    def recover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Give the state back; nothing changes, so it may be called again.

        Raises `TokenError`, `SnapshotNotFound`, `SnapshotCorrupt`, `VersionMismatch` and
        `StorageError`.
        """
        try:
            permit = self._rules.admit(token, binding)
            with permit:
                with Watched(self._watch, "load"):
                    data = self.storage.load(permit.key)
                recovered = self._rules.open(permit, data)
        except RecoveryError as error:
            self.announcer.failed(error)
            raise
        self._socket_ids.remember(permit.key, recovered.socket_id)
        self.announcer.recovered(recovered, recovered.state)
        return recovered.state

    def take_over(
        self, token: str, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Continue a socket on a new connection, in one step with fencing the older one.

        A snapshot whose state has a version above ``newest_version`` is left untouched.
        Raises as `recover` does.
        """
        try:
            permit = self._rules.admit(token, binding)
            with permit:
                with Watched(self._watch, "takeover"):
                    decision = self.storage.take_over(
                        permit.key,
                        permit,
                        self.ttl,
                        now_us=self._rules.tick(),
                        newest_version=newest_version,
                    )
                takeover = self._rules.hand_over(permit, decision, newest_version)
        except RecoveryError as error:
            self.announcer.failed(error)
            raise
        self._note(permit, takeover)
        self.announcer.recovered(takeover, takeover.state)
        return takeover

    def touch(self, token: str, *, binding: bytes = b"") -> bool:
        """Restart the time to live; say whether there was a snapshot.

        Raises `TokenError` (`TokenSuperseded` for an older connection), `StorageError`.
        """
        permit = self._rules.admit(token, binding)
        with permit:
            with Watched(self._watch, "touch"):
                verdict = self.storage.touch_fenced(permit.key, permit, self.ttl)
            return self._rules.touched(permit, verdict)

    def revoke(self, token: str, *, binding: bytes = b"") -> None:
        """Remove the state, and for one time to live refuse every token issued so far."""
        permit = self._rules.admit(token, binding)
        now_us = self._rules.tick()
        with permit:
            with Watched(self._watch, "revocation"):
                verdict = self.storage.revoke(permit.key, permit, self.ttl, now_us=now_us)
            self._rules.settle(permit, verdict)

    def renew(self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None) -> str:
        """Issue a newer token for the same connection, bound to ``new_binding`` if given.

        The older one can't save any more, and with the same binding can still take over
        until a save confirms the newer. Raises as `touch` does, and `SnapshotNotFound`.
        """
        permit = self._rules.admit(token, binding)
        after = binding if new_binding is None else new_binding
        with permit:
            with Watched(self._watch, "renewal"):
                decision = self.storage.renew(
                    permit.key,
                    permit,
                    self.ttl,
                    now_us=self._rules.tick(),
                    binding=digest_binding(after),
                )
            renewed = self._rules.renewed(permit, decision, after)
        observers.token_created()
        return renewed

    def _look_up_id(self, permit: Grant) -> str:
        with Watched(self._watch, "load"):
            data = self.storage.load(permit.key)
        return self._adopt_id(permit, data)

    # Looking after the storage.

    def cleanup_expired(self) -> int:
        """Remove what has expired; say how many."""
        with Watched(self._watch, "cleanup"):
            return self.storage.cleanup_expired()

    def snapshots(self, *, prefix: str = "", cursor: str | None = None, limit: int = 100) -> Page:
        """Give a page of live snapshots whose socket ids start with ``prefix``.

        Raises `StorageError` where the storage can't list, and `ValueError` for what can't
        be asked.
        """
        check_listing(prefix=prefix, cursor=cursor, limit=limit)
        with Watched(self._watch, "listing"):
            found = self.storage.list_entries(prefix=prefix, cursor=cursor, limit=limit)
        return page_of(found)

    def count(self) -> int:
        """Say how many live snapshots there are; `StorageError` where that isn't known."""
        with Watched(self._watch, "count"):
            return self.storage.count()

    def close(self) -> None:
        """Stop the clean-up and let go of threads and connections. May be called again."""
        if self._cleaner is not None:
            self._cleaner.stop()
        self.storage.close()

    def __enter__(self: _Manager) -> _Manager:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
