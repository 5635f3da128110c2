"""Encryption of what is stored: AES-256-GCM, a key for each socket, and for each durable group.

In snapshots, of their states and replies:

========  =====  ==================================================================
offset    size   what
========  =====  ==================================================================
0         8      which of the keys it is
8         12     nonce, random
20        …      ciphertext of: size of the replies in 4 bytes, replies, state
…         16     GCM's tag, which covers what precedes the ciphertext in the snapshot too
========  =====  ==================================================================

Random nonces of 96 bits are safe for 2^32 messages under one key (NIST SP 800-38D, 8.3): more
than one socket saves, and less than a busy site saves in a month. So each socket has a key of
its own, derived from its storage key.

A message in the log of a group is the byte 1, which begins no JSON, then key, nonce and
ciphertext as above.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from recovery_app._concurrency import LRUCache
from recovery_app._core.keys import MacKey
from recovery_app.exceptions import EncryptionKeyUnknown, SnapshotCorrupt

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:  # pragma: no cover - an extra
    IS_AVAILABLE = False
else:
    IS_AVAILABLE = True

MISSING = (
    "needs the package cryptography: pip install 'django-recovery-app[encryption]', or leave it out"
)
MIN_KEY_BYTES = 32
NONCE_BYTES = 12
ID_BYTES = 8
_ID = b"recovery_app: the id of an encryption key"
_SOCKET = b"recovery_app: the encryption key of the socket "
_GROUP = b"recovery_app: the encryption key of the group "
_MESSAGE = b"\x01"
_SIZE = struct.Struct(">I")
_CIPHERTEXT = ID_BYTES + NONCE_BYTES
_REMEMBERED = 1_000


class Cipher:
    """Encrypts with the first of some keys, and decrypts with any of them."""

    __slots__ = ("_by_id", "_ciphers", "_id")

    def __init__(self, keys: Iterable[bytes | str]) -> None:
        if not IS_AVAILABLE:
            raise ImportError(f"Encryption {MISSING}.")
        roots = [MacKey(_checked(key)) for key in keys]
        if not roots:
            raise ValueError("The list of encryption keys is empty: use None for no encryption.")
        ids = [root.mac(_ID)[:ID_BYTES] for root in roots]
        self._id = ids[0]
        self._by_id = dict(zip(reversed(ids), reversed(roots), strict=True))
        self._ciphers: LRUCache[tuple[bytes, bytes], AESGCM] = LRUCache(_REMEMBERED)

    def encrypt(self, key: str, head: bytes, replies: bytes, state: bytes) -> bytes:
        """Return the encrypted replies and state of the socket ``key``, tied to ``head``."""
        nonce = os.urandom(NONCE_BYTES)
        plaintext = b"".join((_SIZE.pack(len(replies)), replies, state))
        ciphertext = self._cipher_of(self._id, _SOCKET + key.encode()).encrypt(
            nonce, plaintext, head
        )
        return b"".join((self._id, nonce, ciphertext))

    def decrypt(self, key: str, head: bytes, data: bytes) -> tuple[bytes, bytes]:
        """Return replies and state; raise `EncryptionKeyUnknown` or `SnapshotCorrupt`."""
        key_id = data[:ID_BYTES]
        if key_id not in self._by_id:
            raise EncryptionKeyUnknown(
                "it is encrypted with a key that isn't in RECOVERY['ENCRYPTION_KEYS']; "
                "add that key at the end of the list"
            )
        try:
            cipher = self._cipher_of(key_id, _SOCKET + key.encode())
            plaintext = cipher.decrypt(data[ID_BYTES:_CIPHERTEXT], data[_CIPHERTEXT:], head)
            (size,) = _SIZE.unpack_from(plaintext)
        except (InvalidTag, ValueError, struct.error):
            # Not chained, as what it raised may have the plaintext in its frames.
            raise SnapshotCorrupt(
                "its encryption key is known, but the encrypted data was damaged, altered or "
                "copied from elsewhere in the storage; find out who can write to the storage, and "
                "revoke the snapshot"
            ) from None
        start = _SIZE.size
        return plaintext[start : start + size], plaintext[start + size :]

    def encrypt_message(self, group: str, data: bytes) -> bytes:
        """Return the encrypted message to a group."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher_of(self._id, _GROUP + group.encode())
        return b"".join((_MESSAGE, self._id, nonce, cipher.encrypt(nonce, data, None)))

    def decrypt_message(self, group: str, data: bytes) -> bytes | None:
        """Return a message to a group; ``None`` if its key is unknown, or it was altered."""
        key_id, rest = data[1 : ID_BYTES + 1], data[ID_BYTES + 1 :]
        if key_id not in self._by_id:
            return None
        cipher = self._cipher_of(key_id, _GROUP + group.encode())
        try:
            return cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            return None

    def _cipher_of(self, key_id: bytes, purpose: bytes) -> AESGCM:
        name = key_id, purpose
        cipher = self._ciphers.get(name)
        if cipher is None:
            cipher = AESGCM(self._by_id[key_id].mac(purpose))
            self._ciphers.put(name, cipher)
        return cipher


class MessageSealer:
    """Encrypts the messages to durable groups if there is a cipher.

    Plain messages are also read: they may be older, or from a program in another language.
    """

    __slots__ = ("_cipher",)

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    def seal(self, group: str, data: bytes) -> bytes:
        """Return a message as it is stored."""
        return data if self._cipher is None else self._cipher.encrypt_message(group, data)

    def open(self, group: str, data: bytes) -> bytes | None:
        """Return a message that was stored; ``None`` if it can't be decrypted."""
        if not data.startswith(_MESSAGE):
            return data
        return None if self._cipher is None else self._cipher.decrypt_message(group, data)


def _checked(key: bytes | str) -> bytes:
    found = key.encode() if isinstance(key, str) else key
    if len(found) < MIN_KEY_BYTES:
        raise ValueError(
            f"An encryption key has {len(found)} bytes and needs at least {MIN_KEY_BYTES}; make "
            f"one with secrets.token_bytes({MIN_KEY_BYTES})."
        )
    return found
