"""Own what a manager is made of, and what its sync and asynchronous calls share."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from recovery_app._core.cleanup import CleanupThread
from recovery_app._core.notifier import Notifier
from recovery_app._core.operations import Grant, Operations, check_name
from recovery_app._core.socket_ids import SocketIds
from recovery_app._core.state_codec import Codec
from recovery_app._core.telemetry import Watch
from recovery_app._core.tokens import TokenSigner, hash_socket_id
from recovery_app.clock import Clock
from recovery_app.serializers import JSONSerializer, Serializer
from recovery_app.signals import observers
from recovery_app.snapshots import socket_id_in
from recovery_app.storages import EntryPage, MemoryStorage, Storage, describe
from recovery_app.values import Page, Takeover

State = Mapping[str, Any]
DEFAULT_TTL = 300
DEFAULT_TOKEN_MAX_AGE = 86_400
DEFAULT_CLEANUP_INTERVAL = 60
DEFAULT_MAX_STATE_BYTES = 1_048_576
TOUCHES_PER_TTL = 4
MAX_SECONDS = 100 * 365 * 86_400
_REMEMBERED_IDS = 5_000


class ManagerBase:
    """Hold the parts of a manager, and do what needs no storage."""

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
        self._watch = Watch(type(self.storage).__name__)
        self.codec = Codec(
            serializer=serializer or JSONSerializer(), max_state_bytes=max_state_bytes
        )
        self._rules = Operations(
            signer=TokenSigner(_as_bytes(secret), map(_as_bytes, secret_fallbacks)),
            codec=self.codec,
            ttl=self.ttl,
            token_max_age=self.token_max_age,
            clock=clock,
        )
        self._socket_ids = SocketIds(_REMEMBERED_IDS)
        self.announcer = Notifier(type(self), self._socket_ids)
        self._cleaner = self._make_cleaner(cleanup_interval)

    @property
    def touch_interval(self) -> float:
        """Give the seconds after which a live connection must show that it lives."""
        return min(self.ttl, self.token_max_age or self.ttl) / TOUCHES_PER_TTL

    def create_token(self, socket_id: str, *, binding: bytes = b"") -> str:
        """Issue a token for a socket, good for ``binding`` alone. No I/O.

        ``socket_id``: 1 to 255 characters, unique to one socket.
        """
        check_name("socket_id", socket_id)
        if not socket_id:
            raise ValueError("A socket id can't be empty.")
        socket_hash = hash_socket_id(socket_id)
        self._socket_ids.remember(socket_hash.hex(), socket_id)
        observers.token_created()
        return self._rules.issue(socket_hash, self._rules.tick(), binding)

    def _make_cleaner(self, interval: float | timedelta | None) -> CleanupThread | None:
        if interval is None or self.storage.expires_by_itself:
            return None
        cleaner = CleanupThread(self.storage, _seconds("cleanup_interval", interval))
        weakref.finalize(self, cleaner.abandon)
        return cleaner

    def _note(self, permit: Grant, takeover: Takeover) -> None:
        self._socket_ids.remember(permit.key, takeover.socket_id)
        observers.token_created()

    def _adopt_id(self, permit: Grant, data: bytes | None) -> str:
        """Give the id of a socket that another process made: as stored, else its hash."""
        socket_id = socket_id_in(data or b"") or permit.key
        self._socket_ids.remember(permit.key, socket_id)
        return socket_id

    def _note_saved(self, payload: bytes) -> None:
        observers.state_saved(len(payload))
        if self._cleaner is not None:
            self._cleaner.start()


def page_of(found: EntryPage) -> Page:
    return Page(items=[describe(entry) for entry in found.entries], next_cursor=found.next_cursor)


def _seconds(what: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(
            f"{what} is {seconds} seconds and must be above 0 and at most {MAX_SECONDS}."
        )
    return float(seconds)


def _as_bytes(secret: bytes | str) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret
