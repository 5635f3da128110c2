"""Seals, which keep those who can write to a storage from forging, swapping or altering snapshots.

A seal is a MAC over the storage key and everything that a save writes. Fence, floor, time of
creation and the digest of the binding aren't covered, because storages change them in place.

The digest of the binding in a sealed snapshot is a MAC of storage key and binding, so that it
confirms no guess and can't be copied. A snapshot may still have another digest of the same
binding: under an older secret, or the plain one, from before it was sealed.
"""

from __future__ import annotations

import hmac

from recovery_app._core.encryption import Cipher
from recovery_app._core.tokens import Grant, TokenSigner
from recovery_app.exceptions import EncryptionKeyUnknown, SnapshotCorrupt
from recovery_app.fencing import Claim
from recovery_app.snapshots import (
    DIGEST_SIZE,
    ENCRYPTED,
    FIRST_FORMAT,
    SEAL,
    SEAL_SIZE,
    UNSEALED,
    Header,
    Snapshot,
    digest_binding,
    fixed_parts,
)

# No token, owner or person has a MAC of such bytes under the same key.
_SEAL_KEY = b"recovery_app: the key of seals"
_BINDING_KEY = b"recovery_app: the key of bindings"
_NO_SEAL = (
    "it has no seal; somebody may have written it to the storage. If version 0.1 wrote it, "
    "set RECOVERY['SEAL'] to None until such snapshots are gone"
)
_WRONG_SEAL = (
    "its seal is wrong: it was altered or copied in the storage, or sealed with a secret that "
    "isn't in RECOVERY['SECRET'] or ['SECRET_FALLBACKS']; add that secret, or find out who can "
    "write to the storage and revoke the snapshot"
)
_UNSEALED = (
    "it has no seal: its seal was removed in the storage, or a process with RECOVERY['SEAL'] off "
    "wrote it; use the same value in all processes, or find out who can write to the storage"
)
_NO_KEYS = (
    "it is encrypted, and RECOVERY['ENCRYPTION_KEYS'] isn't set; set it to the key that "
    "encrypted it"
)


class Sealer:
    """Seals and verifies snapshots, and encrypts them if there is a cipher.

    ``is_on`` says whether to seal and to verify; ``reads_unsealed``, whether snapshots of the
    first format, which has no seal, are read.
    """

    __slots__ = ("_binding_keys", "_cipher", "_seal_keys", "flags", "is_on", "reads_unsealed")

    def __init__(
        self, signer: TokenSigner, *, is_on: bool, reads_unsealed: bool, cipher: Cipher | None
    ) -> None:
        self.is_on = is_on
        self.reads_unsealed = reads_unsealed
        self.flags = 0 if cipher is None else ENCRYPTED
        """The flags of what `finish` makes."""
        self._cipher = cipher
        self._seal_keys = signer.derive_keys(_SEAL_KEY)
        self._binding_keys = signer.derive_keys(_BINDING_KEY)

    # The digest of the binding.

    def digest_binding(self, key: str, binding: bytes) -> bytes:
        """Return the digest of a binding in new snapshots of the socket ``key``."""
        if not self.is_on:
            return digest_binding(binding)
        return self._binding_keys[0].mac(key.encode(), binding)[:DIGEST_SIZE]

    def digest_anew(self, grant: Grant, binding: bytes, *, is_outdated: bool) -> bytes:
        """Return the digest for a snapshot that is bound to ``binding`` from now on.

        It is the plain one if the snapshot has that, unless that is known to be outdated: the
        snapshot may be of the first format, which requires a plain digest.
        """
        if self.is_on and not is_outdated and grant.claim.binding == digest_binding(grant.binding):
            return digest_binding(binding)
        return self.digest_binding(grant.key, binding)

    def adopt_digest(self, grant: Grant, digest: bytes) -> bool:
        """Have the grant use ``digest``; return false if it is of another binding."""
        if digest == grant.claim.binding:
            return True
        name = grant.key.encode()
        keyed = (key.mac(name, grant.binding)[:DIGEST_SIZE] for key in self._binding_keys)
        if digest != digest_binding(grant.binding) and digest not in keyed:
            return False
        grant.claim = Claim(grant.claim.issued_us, digest)
        return True

    def is_outdated(self, header: Header, newest: bytes) -> bool:
        """Return whether a snapshot should get the digest ``newest`` in place of its own."""
        is_kept = self.is_on and header.format == FIRST_FORMAT
        return header.binding != newest and not is_kept

    # The seal.

    def finish(self, key: str, head: bytes, replies: bytes, state: bytes) -> bytes:
        """Return a snapshot's bytes: ``head`` and the rest, encrypted and sealed as configured.

        ``head`` is the result of `encode_head` with these `flags`.
        """
        if self._cipher is not None:
            replies, state = b"", self._cipher.encrypt(key, _signed(head), replies, state)
        if not self.is_on:
            return b"".join((head, replies, state))
        rest = head[SEAL.stop :]
        seal = self._seal_keys[0].mac_of_pieces(_fixed(key, head) + rest, replies, state)
        return b"".join((head[: SEAL.start], seal[:SEAL_SIZE], rest, replies, state))

    def unseal(
        self, snapshot: Snapshot, key: str, data: bytes, binding: bytes | None = None
    ) -> None:
        """Verify a snapshot, which is in ``data``, and decrypt its replies and state in place.

        ``binding`` is that of the token, if there is one. Raises `SnapshotCorrupt`.
        """
        if self.is_on:
            self._verify(snapshot, key, data, binding)
        if not snapshot.header.encrypted:
            return
        if self._cipher is None:
            raise EncryptionKeyUnknown(_NO_KEYS)
        head = data[: len(data) - len(snapshot.state) - len(snapshot.replies)]
        snapshot.replies, snapshot.state = self._cipher.decrypt(key, _signed(head), snapshot.state)

    def _verify(self, snapshot: Snapshot, key: str, data: bytes, binding: bytes | None) -> None:
        header = snapshot.header
        if header.format == FIRST_FORMAT:
            # Whoever only reads the storage can't make the plain digest of somebody's binding.
            is_plain = binding is None or header.binding == digest_binding(binding)
            if not (self.reads_unsealed and is_plain):
                raise SnapshotCorrupt(_NO_SEAL)
            return
        fixed = _fixed(key, data)
        rest = memoryview(data)[SEAL.stop :]
        for seal_key in self._seal_keys:
            seal = seal_key.mac_of_pieces(fixed, rest)[:SEAL_SIZE]
            if hmac.compare_digest(seal, snapshot.seal):
                return
        raise SnapshotCorrupt(_UNSEALED if snapshot.seal == UNSEALED else _WRONG_SEAL)


def _fixed(key: str, data: bytes) -> bytes:
    # With its length the key ends where it does for one reading only.
    name = key.encode()
    return b"%d %b%b" % (len(name), name, fixed_parts(data))


def _signed(head: bytes) -> bytes:
    return fixed_parts(head) + head[SEAL.stop :]
