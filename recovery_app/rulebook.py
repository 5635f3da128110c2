"""Own what the manager decides without any storage: the part that sync and async share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from recovery_app.clock import MICROSECONDS, Clock, ticker_of, to_us
from recovery_app.codec import Codec
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
from recovery_app.snapshots import MAX_SEQ, MAX_VERSION, Header, Snapshot, digest_binding
from recovery_app.tokens import TOKEN_LENGTH, Claims, TokenSigner
from recovery_app.values import Takeover

MAX_NAME_LENGTH = 255
MAX_PAGE = 10_000
REMEMBERED_PERMITS = 10_000


@dataclass(slots=True, kw_only=True)
class Labels:
    """What a snapshot says of its state; `ValueError` for what can't be stored.

    ``confirmed_us`` is the timestamp of the newest token that the client has shown to have
    (``None``: of the token that saves); older ones can't take over from then on. ``replies``:
    what was replied to the last events, as `recovery_app.sequence` packs it.
    """

    applied_seq: int | None = None
    version: int = 0
    view: str = ""
    topic: str = ""
    confirmed_us: int | None = None
    replies: bytes = b""

    def __post_init__(self) -> None:
        if self.applied_seq is not None:
            _check_number("applied_seq", self.applied_seq, MAX_SEQ)
        _check_number("version", self.version, MAX_VERSION)
        check_name("view", self.view)
        check_name("topic", self.topic)


class Permit:
    """A token that was found good: what it says, and for whom.

    ``key`` names the socket in the storage; ``claim`` is what the storage compares with what
    it holds. Inside of ``with permit:`` each error names the socket: the token was no forgery.
    """

    __slots__ = ("binding", "claim", "claims", "key")

    def __init__(self, claims: Claims, binding: bytes) -> None:
        self.claims = claims
        self.binding = binding
        self.key = claims.key
        self.claim = Claim(claims.issued_us, digest_binding(binding))

    def __enter__(self) -> None:
        """Name the socket in errors from here on."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, RecoveryError):
            error.socket_hash = error.socket_hash or self.key


class Rulebook:
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
        # An open page shows the same token with each event. Only good ones are remembered,
        # and in the same memory as the secret; their age is looked at each time.
        self._verified = partial(_verified, signer)
        self._known = lru_cache(REMEMBERED_PERMITS)(self._verified)
        self._ttl = ttl
        self._token_max_age = token_max_age
        self._clock = clock
        self._ticker = ticker_of(clock)

    def tick(self) -> int:
        """Give the time in microseconds, never the same twice from one process."""
        return self._ticker.tick(to_us(self._clock()))

    def issue(self, socket_hash: bytes, issued_us: int, binding: bytes) -> str:
        """Sign a token."""
        return self._signer.sign(Claims(socket_hash, issued_us), binding)

    def admit(self, token: object, binding: bytes) -> Permit:
        """Verify a token, its signature before anything else; `TokenError`."""
        # What is of another type may be no key for a dictionary, or a false one.
        is_plain = type(token) is str and len(token) == TOKEN_LENGTH and type(binding) is bytes
        permit = (self._known if is_plain else self._verified)(token, binding)
        age = self._age(permit.claims)
        if self._token_max_age is not None and age > self._token_max_age:
            raise TokenExpired(
                age_seconds=age, limit_seconds=self._token_max_age, socket_hash=permit.key
            )
        return permit

    def seal(self, permit: Permit, payload: bytes, socket_id: str, labels: Labels) -> bytes:
        """Give the bytes to store, with the token's timestamp as the fence."""
        issued_us, bound = permit.claims.issued_us, permit.claim.binding
        confirmed_us = issued_us if labels.confirmed_us is None else labels.confirmed_us
        floor = min(confirmed_us, issued_us)
        now_us = to_us(self._clock())
        version, seq = labels.version, labels.applied_seq
        header = Header(issued_us, floor, bound, 0, version, seq, now_us, now_us)
        view, topic, replies = labels.view, labels.topic, labels.replies
        name = self.codec.name
        return Snapshot(header, socket_id, view, topic, name, payload, replies).to_bytes()

    def open(self, permit: Permit, data: bytes | None) -> tuple[Snapshot, dict[str, Any]]:
        """Give a stored snapshot and its state to whoever holds a permit."""
        if data is None:
            raise self.missing(permit)
        snapshot = Snapshot.from_bytes(data)
        verdict = refuse(snapshot.header, permit.claim, by_floor=True)
        if verdict is None and snapshot.header.revoked:
            verdict = Verdict.ABSENT
        if verdict is not None:
            raise self.refusal(permit, verdict)
        return snapshot, self.codec.decode(snapshot.state, snapshot.serializer)

    def hand_over(self, permit: Permit, decision: Decision, newest: int | None) -> Takeover:
        """Give what a takeover gave, or raise what refused it."""
        if decision.verdict is not Verdict.DONE:
            raise self.refusal(permit, decision.verdict, decision.data, newest)
        snapshot = Snapshot.from_bytes(decision.data or b"")
        header = snapshot.header
        return Takeover(
            state=self.codec.decode(snapshot.state, snapshot.serializer),
            socket_id=snapshot.socket_id,
            token=self.issue(permit.claims.socket_hash, header.fence, permit.binding),
            applied_seq=header.applied_seq,
            version=header.version,
            view=snapshot.view,
            topic=snapshot.topic,
            issued_us=header.fence,
            shown_us=permit.claims.issued_us,
            payload=snapshot.state if snapshot.serializer == self.codec.name else None,
            replies=snapshot.replies,
        )

    def renewed(self, permit: Permit, decision: Decision, binding: bytes) -> str:
        """Give the token that a renewal made, or raise what refused it."""
        if decision.verdict is not Verdict.DONE:
            raise self.refusal(permit, decision.verdict, decision.data)
        fence = Header.read(decision.data or b"").fence
        return self.issue(permit.claims.socket_hash, fence, binding)

    def settle(self, permit: Permit, verdict: Verdict) -> None:
        """Raise what refused a save or a revocation, if anything did."""
        if verdict is not Verdict.DONE:
            raise self.refusal(permit, verdict)

    def touched(self, permit: Permit, verdict: Verdict) -> bool:
        """Say whether there was a snapshot to touch, or raise what refused it."""
        if verdict in (Verdict.DONE, Verdict.ABSENT):
            return verdict is Verdict.DONE
        raise self.refusal(permit, verdict)

    def missing(self, permit: Permit) -> RecoveryError:
        """Tell a token that has outlived every snapshot from one whose snapshot is gone."""
        age = self._age(permit.claims)
        if age > self._ttl:
            return TokenExpired(age_seconds=age, limit_seconds=self._ttl, socket_hash=permit.key)
        return SnapshotNotFound(socket_hash=permit.key)

    def refusal(
        self,
        permit: Permit,
        verdict: Verdict,
        data: bytes | None = None,
        newest: int | None = None,
    ) -> RecoveryError:
        """Put a verdict into the error that tells it."""
        key = permit.key
        if verdict is Verdict.ABSENT:
            return self.missing(permit)
        if verdict is Verdict.FOREIGN:
            return InvalidSignature(socket_hash=key)
        if verdict is Verdict.NEWER and data is not None and newest is not None:
            stored = Header.read(data).version
            return VersionMismatch(stored=stored, supported=newest, socket_hash=key)
        if verdict is Verdict.UNREADABLE:
            return _unreadable(data, key)
        return TokenSuperseded(revoked=verdict is Verdict.REVOKED, socket_hash=key)

    def _age(self, claims: Claims) -> float:
        return self._clock() - claims.issued_us / MICROSECONDS


def _verified(signer: TokenSigner, token: object, binding: bytes) -> Permit:
    return Permit(signer.verify(token, binding), binding)


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
