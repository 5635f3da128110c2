"""The manager: all calls that save and recover states, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from recovery_app._core import defaults
from recovery_app._core.cleanup import CleanupThread
from recovery_app._core.driver import Driver
from recovery_app._core.encryption import Cipher, MessageSealer
from recovery_app._core.journal import Journal
from recovery_app._core.losses import LossReport
from recovery_app._core.metadata import check_name, check_seconds, check_size, metadata_of
from recovery_app._core.notifier import Notifier
from recovery_app._core.operations import Operations
from recovery_app._core.operators import OperatorCalls
from recovery_app._core.rates import JoinLimiter, parse_rate
from recovery_app._core.reports import Reporter
from recovery_app._core.sealing import Sealer
from recovery_app._core.state_codec import StateCodec
from recovery_app._core.tokens import TokenSigner
from recovery_app.clock import Clock
from recovery_app.exceptions import RecoveryError
from recovery_app.serializers import JSONSerializer, Serializer
from recovery_app.storages import MemoryStorage, Storage
from recovery_app.values import Takeover

State = Mapping[str, Any]
TOUCHES_PER_TTL = 4
_Self = TypeVar("_Self", bound="RecoveryManager")


class RecoveryManager(OperatorCalls):
    """Saves states, and recovers them for sockets that come back.

    The arguments have the meaning of the settings of the same name (``docs/settings.md``), with
    times in seconds or as `timedelta`; ``clock`` returns the seconds since 1970. A manager can be
    used from any thread and event loop, and after a fork.
    """

    def __init__(
        self,
        *,
        secret: bytes | str,
        secret_fallbacks: Iterable[bytes | str] = (),
        ttl: float | timedelta = defaults.TTL,
        token_max_age: float | timedelta | None = defaults.TOKEN_MAX_AGE,
        storage: Storage | None = None,
        serializer: Serializer | None = None,
        serializer_fallbacks: Iterable[Serializer] = (),
        cleanup_interval: float | timedelta | None = defaults.CLEANUP_INTERVAL,
        max_state_bytes: int = defaults.MAX_STATE_BYTES,
        max_frame_bytes: int = defaults.MAX_FRAME_BYTES,
        join_rate: str | None = defaults.JOIN_RATE,
        seal: bool | None = None,
        encryption_keys: Iterable[bytes | str] | None = None,
        journal_max_entries: int = defaults.JOURNAL_MAX_ENTRIES,
        journal_max_age: float | timedelta = defaults.JOURNAL_MAX_AGE,
        clock: Clock = time.time,
    ) -> None:
        self.clock = clock
        self.max_frame_bytes = check_size("max_frame_bytes", max_frame_bytes)
        self.join_limiter = JoinLimiter(parse_rate(join_rate), clock)
        self.ttl = check_seconds("ttl", ttl)
        self.token_max_age = (
            None if token_max_age is None else check_seconds("token_max_age", token_max_age)
        )
        self.storage = MemoryStorage(clock=clock) if storage is None else storage
        written_by = serializer or JSONSerializer()
        self.codec = StateCodec(written_by, serializer_fallbacks, max_state_bytes=max_state_bytes)
        self._cleanup = self._make_cleanup(cleanup_interval)
        cipher = None if encryption_keys is None else Cipher(encryption_keys)
        self.operations = self._make_operations(
            TokenSigner(secret, secret_fallbacks), seal=seal, cipher=cipher
        )
        self.driver = Driver(self.storage)
        self.journal = Journal(
            self.storage,
            max_entries=journal_max_entries,
            max_age=journal_max_age,
            clock=clock,
        )
        self.reporter = Reporter(self.storage, is_on=journal_max_entries > 0, clock=clock)
        for ending in (self.journal.abandon, self.reporter.abandon):
            weakref.finalize(self, ending)
        self.losses = LossReport(self.storage)
        self.notifier = Notifier(type(self), self.operations.find_socket_id, self.journal)

    @property
    def touch_interval(self) -> float:
        """The number of seconds within which a live connection has to touch its snapshot."""
        return min(self.ttl, self.token_max_age or self.ttl) / TOUCHES_PER_TTL

    # Tokens and states.

    def create_token(self, socket_id: str, *, binding: bytes = b"") -> str:
        """Issue a token for a socket, valid only for ``binding``. Uses no storage.

        ``socket_id`` has 1 to 255 characters and is unique to one socket.
        """
        check_name("socket_id", socket_id)
        if not socket_id:
            raise ValueError("A socket id can't be empty.")
        return self.operations.create(socket_id, binding).token

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
        `StorageError`, and `ValueError` for metadata that can't be stored.
        """
        metadata = metadata_of(version, view, topic)
        flow = self.operations.save(
            token, state, binding=binding, applied_seq=applied_seq, metadata=metadata
        )
        del token, state, binding
        self.driver.run(flow, "recovery.save")

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
        """Async variant of `save`."""
        metadata = metadata_of(version, view, topic)
        flow = self.operations.save(
            token, state, binding=binding, applied_seq=applied_seq, metadata=metadata
        )
        del token, state, binding
        await self.driver.arun(flow, "recovery.save")

    def recover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Return the state. Changes nothing, so it may be called again.

        Raises `TokenError`, `SnapshotNotFound`, `SnapshotCorrupt`, `VersionMismatch` and
        `StorageError`.
        """
        flow = self.operations.recover(token, binding)
        del token, binding
        try:
            found = self.driver.run(flow, "recovery.recover")
        except RecoveryError as error:
            self.notifier.call_failed(error)
            raise
        self.notifier.recovered(found)
        return found.state

    async def arecover(self, token: str, *, binding: bytes = b"") -> dict[str, Any]:
        """Async variant of `recover`."""
        flow = self.operations.recover(token, binding)
        del token, binding
        try:
            found = await self.driver.arun(flow, "recovery.recover")
        except RecoveryError as error:
            await self.notifier.acall_failed(error)
            raise
        announcing = self.notifier.arecovered(found)
        if announcing is not None:
            await announcing
        return found.state

    def take_over(
        self, token: str, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Continue a socket on a new connection, and fence the older one in the same step.

        A snapshot whose state has a version above ``newest_version`` is left unchanged.
        Raises the same errors as `recover`.
        """
        flow = self.operations.take_over(token, binding, newest_version)
        del token, binding
        try:
            takeover, _ = self.driver.run(flow, "recovery.take_over")
        except RecoveryError as error:
            self.notifier.call_failed(error)
            raise
        self.notifier.recovered(takeover)
        return takeover

    async def atake_over(
        self, token: str, *, binding: bytes = b"", newest_version: int | None = None
    ) -> Takeover:
        """Async variant of `take_over`."""
        flow = self.operations.take_over(token, binding, newest_version)
        del token, binding
        try:
            takeover, _ = await self.driver.arun(flow, "recovery.take_over")
        except RecoveryError as error:
            await self.notifier.acall_failed(error)
            raise
        announcing = self.notifier.arecovered(takeover)
        if announcing is not None:
            await announcing
        return takeover

    def touch(self, token: str, *, binding: bytes = b"") -> bool:
        """Restart the time to live; return whether there was a snapshot.

        Raises `TokenError` (`TokenSuperseded` for an older connection), `StorageError`.
        """
        grant = self.operations.verify(token, binding)
        del token, binding
        return self.driver.run(self.operations.touch(grant))

    async def atouch(self, token: str, *, binding: bytes = b"") -> bool:
        """Async variant of `touch`."""
        grant = self.operations.verify(token, binding)
        del token, binding
        return await self.driver.arun(self.operations.touch(grant))

    def revoke(self, token: str, *, binding: bytes = b"") -> None:
        """Remove the state, and refuse every token issued so far for one time to live."""
        grant = self.operations.verify(token, binding)
        del token, binding
        self.driver.run(self.operations.revoke(grant))

    async def arevoke(self, token: str, *, binding: bytes = b"") -> None:
        """Async variant of `revoke`."""
        grant = self.operations.verify(token, binding)
        del token, binding
        await self.driver.arun(self.operations.revoke(grant))

    def renew(self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None) -> str:
        """Issue a newer token for the same connection, bound to ``new_binding`` if given.

        The older token can't save any more. With the same binding it can still take over, until a
        save confirms the newer one. Raises the same errors as `touch`, and `SnapshotNotFound`.
        """
        grant = self.operations.verify(token, binding)
        flow = self.operations.renew(grant, new_binding)
        del token, binding, new_binding
        return self.driver.run(flow).token

    async def arenew(
        self, token: str, *, binding: bytes = b"", new_binding: bytes | None = None
    ) -> str:
        """Async variant of `renew`."""
        grant = self.operations.verify(token, binding)
        flow = self.operations.renew(grant, new_binding)
        del token, binding, new_binding
        return (await self.driver.arun(flow)).token

    # Life.

    def close(self) -> None:
        """Stop the clean-up and release threads and connections. May be called again."""
        if self._cleanup is not None:
            self._cleanup.stop()
        self.driver.close()
        self.reporter.close()
        self.journal.close()
        self.storage.close()

    async def aclose(self) -> None:
        """Async variant of `close`."""
        await asyncio.to_thread(self.close)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    def _make_operations(
        self, signer: TokenSigner, *, seal: bool | None, cipher: Cipher | None
    ) -> Operations:
        return Operations(
            signer=signer,
            sealer=self._make_sealer(signer, seal, cipher),
            codec=self.codec,
            ttl=self.ttl,
            token_max_age=self.token_max_age,
            clock=self.clock,
            cleanup=self._cleanup,
            messages=MessageSealer(cipher),
        )

    def _make_sealer(self, signer: TokenSigner, seal: bool | None, cipher: Cipher | None) -> Sealer:
        is_on = self.storage.is_shared if seal is None else seal
        return Sealer(signer, is_on=is_on, reads_unsealed=seal is None, cipher=cipher)

    def _make_cleanup(self, interval: float | timedelta | None) -> CleanupThread | None:
        if interval is None or self.storage.expires_by_itself:
            return None
        cleanup = CleanupThread(self.storage, check_seconds("cleanup_interval", interval))
        weakref.finalize(self, cleanup.abandon)
        return cleanup
