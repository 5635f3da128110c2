"""Own every error that the package raises, as one tree.

::

    RecoveryError
    ├── TokenError              what the client showed can't be accepted
    │   ├── MalformedToken      it isn't a token at all
    │   ├── InvalidSignature    it wasn't made here, or not for this binding
    │   ├── TokenExpired        it was, but too long ago
    │   └── TokenSuperseded     a newer token took its place, or it was revoked
    ├── SnapshotError           the token is good, the state isn't to be had
    │   ├── SnapshotNotFound
    │   ├── SnapshotCorrupt
    │   ├── StateTooLarge
    │   ├── UnserializableState
    │   └── VersionMismatch
    └── StorageError            the storage failed; says nothing about the state
        └── StorageUnavailable

    JoinRefused                 raised by an application in ``authorize_join``

No error carries a token or a state, so each may be logged as it is. A socket is
named by its hash (16 hexadecimal characters), as in storage.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RecoveryError(Exception):
    """Anything that this package raises by itself.

    ``reason`` is one short word out of a fixed set, fit for a metric's label;
    ``socket_hash`` names the socket where it is known.
    """

    reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, socket_hash: str | None = None) -> None:
        super().__init__(message)
        self.socket_hash = socket_hash

    def __reduce__(self) -> tuple[Any, ...]:
        """Have pickle and copy keep the attributes, which are no positional arguments."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[RecoveryError], args: tuple[Any, ...]) -> RecoveryError:
    return kind.__new__(kind, *args)


class TokenError(RecoveryError):
    """The token can't be accepted."""

    reason = "token"


class MalformedToken(TokenError):
    """The value isn't spelled like a token; ``problem`` says in what way."""

    reason = "malformed"

    def __init__(self, problem: str) -> None:
        super().__init__(f"Not a recovery token: {problem}.")
        self.problem = problem


class InvalidSignature(TokenError):
    """The token wasn't signed by any known secret for this binding."""

    reason = "signature"

    def __init__(self, *, socket_hash: str | None = None) -> None:
        super().__init__(
            "The token wasn't issued with a known secret for this binding.",
            socket_hash=socket_hash,
        )


class TokenExpired(TokenError):
    """The token is older than what still counts, both in seconds."""

    reason = "expired"

    def __init__(
        self, *, age_seconds: float, limit_seconds: float, socket_hash: str | None = None
    ) -> None:
        super().__init__(
            f"The token is {age_seconds:.0f} s old and nothing older than "
            f"{limit_seconds:.0f} s is kept.",
            socket_hash=socket_hash,
        )
        self.age_seconds = age_seconds
        self.limit_seconds = limit_seconds


class TokenSuperseded(TokenError):
    """A newer token of the same socket is in use, or the socket was revoked."""

    reason = "superseded"

    def __init__(self, *, revoked: bool = False, socket_hash: str | None = None) -> None:
        what = "The socket was revoked" if revoked else "A newer token took over this socket"
        super().__init__(f"{what}; this token can't change it any more.", socket_hash=socket_hash)
        self.revoked = revoked


class SnapshotError(RecoveryError):
    """The token is good, but the state can't be given or taken."""

    reason = "snapshot"


class SnapshotNotFound(SnapshotError):
    """The storage has nothing for this socket."""

    reason = "not_found"

    def __init__(self, *, socket_hash: str | None = None) -> None:
        super().__init__("There is no snapshot for this token.", socket_hash=socket_hash)


class SnapshotCorrupt(SnapshotError):
    """The stored bytes can't be read; ``problem`` says why. They are left as they are."""

    reason = "corrupt"

    def __init__(self, problem: str, *, socket_hash: str | None = None) -> None:
        super().__init__(f"The snapshot can't be read: {problem}.", socket_hash=socket_hash)
        self.problem = problem


class StateTooLarge(SnapshotError):
    """The serialized state is over ``MAX_STATE_BYTES``; the older snapshot stays."""

    reason = "too_large"

    def __init__(
        self, *, size_bytes: int, limit_bytes: int, socket_hash: str | None = None
    ) -> None:
        super().__init__(
            f"The state takes {size_bytes} bytes and may take {limit_bytes}: keep less in it, "
            'or raise RECOVERY["MAX_STATE_BYTES"].',
            socket_hash=socket_hash,
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnserializableState(SnapshotError):
    """The state holds what the serializer can't carry.

    ``path`` is where, as in ``state["items"][3].price``; ``problem`` is what.
    """

    reason = "unserializable"

    def __init__(self, path: str, problem: str, *, socket_hash: str | None = None) -> None:
        super().__init__(f"{path} can't be stored: {problem}.", socket_hash=socket_hash)
        self.path = path
        self.problem = problem


class VersionMismatch(SnapshotError):
    """The snapshot was written by a newer version than this process can read.

    ``stored`` and ``supported`` are versions of the state (``recovery_version``), or, when
    ``of_format`` is true, of the snapshot's bytes.
    """

    reason = "version"

    def __init__(
        self,
        *,
        stored: int,
        supported: int,
        of_format: bool = False,
        socket_hash: str | None = None,
    ) -> None:
        what = "format" if of_format else "state version"
        super().__init__(
            f"The snapshot has {what} {stored} and this process knows up to {supported}; "
            "it is left for one that can read it.",
            socket_hash=socket_hash,
        )
        self.stored = stored
        self.supported = supported
        self.of_format = of_format


class StorageError(RecoveryError):
    """The storage failed. Nothing follows from it about the state."""

    reason = "storage"


class StorageUnavailable(StorageError):
    """The storage can't be reached or doesn't answer; try again later."""

    reason = "unavailable"

    def __init__(self, storage: str, operation: str, *, socket_hash: str | None = None) -> None:
        super().__init__(f"{storage} is unavailable (during {operation}).", socket_hash=socket_hash)
        self.storage = storage
        self.operation = operation


class JoinRefused(Exception):
    """Raise in ``authorize_join`` to refuse a join; the client is told ``reason``."""

    def __init__(self, reason: str = "unauthorized") -> None:
        super().__init__(reason)
        self.reason = reason
