"""Own what the manager decides without any storage: the part that sync and async share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from recovery_app._concurrency import LRUCache, timestamps_of
from recovery_app._core.state_codec import Codec
from recovery_app._core.tokens import TokenPayload, TokenSigner
from recovery_app.clock import MICROSECONDS, Clock, to_us
from recovery_app.exceptions import (
    InvalidSignature,
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    TokenExpired,
    TokenSuperseded,
    VersionMismatch,
)
from recovery_app.fencing import Claim, Decision, Verdict, refuse
from recovery_app.snapshots import (
    MAX_SEQ,
    MAX_VERSION,
    Header,
    digest_binding,
    join_parts,
    split_parts,
)
from recovery_app.values import Takeover

MAX_NAME_LENGTH = 255
MAX_PAGE = 10_000
REMEMBERED_PERMITS = 5_000


@dataclass(slots=True, kw_only=True)
class SnapshotMetadata:
    """What a snapshot says of its state; `ValueError` for what can't be stored.

    ``confirmed_us`` is the timestamp of the newest token that the client has shown to have
    (``None``: of the token that saves); older ones can't take over from then on. ``replies``:
    what was replied to the last events, as `recovery_app._live.replies` packs it.
    """

    applied_seq: int | None = None
    version: int = 0
    view: str = ""
    topic: str = ""
    confirmed_us: int | None = None
    replies: bytes = b""

    def __post_init__(self) -> None:
        # A look at what is nearly always so takes a tenth of the time of a check.
        if self.applied_seq is not None:
            _check_number("applied_seq", self.applied_seq, MAX_SEQ)
        if self.version or type(self.version) is not int:
            _check_number("version", self.version, MAX_VERSION)
        if self.view != "":
            check_name("view", self.view)
        if self.topic != "":
            check_name("topic", self.topic)


class Recovered(NamedTuple):
    """What of a snapshot whoever recovers is given, or told."""

    state: dict[str, Any]
    socket_id: str
    applied_seq: int | None
    version: int


class Grant(Claim):
    """A token that was found good: what it says, and for whom.

    ``key`` names the socket in the storage, ``bound_to`` is what the token is bound to; the
    rest is what the storage compares with what it holds. Inside of ``with permit:`` each error
    names the socket: the token was no forgery.
    """

    __slots__ = ("bound_to", "key", "socket_hash")

    def __init__(self, socket_hash: bytes, issued_us: int, bound_to: bytes, digest: bytes) -> None:
        self.socket_hash = socket_hash
        self.key = socket_hash.hex()
        self.issued_us = issued_us
        self.bound_to = bound_to
        self.binding = digest

    def __enter__(self) -> None:
        """Name the socket in errors from here on."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, RecoveryError):
            error.socket_hash = error.socket_hash or self.key


