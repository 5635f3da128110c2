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

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from recovery_app.exceptions import InvalidSignature, MalformedToken

SOCKET_HASH_SIZE = 8
TOKEN_LENGTH = 64
MIN_SECRET_BYTES = 32
_CLAIMS = struct.Struct(f">{SOCKET_HASH_SIZE}sQ")
_SPELLING = re.compile(r"[A-Za-z0-9_-]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
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
        self._secrets = (secret, *fallbacks)
        for known in self._secrets:
            if len(known) < MIN_SECRET_BYTES:
                raise ValueError(
                    f"A secret for recovery tokens has {len(known)} bytes and needs at least "
                    f"{MIN_SECRET_BYTES}; make one with secrets.token_bytes({MIN_SECRET_BYTES})."
                )

    def sign(self, claims: Claims, binding: bytes = b"") -> str:
        """Give the token that says ``claims`` and is good for ``binding`` alone."""
        said = _CLAIMS.pack(claims.socket_hash, claims.issued_us)
        return base64.urlsafe_b64encode(said + _mac(self._secrets[0], said, binding)).decode()

    def verify(self, token: object, binding: bytes = b"") -> Claims:
        """Give what a token says, once its signature is known to be good.

        ``token`` may be anything that a client sent. Raises `MalformedToken` or
        `InvalidSignature`.
        """
        raw = base64.urlsafe_b64decode(_spelling_of(token))
        said, mac = raw[: _CLAIMS.size], raw[_CLAIMS.size :]
        if not any(hmac.compare_digest(mac, _mac(s, said, binding)) for s in self._secrets):
            raise InvalidSignature
        socket_hash, issued_us = _CLAIMS.unpack(said)
        return Claims(socket_hash=socket_hash, issued_us=issued_us)


def issued_us_of(token: str) -> int:
    """Give when a token of our own was issued; its signature isn't looked at."""
    issued_us: int = _CLAIMS.unpack(base64.urlsafe_b64decode(token)[: _CLAIMS.size])[1]
    return issued_us


def key_of(token: str) -> str:
    """Give the hash by which the socket of a token of our own is known."""
    return base64.urlsafe_b64decode(token)[:SOCKET_HASH_SIZE].hex()


def _spelling_of(token: object) -> str:
    # Subclasses may say anything of themselves; only what the str itself holds counts.
    if not issubclass(type(token), str):
        raise MalformedToken(f"it is of type {type(token).__name__}, not str")
    spelling = str.__str__(cast("str", token))
    if len(spelling) != TOKEN_LENGTH:
        raise MalformedToken(f"it has {len(spelling)} characters, not {TOKEN_LENGTH}")
    if not _SPELLING.fullmatch(spelling):
        raise MalformedToken("it has characters outside the base64url alphabet")
    return spelling


def _mac(secret: bytes, said: bytes, binding: bytes) -> bytes:
    # What is said has a fixed length, so no other split of the two gives the same bytes.
    return hmac.digest(secret, said + binding, "sha256")
