"""The errors that the package raises.

::

    RecoveryError
    ├── TokenError              the client's token is refused
    │   ├── MalformedToken      it isn't a token
    │   ├── InvalidSignature    it was signed with another secret or for another binding
    │   ├── TokenExpired        it is too old
    │   └── TokenSuperseded     a newer token replaced it, or it was revoked
    ├── SnapshotError           the token is valid, but the state can't be loaded or saved
    │   ├── SnapshotNotFound
    │   ├── SnapshotCorrupt
    │   │   └── EncryptionKeyUnknown   it is encrypted with an unknown key
    │   ├── StateTooLarge
    │   ├── UnserializableState
    │   └── VersionMismatch
    └── StorageError            the storage failed; the state may still be there
        ├── StorageUnavailable
        └── TransactionConflict    the transaction of a publish was undone; run it again

    JoinRefused                 raised by an application's hooks to refuse a join

No error contains a token or a state, so errors can be logged. A socket is identified by its
hash (16 hexadecimal characters), as in the storage.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RecoveryError(Exception):
    """The base class of this package's errors.

    ``reason`` is a word from a fixed set, usable as the label of a metric. ``socket_hash``
    identifies the socket, if it is known.
    """

    reason: ClassVar[str] = "error"

    def __init__(self, message: str, *, socket_hash: str | None = None) -> None:
        super().__init__(message)
        self.socket_hash = socket_hash

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how pickle and copy rebuild the error, with its keyword arguments."""
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[RecoveryError], args: tuple[Any, ...]) -> RecoveryError:
    return kind.__new__(kind, *args)


class TokenError(RecoveryError):
    """The token is refused."""

    reason = "token"


class MalformedToken(TokenError):
    """The value doesn't have the form of a token; ``problem`` says why."""

    reason = "malformed"

    def __init__(self, problem: str) -> None:
        super().__init__(f"Not a recovery token: {problem}.")
        self.problem = problem


class InvalidSignature(TokenError):
    """The token wasn't signed with a known secret for this binding."""

    reason = "signature"

    def __init__(self, *, socket_hash: str | None = None) -> None:
        super().__init__(
            "The token wasn't issued with a known secret for this binding.",
            socket_hash=socket_hash,
        )


class TokenExpired(TokenError):
    """The token is ``age_seconds`` old, which is more than ``limit_seconds``."""

    reason = "expired"

    def __init__(
        self, *, age_seconds: float, limit_seconds: float, socket_hash: str | None = None
    ) -> None:
        super().__init__(
            f"The token is {age_seconds:.0f} s old, more than the limit of {limit_seconds:.0f} s.",
            socket_hash=socket_hash,
        )
        self.age_seconds = age_seconds
        self.limit_seconds = limit_seconds


class TokenSuperseded(TokenError):
    """A newer token of the socket is in use, or the socket was ``revoked``."""

    reason = "superseded"

    def __init__(self, *, revoked: bool = False, socket_hash: str | None = None) -> None:
        what = "The socket was revoked" if revoked else "A newer token took over this socket"
        super().__init__(f"{what}; this token can't change it any more.", socket_hash=socket_hash)
        self.revoked = revoked


class SnapshotError(RecoveryError):
    """The token is valid, but the state can't be loaded or saved."""

    reason = "snapshot"


class SnapshotNotFound(SnapshotError):
    """The storage has no snapshot for this socket."""

    reason = "not_found"

    def __init__(self, *, socket_hash: str | None = None) -> None:
        super().__init__("There is no snapshot for this token.", socket_hash=socket_hash)


class SnapshotCorrupt(SnapshotError):
    """The stored bytes are unreadable; ``problem`` says why. They are left as they are."""

    reason = "corrupt"

    def __init__(self, problem: str, *, socket_hash: str | None = None) -> None:
        super().__init__(f"The snapshot can't be read: {problem}.", socket_hash=socket_hash)
        self.problem = problem


class EncryptionKeyUnknown(SnapshotCorrupt):
    """The snapshot is encrypted with a key that isn't among ``ENCRYPTION_KEYS``."""


class StateTooLarge(SnapshotError):
    """The serialized state is larger than ``MAX_STATE_BYTES``; the older snapshot is kept."""

    reason = "too_large"

    def __init__(
        self, *, size_bytes: int, limit_bytes: int, socket_hash: str | None = None
    ) -> None:
        super().__init__(
            f"The state has {size_bytes} bytes, over the limit of {limit_bytes}: keep less in it, "
            'or raise RECOVERY["MAX_STATE_BYTES"].',
            socket_hash=socket_hash,
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnserializableState(SnapshotError):
    """The state contains a value that the serializer doesn't support.

    ``path`` is where it is, such as ``state["items"][3].price``; ``problem`` says what it is.
    """

    reason = "unserializable"

    def __init__(self, path: str, problem: str, *, socket_hash: str | None = None) -> None:
        super().__init__(f"{path} can't be stored: {problem}.", socket_hash=socket_hash)
        self.path = path
        self.problem = problem


class VersionMismatch(SnapshotError):
    """The snapshot was saved by a newer version than this process supports.

    ``stored`` and ``supported`` are versions of the state (``recovery_version``), or of the
    snapshot's format if ``of_format`` is true.
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
            f"The snapshot has {what} {stored}, but this process supports only up to "
            f"{supported}; it is left for a process that can read it.",
            socket_hash=socket_hash,
        )
        self.stored = stored
        self.supported = supported
        self.of_format = of_format


class StorageError(RecoveryError):
    """The storage failed; the state may still be there.

    ``cause`` says why, and ``address`` which server or file it was, as far as they are known.
    Neither contains a password or a state.
    """

    reason = "storage"

    def __init__(
        self,
        message: str,
        *,
        cause: str = "",
        address: str = "",
        socket_hash: str | None = None,
    ) -> None:
        summary = f"{message.removesuffix('.')}: {cause}." if cause else message
        text = f"{summary.removesuffix('.')} ({address})." if address else summary
        super().__init__(text, socket_hash=socket_hash)
        self.summary = summary
        """The message without the address, for pages that anybody may read."""
        self.cause = cause
        self.address = address


class StorageUnavailable(StorageError):
    """The storage can't be reached, doesn't answer in time or refuses the login; try again."""

    reason = "unavailable"

    def __init__(
        self,
        storage: str,
        operation: str,
        *,
        cause: str = "",
        address: str = "",
        socket_hash: str | None = None,
    ) -> None:
        super().__init__(
            f"{storage} is unavailable (during {operation}).",
            cause=cause,
            address=address,
            socket_hash=socket_hash,
        )
        self.storage = storage
        self.operation = operation


class TransactionConflict(StorageError):
    """The transaction conflicts with another one and was undone: run it again as a whole.

    For example, two transactions that publish to the same groups in different order deadlock.
    """

    reason = "conflict"

    def __init__(self, storage: str, *, cause: str = "", socket_hash: str | None = None) -> None:
        super().__init__(
            f"A publish to {storage} conflicts with another transaction, and this one was undone: "
            "run it again, and publish to several groups in the order of their names.",
            cause=cause,
            socket_hash=socket_hash,
        )
        self.storage = storage


class JoinRefused(Exception):
    """Raised in a hook to refuse a join; the client receives ``reason``.

    ``authorize_join`` may raise it, and so may ``migrate_state``, ``restore_state`` and
    ``after_recover``: the snapshot is then kept, and the client can come back with its token.
    """

    def __init__(self, reason: str = "unauthorized") -> None:
        super().__init__(reason)
        self.reason = reason
