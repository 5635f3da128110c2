"""Own the token: 48 signed bytes that a client shows to get its snapshot back.

========  =====  ==================================================================
bytes     size   what
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
from dataclasses import dataclass
from typing import Any

from recovery_app.exceptions import InvalidSignature, MalformedToken

SOCKET_HASH_SIZE = 8
TOKEN_LENGTH = 64
MIN_SECRET_BYTES = 32
_CLAIMS = struct.Struct(f">{SOCKET_HASH_SIZE}sQ")
_TOKEN_SIZE = _CLAIMS.size + hashlib.sha256().digest_size


# Not frozen, and not keyword-only, as it is made for each call: that would take much longer.
@dataclass(slots=True)
class TokenPayload:
    """What a verified token says: ``issued_us`` in microseconds since 1970."""

    socket_hash: bytes
    issued_us: int

    @property
    def key(self) -> str:
        """Name the socket in storage and logs: 16 hexadecimal characters."""
        return self.socket_hash.hex()


def hash_socket_id(socket_id: str) -> bytes:
    """Give the 8 bytes that stand for a socket id in tokens and storage keys."""
    return hashlib.sha256(socket_id.encode()).digest()[:SOCKET_HASH_SIZE]


class TokenSigner:
    """Sign tokens with one secret; verify them with it and with older ones."""

    def __init__(self, secret: bytes, fallbacks: Iterable[bytes] = ()) -> None:
        secrets = (secret, *fallbacks)
        for known in secrets:
            if len(known) < MIN_SECRET_BYTES:
                raise ValueError(
                    f"A secret for recovery tokens has {len(known)} bytes and needs at least "
                    f"{MIN_SECRET_BYTES}; make one with secrets.token_bytes({MIN_SECRET_BYTES})."
                )
        self._keys = tuple(map(_Key, secrets))

    def sign(self, claims: TokenPayload, binding: bytes = b"") -> str:
        """Give the token that says ``claims`` and is good for ``binding`` alone."""
        said = _CLAIMS.pack(claims.socket_hash, claims.issued_us)
        signed = b2a_base64(said + self._keys[0].mac(said, binding), newline=False).decode()
        return signed.replace("+", "-").replace("/", "_")

    def verify(self, token: object, binding: bytes = b"") -> TokenPayload:
        """Give what a token says, once its signature is known to be good.

        ``token`` may be anything that a client sent. Raises `MalformedToken` or
        `InvalidSignature`.
        """
        raw = _decoded(token)
        said, mac = raw[: _CLAIMS.size], raw[_CLAIMS.size :]
        for key in self._keys:
            if hmac.compare_digest(mac, key.mac(said, binding)):
                return TokenPayload(*_CLAIMS.unpack(said))
        raise InvalidSignature


class _Key:
    """A secret, ready for HMAC-SHA256 (RFC 2104).

    The hashes of its two paddings are made once and copied: that takes a quarter of the time
    of ``hmac.digest``, which is most of what a token costs.
    """

    def __init__(self, secret: bytes) -> None:
        block_size = hashlib.sha256().block_size
        if len(secret) > block_size:
            secret = hashlib.sha256(secret).digest()
        block = secret.ljust(block_size, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def mac(self, said: bytes, binding: bytes) -> bytes:
        # What is said has a fixed length, so no other split of the two gives the same bytes.
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(said + binding)
        outer.update(inner.digest())
        return outer.digest()


def issued_us_of(token: str) -> int:
    """Give when a token of our own was issued; its signature isn't looked at."""
    issued_us: int = _CLAIMS.unpack_from(_decoded(token))[1]
    return issued_us


def key_of(token: str) -> str:
    """Give the hash by which the socket of a token of our own is known."""
    return _decoded(token)[:SOCKET_HASH_SIZE].hex()


def _decoded(token: Any) -> bytes:
    # Subclasses may say anything of themselves; only what the str itself holds counts.
    if not issubclass(type(token), str):
        raise MalformedToken(f"it is of type {type(token).__name__}, not str")
    spelling = str.__str__(token)
    if len(spelling) != TOKEN_LENGTH:
        raise MalformedToken(f"it has {len(spelling)} characters, not {TOKEN_LENGTH}")
    raw = b""
    if "+" not in spelling and "/" not in spelling:
        try:
            raw = a2b_base64(spelling.replace("-", "+").replace("_", "/"))
        except ValueError:
            raw = b""
    # Other characters are passed over and leave too few for all the bytes.
    if len(raw) != _TOKEN_SIZE:
        raise MalformedToken("it has characters outside the base64url alphabet")
    return raw