class Operations:
    """Verify tokens, seal and open snapshots, and put a storage's verdict into an error."""

    def __init__(
        self,
        *,
        signer: TokenSigner,
        codec: Codec,
        ttl: float,
        token_max_age: float | None,
        clock: Clock,
    ) -> None:
        self.codec = codec
        self._signer = signer
        # An open page shows the same token with each event, mostly to the process that issued
        # it. Only good ones are remembered, and in the same memory as the secret; their age is
        # looked at each time.
        self._permits: LRUCache[tuple[str, bytes], Grant] = LRUCache(REMEMBERED_PERMITS)
        self._ttl = ttl
        self._token_max_age = token_max_age
        self._clock = clock
        self._ticker = timestamps_of(clock)

    def tick(self) -> int:
        """Give the time in microseconds, never the same twice from one process."""
        return self._ticker.tick(to_us(self._clock()))

    def issue(self, socket_hash: bytes, issued_us: int, binding: bytes) -> str:
        """Sign a token."""
        return self._sign(Grant(socket_hash, issued_us, binding, digest_binding(binding)))

    def admit(self, token: object, binding: bytes) -> Grant:
        """Verify a token, its signature before anything else; `TokenError`."""
        # What is of another type may be no key for a dictionary, or a false one.
        permit = None
        if type(token) is str and type(binding) is bytes:
            permit = self._permits.get((token, binding))
        if permit is None:
            permit = self._verify(token, binding)
        limit = self._token_max_age
        if limit is not None:
            age = self._age(permit)
            if age > limit:
                raise TokenExpired(age_seconds=age, limit_seconds=limit, socket_hash=permit.key)
        return permit

    def seal(
        self, permit: Grant, payload: bytes, socket_id: str, labels: SnapshotMetadata
    ) -> bytes:
        """Give the bytes to store, with the token's timestamp as the fence."""
        issued_us, bound = permit.issued_us, permit.binding
        confirmed_us = issued_us if labels.confirmed_us is None else labels.confirmed_us
        floor = min(confirmed_us, issued_us)
        now_us = to_us(self._clock())
        version, seq = labels.version, labels.applied_seq
        header = Header(issued_us, floor, bound, 0, version, seq, now_us, now_us)
        texts = socket_id, labels.view, labels.topic, self.codec.name
        return join_parts(header, texts, labels.replies, payload)

    def open(self, permit: Grant, data: bytes | None) -> Recovered:
        """Give what is stored to whoever holds a permit."""
        if data is None:
            raise self.missing(permit)
        header = Header.read(data)
        (socket_id, _view, _topic, serializer), _replies, payload = split_parts(data)
        verdict = refuse(header, permit, by_floor=True)
        if verdict is None and header.revoked:
            verdict = Verdict.NOT_FOUND
        if verdict is not None:
            raise self.refusal(permit, verdict)
        state = self.codec.decode(payload, serializer)
        return Recovered(state, socket_id, header.applied_seq, header.version)

    def hand_over(self, permit: Grant, decision: Decision, newest: int | None) -> Takeover:
        """Give what a takeover gave, or raise what refused it."""
        if decision.verdict is not Verdict.DONE:
            raise self.refusal(permit, decision.verdict, decision.data, newest)
        data = decision.data or b""
        header = Header.read(data)
        (socket_id, view, topic, serializer), replies, payload = split_parts(data)
        following = Grant(permit.socket_hash, header.fence, permit.bound_to, permit.binding)
        return Takeover(
            state=self.codec.decode(payload, serializer),
            socket_id=socket_id,
            token=self._sign(following),
            applied_seq=header.applied_seq,
            version=header.version,
            view=view,
            topic=topic,
            issued_us=header.fence,
            shown_us=permit.issued_us,
            payload=payload if serializer == self.codec.name else None,
            replies=replies,
        )

    def renewed(self, permit: Grant, decision: Decision, binding: bytes) -> str:
        """Give the token that a renewal made, or raise what refused it."""
        if decision.verdict is not Verdict.DONE:
            raise self.refusal(permit, decision.verdict, decision.data)
        fence = Header.read(decision.data or b"").fence
        return self.issue(permit.socket_hash, fence, binding)

    def settle(self, permit: Grant, verdict: Verdict) -> None:
        """Raise what refused a save or a revocation, if anything did."""
        if verdict is not Verdict.DONE:
            raise self.refusal(permit, verdict)

    def touched(self, permit: Grant, verdict: Verdict) -> bool:
        """Say whether there was a snapshot to touch, or raise what refused it."""
        if verdict in (Verdict.DONE, Verdict.NOT_FOUND):
            return verdict is Verdict.DONE
        raise self.refusal(permit, verdict)

    def missing(self, permit: Grant) -> RecoveryError:
        """Tell a token that has outlived every snapshot from one whose snapshot is gone."""
        age = self._age(permit)
        if age > self._ttl:
            return TokenExpired(age_seconds=age, limit_seconds=self._ttl, socket_hash=permit.key)
        return SnapshotNotFound(socket_hash=permit.key)

    def refusal(
        self,
        permit: Grant,
        verdict: Verdict,
        data: bytes | None = None,
        newest: int | None = None,
    ) -> RecoveryError:
        """Put a verdict into the error that tells it."""
        key = permit.key
        if verdict is Verdict.NOT_FOUND:
            return self.missing(permit)
        if verdict is Verdict.BINDING_MISMATCH:
            return InvalidSignature(socket_hash=key)
        if verdict is Verdict.VERSION_TOO_NEW and data is not None and newest is not None:
            stored = Header.read(data).version
            return VersionMismatch(stored=stored, supported=newest, socket_hash=key)
        if verdict is Verdict.UNREADABLE:
            return _unreadable(data, key)
        return TokenSuperseded(revoked=verdict is Verdict.REVOKED, socket_hash=key)

    def _verify(self, token: object, binding: bytes) -> Grant:
        claims = self._signer.verify(token, binding)
        permit = Grant(claims.socket_hash, claims.issued_us, binding, digest_binding(binding))
        if type(token) is str and type(binding) is bytes:
            self._permits.put((token, binding), permit)
        return permit

    def _sign(self, permit: Grant) -> str:
        token = self._signer.sign(
            TokenPayload(permit.socket_hash, permit.issued_us), permit.bound_to
        )
        if type(permit.bound_to) is bytes:
            self._permits.put((token, permit.bound_to), permit)
        return token

    def _age(self, permit: Grant) -> float:
        return self._clock() - permit.issued_us / MICROSECONDS


def check_name(what: str, name: str) -> None:
    """Raise `ValueError` unless every storage can keep ``name``."""
    if not isinstance(name, str):
        raise ValueError(f"{what} must be a string, not {type(name).__name__}.")
    if len(name) > MAX_NAME_LENGTH or "\x00" in name:
        raise ValueError(
            f"{what} must have at most {MAX_NAME_LENGTH} characters and no NUL among them."
        )
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} holds a lone surrogate and can't be stored.") from error


def check_listing(*, prefix: str, cursor: str | None, limit: int) -> None:
    """Raise `ValueError` unless every storage can be asked for such a page."""
    check_name("prefix", prefix)
    check_name("cursor", cursor or "")
    _check_number("limit", limit, MAX_PAGE, least=1)


def _check_number(what: str, number: int, limit: int, *, least: int = 0) -> None:
    if not isinstance(number, int) or not least <= number <= limit:
        raise ValueError(
            f"{what} is {number!r} and must be a whole number between {least} and {limit}."
        )


def _unreadable(data: bytes | None, key: str) -> RecoveryError:
    try:
        if data is not None:
            Header.read(data)
    except RecoveryError as error:
        error.socket_hash = key
        return error
    return SnapshotCorrupt("its header can't be read here", socket_hash=key)
