"""Own recovery itself: tokens out, states in, states back to whoever may have them.

The manager knows no settings, no Channels and no metrics; `recovery_app.conf` builds one
from the settings. Each method that touches the storage has a twin with ``a`` in front for
the event loop; the two share every rule (`recovery_app.rulebook`) and repeat the ``await``.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from recovery_app.announcer import Announcer
from recovery_app.cleaner import Cleaner
from recovery_app.clock import Clock
from recovery_app.codec import Codec, describe
from recovery_app.exceptions import RecoveryError
from recovery_app.rulebook import Labels, Permit, Rulebook, check_name
from recovery_app.serializers import JSONSerializer, Serializer
from recovery_app.signals import observers
from recovery_app.snapshots import digest_binding, socket_id_in
from recovery_app.socket_ids import SocketIds
from recovery_app.storages import EntryPage, MemoryStorage, Storage
from recovery_app.tokens import TokenSigner, hash_socket_id
from recovery_app.values import Page, Takeover

State = Mapping[str, Any]
DEFAULT_TTL = 300
DEFAULT_TOKEN_MAX_AGE = 86_400
DEFAULT_CLEANUP_INTERVAL = 60
DEFAULT_MAX_STATE_BYTES = 1_048_576
TOUCHES_PER_TTL = 4
_REMEMBERED_IDS = 10_000
_Manager = TypeVar("_Manager", bound="RecoveryManager")


class RecoveryManager:
    """Keep states for sockets that may come back.

    Arguments mean what the settings of the same name mean (``docs/settings.md``), with
    times in seconds or as `timedelta`; ``clock`` gives the seconds since 1970. Usable from
    any thread, from any event loop, and after a fork.
    """

    def __init__(
        self,
        *,
        secret: bytes | str,
        secret_fallbacks: Iterable[bytes | str] = (),
        ttl: float | timedelta = DEFAULT_TTL,
        token_max_age: float | timedelta | None = DEFAULT_TOKEN_MAX_AGE,
        storage: Storage | None = None,
        serializer: Serializer | None = None,
        cleanup_interval: float | timedelta | None = DEFAULT_CLEANUP_INTERVAL,
        max_state_bytes: int = DEFAULT_MAX_STATE_BYTES,
        clock: Clock = time.time,
    ) -> None:
        self.clock = clock
        self.ttl = _seconds("ttl", ttl)
        self.token_max_age = (
            None if token_max_age is None else _seconds("token_max_age", token_max_age)
        )
        self.storage = MemoryStorage(clock=clock) if storage is None else storage
        self.codec = Codec(
            serializer=serializer or JSONSerializer(), max_state_bytes=max_state_bytes
        )
        self._rules = Rulebook(
            signer=TokenSigner(_as_bytes(secret), map(_as_bytes, secret_fallbacks)),
            codec=self.codec,
            ttl=self.ttl,
            token_max_age=self.token_max_age,
            clock=clock,
        )
        self._socket_ids = SocketIds(_REMEMBERED_IDS)
        self.announcer = Announcer(type(self), self._socket_ids)
        self._cleaner = self._make_cleaner(cleanup_interval)

    @property
    def touch_interval(self) -> float:
        """Give the seconds after which a live connection must show that it lives."""
        return min(self.ttl, self.token_max_age or self.ttl) / TOUCHES_PER_TTL

    # Tokens.

    def create_token(self, socket_id: str, *, binding: bytes = b"") -> str:
        """Issue a token for a socket, good for ``binding`` alone. No I/O.

        ``socket_id``: 1 to 255 characters, unique to one socket.
        """
        if not socket_id:
            raise ValueError("A socket id can't be empty.")
        check_name("socket_id", socket_id)
        socket_hash = hash_socket_id(socket_id)
        self._socket_ids.remember(socket_hash.hex(), socket_id)
        observers.token_created()
        return self._rules.issue(socket_hash, self._rules.tick(), binding)

    def renew(self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None) -> str:
        """Issue a newer token for the same connection, bound to ``new_binding`` if given.

        The older one can't save any more, and with the same binding can still take over
        until a save confirms the newer. Raises as `touch` does, and `SnapshotNotFound`.
        """
        permit = self._rules.admit(token, binding)
        after = binding if new_binding is None else new_binding
        decision = self.storage.renew(
            permit.key,
            permit.claim,
            self.ttl,
            now_us=self._rules.tick(),
            binding=digest_binding(after),
        )
        return self._count_token(self._rules.renewed(permit, decision, after))

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
        labels = Labels(applied_seq=applied_seq, version=version, view=view, topic=topic)
        permit = self._rules.admit(token, binding)
        payload = self.codec.encode(state)
        socket_id = self._socket_ids.find(permit.key) or self._adopt_id(
            permit, self.storage.load(permit.key)
        )
        data = self._rules.seal(permit, payload, socket_id, labels)
        self._rules.settle(permit, self.storage.save_fenced(permit.key, data, self.ttl))
        self._note_saved(payload)

    def recover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Give the state back; nothing changes, so it may be called again.

        Raises `TokenError`, `SnapshotNotFound`, `SnapshotCorrupt`, `VersionMismatch` and
        `StorageError`.
        """
        try:
            permit = self._rules.admit(token, binding)
            snapshot, state = self._rules.open(permit, self.storage.load(permit.key))
        except RecoveryError as error:
            self.announcer.failed(error)
            raise
        self._socket_ids.remember(permit.key, snapshot.socket_id)
        self.announcer.recovered(snapshot, state)
        return state

    def take_over(
        self, token: str, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Continue a socket on a new connection, in one step with fencing the older one.

        A snapshot whose state has a version above ``newest_version`` is left untouched.
        Raises as `recover` does.
        """
        try:
            permit = self._rules.admit(token, binding)
            decision = self.storage.take_over(
                permit.key,
                permit.claim,
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
        verdict = self.storage.touch_fenced(permit.key, permit.claim, self.ttl)
        return self._rules.touched(permit, verdict)

    def revoke(self, token: str, *, binding: bytes = b"") -> None:
        """Remove the state, and for one time to live refuse every token issued so far."""
        permit = self._rules.admit(token, binding)
        verdict = self.storage.revoke(
            permit.key, permit.claim, self.ttl, now_us=self._rules.tick()
        )
        self._rules.settle(permit, verdict)

    # Looking after the storage.

    def cleanup_expired(self) -> int:
        """Remove what has expired; say how many."""
        return self.storage.cleanup_expired()

    def snapshots(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> Page:
        """Give a page of live snapshots whose socket ids start with ``prefix``.

        Raises `StorageError` where the storage can't list.
        """
        return _page(self.storage.list_entries(prefix=prefix, cursor=cursor, limit=limit))

    def count(self) -> int:
        """Say how many live snapshots there are; `StorageError` where that isn't known."""
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

    # The twins for the event loop.

    async def arenew(
        self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None
    ) -> str:
        """Do as `renew`."""
        permit = self._rules.admit(token, binding)
        after = binding if new_binding is None else new_binding
        decision = await self.storage.arenew(
            permit.key,
            permit.claim,
            self.ttl,
            now_us=self._rules.tick(),
            binding=digest_binding(after),
        )
        return self._count_token(self._rules.renewed(permit, decision, after))

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
        labels = Labels(applied_seq=applied_seq, version=version, view=view, topic=topic)
        permit = self._rules.admit(token, binding)
        payload = self.codec.encode(state)
        socket_id = self._socket_ids.find(permit.key) or self._adopt_id(
            permit, await self.storage.aload(permit.key)
        )
        await self._aseal_and_save(permit, payload, socket_id, labels)

    async def asave_payload(
        self, token: str, payload: bytes, *, binding: bytes, socket_id: str, labels: Labels
    ) -> None:
        """Do as `save`, with a state that ``codec.encode`` has serialized already."""
        permit = self._rules.admit(token, binding)
        await self._aseal_and_save(permit, payload, socket_id, labels)

    async def arecover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Do as `recover`."""
        try:
            permit = self._rules.admit(token, binding)
            snapshot, state = self._rules.open(permit, await self.storage.aload(permit.key))
        except RecoveryError as error:
            await self.announcer.afailed(error)
            raise
        self._socket_ids.remember(permit.key, snapshot.socket_id)
        await self.announcer.arecovered(snapshot, state)
        return state

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
        decision = await self.storage.atake_over(
            permit.key,
            permit.claim,
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
        verdict = await self.storage.atouch_fenced(permit.key, permit.claim, self.ttl)
        return self._rules.touched(permit, verdict)

    async def arevoke(self, token: str, *, binding: bytes = b"") -> None:
        """Do as `revoke`."""
        permit = self._rules.admit(token, binding)
        verdict = await self.storage.arevoke(
            permit.key, permit.claim, self.ttl, now_us=self._rules.tick()
        )
        self._rules.settle(permit, verdict)

    async def acleanup_expired(self) -> int:
        """Do as `cleanup_expired`."""
        return await self.storage.acleanup_expired()

    async def asnapshots(
        self, *, prefix: str = "", cursor: str | None = None, limit: int = 100
    ) -> Page:
        """Do as `snapshots`."""
        return _page(
            await self.storage.alist_entries(prefix=prefix, cursor=cursor, limit=limit)
        )

    async def acount(self) -> int:
        """Do as `count`."""
        return await self.storage.acount()

    async def aclose(self) -> None:
        """Do as `close`."""
        await asyncio.to_thread(self.close)

    async def __aenter__(self: _Manager) -> _Manager:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    # What is shared.

    def _make_cleaner(self, interval: float | timedelta | None) -> Cleaner | None:
        if interval is None or self.storage.expires_by_itself:
            return None
        cleaner = Cleaner(self.storage, _seconds("cleanup_interval", interval))
        weakref.finalize(self, cleaner.stop)
        return cleaner

    async def _aseal_and_save(
        self, permit: Permit, payload: bytes, socket_id: str, labels: Labels
    ) -> None:
        data = self._rules.seal(permit, payload, socket_id, labels)
        verdict = await self.storage.asave_fenced(permit.key, data, self.ttl)
        self._rules.settle(permit, verdict)
        self._note_saved(payload)

    def _note(self, permit: Permit, takeover: Takeover) -> None:
        self._socket_ids.remember(permit.key, takeover.socket_id)
        observers.token_created()

    def _count_token(self, token: str) -> str:
        observers.token_created()
        return token

    def _adopt_id(self, permit: Permit, data: bytes | None) -> str:
        """Give the id of a socket that another process made: as stored, else its hash."""
        socket_id = socket_id_in(data or b"") or permit.key
        self._socket_ids.remember(permit.key, socket_id)
        return socket_id

    def _note_saved(self, payload: bytes) -> None:
        observers.state_saved(len(payload))
        if self._cleaner is not None:
            self._cleaner.start()


def _page(found: EntryPage) -> Page:
    return Page(items=[describe(entry) for entry in found.entries], next_cursor=found.next_cursor)


def _seconds(what: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{what} is {seconds} seconds and must be above 0.")
    return seconds


def _as_bytes(secret: bytes | str) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret
