"""The token: 48 signed bytes that a client shows to get its snapshot back.

========  =====  ==================================================================
bytes     size   content
========  =====  ==================================================================
0 to 7    8      the first bytes of SHA-256 of the socket id: the socket's hash
8 to 15   8      when it was issued, microseconds since 1970, big-endian
16 to 47  32     HMAC-SHA256 over the first 16 bytes and the binding
========  =====  ==================================================================

Base64url of 48 bytes (RFC 4648, section 5) is 64 characters with no padding and no
spare bits, so each token has one spelling only.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from recovery_app._core.keys import MacKey
from recovery_app.exceptions import InvalidSignature, MalformedToken
from recovery_app.fencing import Claim
from recovery_app.snapshots import DIGEST_SIZE

SOCKET_HASH_SIZE = 8
TOKEN_LENGTH = 64
OWNER_SIZE = 16
MIN_SECRET_BYTES = 32
# A token's MAC begins with a hash and a date, which these bytes are not: no token shows such a key.
_OWNER_KEY = b"recovery_app: the key of owners"
_PERSON_KEY = b"recovery_app: the key of persons"
_PAYLOAD = struct.Struct(f">{SOCKET_HASH_SIZE}sQ")
_PAYLOAD_SIZE = _PAYLOAD.size
_TOKEN_SIZE = _PAYLOAD_SIZE + hashlib.sha256().digest_size
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


class TokenPayload(NamedTuple):
    """The contents of a token: the socket's hash, and the microsecond of issue since 1970."""

    socket_hash: bytes
    issued_us: int

    @property
    def key(self) -> str:
        """The socket's name in storage and logs: 16 hexadecimal characters."""
        return self.socket_hash.hex()


@dataclass(slots=True)
class Grant:
    """A verified token. Storages get only its ``claim``, neither the token nor the binding.

    ``key`` names the socket in the storage; ``binding`` is what the token is bound to. It is
    accepted from ``starts_at`` to ``expires_at``, in seconds since 1970: not dated more than a day
    ahead, and not too old.
    """

    token: str = field(repr=False)
    key: str
    socket_hash: bytes
    binding: bytes = field(repr=False)
    claim: Claim = field(repr=False)
    starts_at: float
    expires_at: float
    socket_id: str | None = None
    """The socket id, where this process has seen it: a token has only its hash."""

    @property
    def issued_us(self) -> int:
        """When the token was issued, in microseconds since 1970."""
        return self.claim.issued_us

    def bound_to(self, binding: bytes, digest: bytes) -> Grant:
        """Return the same grant for a snapshot that has another binding than the token."""
        return replace(self, binding=binding, claim=Claim(self.claim.issued_us, digest))


def hash_socket_id(socket_id: str) -> bytes:
    """Return the 8 bytes that represent a socket id in tokens and storage keys."""
    return hashlib.sha256(socket_id.encode()).digest()[:SOCKET_HASH_SIZE]


class TokenSigner:
    """Signs tokens with one secret; verifies them with it and with older ones."""

    def __init__(self, secret: bytes | str, fallbacks: Iterable[bytes | str] = ()) -> None:
        given = (secret, *fallbacks)
        secrets = [each.encode() if isinstance(each, str) else each for each in given]
        for known in secrets:
            if len(known) < MIN_SECRET_BYTES:
                raise ValueError(
                    f"A secret for recovery tokens has {len(known)} bytes and needs at least "
                    f"{MIN_SECRET_BYTES}; make one with secrets.token_bytes({MIN_SECRET_BYTES})."
                )
        self._keys = tuple(map(MacKey, secrets))
        self._owner_key = self._keys[0].derive(_OWNER_KEY)
        self._person_keys = self.derive_keys(_PERSON_KEY)

    def derive_keys(self, purpose: bytes) -> list[MacKey]:
        """Return the keys for a purpose from each secret, the newest first."""
        return [key.derive(purpose) for key in self._keys]

    def sign(self, payload: TokenPayload, binding: bytes = b"") -> str:
        """Return a token with this ``payload`` that is valid only for ``binding``."""
        signed = _PAYLOAD.pack(*payload)
        raw = b2a_base64(signed + self._keys[0].mac(signed, binding), newline=False)
        return raw.translate(_TO_BASE64URL).decode()

    def owner_of(self, person: bytes) -> str:
        """Return the name by which a client distinguishes persons, which confirms no guess."""
        return self._owner_key.mac(person, b"")[:OWNER_SIZE].hex()

    def digest_person(self, person: bytes) -> list[bytes]:
        """Return the digests of a person in snapshots, 16 bytes each.

        There is one for each secret; new snapshots have the first. Tokens don't contain them.
        """
        return [key.mac(person, b"")[:DIGEST_SIZE] for key in self._person_keys]

    def verify(self, token: object, binding: bytes = b"") -> TokenPayload:
        """Return the contents of a token after checking its signature.

        ``token`` may be anything that a client sent. Raises `MalformedToken` or
        `InvalidSignature`.
        """
        raw = _decode(token)
        signed, mac = raw[:_PAYLOAD_SIZE], raw[_PAYLOAD_SIZE:]
        for key in self._keys:
            if hmac.compare_digest(mac, key.mac(signed, binding)):
                return TokenPayload._make(_PAYLOAD.unpack(signed))
        raise InvalidSignature


def issued_us_of(token: str) -> int:
    """Return when a token of our own was issued; its signature isn't checked."""
    issued_us: int = _PAYLOAD.unpack_from(_decode(token))[1]
    return issued_us


def key_of(token: str) -> str:
    """Return the hash by which the socket of a token of our own is known."""
    return _decode(token)[:SOCKET_HASH_SIZE].hex()


def _decode(token: Any) -> bytes:
    # Subclasses may override anything; only what the str itself holds counts.
    if not issubclass(type(token), str):
        raise MalformedToken(f"it is of type {type(token).__name__}, not str")
    spelling = str.__str__(token)
    if len(spelling) != TOKEN_LENGTH:
        raise MalformedToken(f"it has {len(spelling)} characters, not {TOKEN_LENGTH}")
    raw = b""
    if "+" not in spelling and "/" not in spelling:
        try:
            raw = a2b_base64(spelling.encode("ascii").translate(_TO_BASE64))
        except ValueError:
            raw = b""
    # The decoder passes over other characters, which leaves too few for all the bytes.
    if len(raw) != _TOKEN_SIZE:
        raise MalformedToken("it has characters outside the base64url alphabet")
    return raw
