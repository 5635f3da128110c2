"""The stored value: the contents of a snapshot and their encoding, which stays readable.

A header of fixed size precedes the rest. All numbers are big-endian. The fields that a storage
changes in place (fence, floor, created, binding) are at fixed offsets.

========  =====  ==================================================================
offset    size   what
========  =====  ==================================================================
0         2      ``RS``
2         1      format: 1 or 2
3         1      flags: 1 a marker without state, left by ``revoke``; 2 encrypted
4         4      version of the state (the consumer's ``recovery_version``)
8         8      fence: lowest token timestamp that may save or touch
16        8      floor: lowest token timestamp that may take over
24        8      last applied seq, plus one; 0 for none
32        8      created, microseconds since 1970
40        8      saved, microseconds since 1970
48        16     digest of the binding: SHA-256, or a MAC in a sealed snapshot
64        16     digest of the person, zeros where nobody is known
80        16     seal: a MAC, zeros where there is none
96        12     sizes: of each text in 2 bytes, of the replies in 4
108       …      the texts, UTF-8: socket id, view, topic, name of the serializer
…         …      replies kept for repeated events
…         …      the serialized state
========  =====  ==================================================================

The seal covers the storage key and all the rest but the fields that a storage changes in place
(`recovery_app._core.sealing`). In an encrypted snapshot the size of the replies is 0, and the
state is what `recovery_app._core.encryption` makes of both.

Format 1, of version 0.1, has neither person nor seal: its sizes are at offset 64. Markers are
still written in it, so that every node of a rolling deploy can read them.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace
from functools import lru_cache

from recovery_app.exceptions import SnapshotCorrupt, VersionMismatch

FORMAT = 2
FIRST_FORMAT = 1
REVOKED = 1
ENCRYPTED = 2
DIGEST_SIZE = 16
SEAL_SIZE = 16
MAX_TEXT_BYTES = 0xFFFF
MAX_VERSION = 0xFFFFFFFF
MAX_SEQ = 0xFFFFFFFFFFFFFFFE
MAX_US = 2**62
"""The highest time and fence. It fits a signed column, and so does the next number."""
HEAD_BYTES = 4096
"""Enough for all that precedes the replies: three texts of 255 characters, a serializer's name."""
Texts = tuple[str, str, str, str]
"""Socket id, view, topic and the name of the serializer."""
_MAGIC = b"RS"
READABLE = tuple(_MAGIC + bytes((each,)) for each in (FIRST_FORMAT, FORMAT))
"""The first bytes of the snapshots that this version reads, one for each format."""
_HEADER = struct.Struct(f">2sBBIQQQQQ{DIGEST_SIZE}s")
_LENGTHS = struct.Struct(">HHHHI")
_PREFIX = struct.Struct(f"{_HEADER.format}{DIGEST_SIZE}s{SEAL_SIZE}s{_LENGTHS.format[1:]}")
_FIRST_PREFIX = struct.Struct(_HEADER.format + _LENGTHS.format[1:])
HEADER_BYTES = _HEADER.size
BINDING = slice(HEADER_BYTES - DIGEST_SIZE, HEADER_BYTES)
PERSON = slice(HEADER_BYTES, HEADER_BYTES + DIGEST_SIZE)
"""Where the digest of the person is, in format 2."""
SEAL = slice(PERSON.stop, PERSON.stop + SEAL_SIZE)
"""Where the seal is, in format 2."""
NOBODY = bytes(DIGEST_SIZE)
ANYONE = b"\xff" * DIGEST_SIZE
"""The digest of the person at a page of whom nothing is known. All of these count as one."""
UNSEALED = bytes(SEAL_SIZE)
_FENCING = struct.Struct(f">3s5xQQ8xQQ{DIGEST_SIZE}s")
"""Of a header: magic and format, fence, floor, created, saved, binding."""
_FIXED = struct.Struct(f">8s16x8s8x8s{DIGEST_SIZE}x{DIGEST_SIZE}s")
"""Of a snapshot: magic to version, last applied seq, saved, person."""

_NO_BINDING = hashlib.sha256()


@lru_cache(maxsize=1_000)
def digest_binding(binding: bytes) -> bytes:
    """Return the digest of a binding, 16 bytes, which identifies the owner of a snapshot."""
    # Copying saves OpenSSL's lookup of the algorithm, which is half of the time.
    digest = _NO_BINDING.copy()
    digest.update(binding)
    return digest.digest()[:DIGEST_SIZE]


@dataclass(slots=True)
class Header:
    """The part of a snapshot that decides which tokens may use it; times in microseconds."""

    fence: int
    floor: int
    binding: bytes
    flags: int = 0
    version: int = 0
    applied_seq: int | None = None
    created_us: int = 0
    saved_us: int = 0
    format: int = FORMAT

    @property
    def encrypted(self) -> bool:
        """Return whether the replies and the state are encrypted."""
        return bool(self.flags & ENCRYPTED)

    @property
    def revoked(self) -> bool:
        """Return whether this is the marker of a revocation, without state."""
        return bool(self.flags & REVOKED)

    @classmethod
    def read(cls, data: bytes) -> Header:
        """Return the header of a snapshot; raise `SnapshotCorrupt` or `VersionMismatch`."""
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise SnapshotCorrupt("the bytes aren't a snapshot's")
        _, format_, flags, version, fence, floor, seq, created, saved, binding = (
            _HEADER.unpack_from(data)
        )
        if format_ > FORMAT:
            raise VersionMismatch(stored=format_, supported=FORMAT, of_format=True)
        if not format_ or fence > MAX_US or floor > MAX_US or created > MAX_US or saved > MAX_US:
            raise SnapshotCorrupt("its header is broken")
        applied_seq = seq - 1 if seq else None
        return cls(fence, floor, binding, flags, version, applied_seq, created, saved, format_)

    def pack(self) -> bytes:
        """Return the 64 bytes of the header."""
        return _HEADER.pack(
            _MAGIC,
            self.format,
            self.flags,
            self.version,
            self.fence,
            self.floor,
            0 if self.applied_seq is None else self.applied_seq + 1,
            self.created_us,
            self.saved_us,
            self.binding,
        )

    def put_on(self, data: bytes) -> bytes:
        """Return the bytes of a snapshot with this header in place of its own."""
        return self.pack() + data[_HEADER.size :]


@dataclass(slots=True)
class Snapshot:
    """The stored state of one socket, with its metadata."""

    header: Header
    socket_id: str
    view: str
    topic: str
    serializer: str
    state: bytes = field(repr=False)
    replies: bytes = field(default=b"", repr=False)
    person: bytes = NOBODY
    seal: bytes = field(default=UNSEALED, repr=False)

    def to_bytes(self) -> bytes:
        """Return the bytes to store; format 1 has no room for person and seal."""
        texts = [text.encode() for text in (self.socket_id, self.view, self.topic, self.serializer)]
        lengths = _LENGTHS.pack(*map(len, texts), len(self.replies))
        added = (self.person, self.seal) if self.header.format > FIRST_FORMAT else ()
        return b"".join((self.header.pack(), *added, lengths, *texts, self.replies, self.state))

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Return the snapshot in stored bytes.

        Raise `SnapshotCorrupt`, or `VersionMismatch` for a newer format.
        """
        header, texts, replies, state = _parse(data)
        if state > len(data):
            raise SnapshotCorrupt("it is cut short")
        person, seal = NOBODY, UNSEALED
        if header.format > FIRST_FORMAT:
            person, seal = data[PERSON], data[SEAL]
        return cls(header, *texts, data[state:], data[replies:state], person, seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The metadata in the first bytes of a snapshot, without its state."""

    header: Header
    socket_id: str
    view: str
    topic: str
    serializer: str
    state_bytes: int
    person: bytes = NOBODY

    @classmethod
    def read(cls, data: bytes, total_bytes: int) -> Head:
        """Return the metadata in the first `HEAD_BYTES` of ``total_bytes``.

        Raise the errors of `Snapshot.from_bytes`.
        """
        header, (socket_id, view, topic, serializer), _, end = _parse(data)
        state_bytes = total_bytes - end
        if state_bytes < 0:
            raise SnapshotCorrupt("it is cut short")
        return cls(
            header=header,
            socket_id=socket_id,
            view=view,
            topic=topic,
            serializer=serializer,
            state_bytes=state_bytes,
            person=data[PERSON] if header.format > FIRST_FORMAT else NOBODY,
        )


def encode_head(
    claim_us: int,
    floor_us: int,
    binding: bytes,
    *,
    now_us: int,
    version: int,
    applied_seq: int | None,
    texts: Texts,
    replies_bytes: int,
    person: bytes = NOBODY,
    flags: int = 0,
) -> bytes:
    """Return the part before replies and state of a snapshot saved at ``now_us``, unsealed."""
    socket_id, view_name, topic_name, serializer = texts
    id_, view = socket_id.encode(), view_name.encode()
    topic, name = topic_name.encode(), serializer.encode()
    prefix = _PREFIX.pack(
        _MAGIC,
        FORMAT,
        flags,
        version,
        claim_us,
        floor_us,
        0 if applied_seq is None else applied_seq + 1,
        now_us,
        now_us,
        binding,
        person,
        UNSEALED,
        len(id_),
        len(view),
        len(topic),
        len(name),
        replies_bytes,
    )
    return b"".join((prefix, id_, view, topic, name))


def replace_binding(data: bytes, digest: bytes) -> bytes:
    """Return the bytes of a snapshot with another digest of the binding."""
    return b"".join((data[: BINDING.start], digest, data[BINDING.stop :]))


def fixed_parts(data: bytes) -> bytes:
    """Return the parts of the first 80 bytes of a snapshot that storages never change."""
    return b"".join(_FIXED.unpack_from(data))


def revoked_marker(header: Header) -> bytes:
    """Return the marker that replaces a revoked snapshot."""
    marker = replace(header, flags=REVOKED, applied_seq=None, version=0, format=FIRST_FORMAT)
    return Snapshot(
        header=marker, socket_id="", view="", topic="", serializer="", state=b""
    ).to_bytes()


def read_fencing(data: bytes) -> tuple[int, int, bytes] | None:
    """Return fence, floor and digest of the binding; ``None`` if `Header.read` would raise."""
    if len(data) < HEADER_BYTES:
        return None
    start, fence, floor, created, saved, binding = _FENCING.unpack_from(data)
    is_sound = fence <= MAX_US and floor <= MAX_US and created <= MAX_US and saved <= MAX_US
    return (fence, floor, binding) if is_sound and start in READABLE else None


def is_marker(data: bytes) -> bool:
    """Return whether stored bytes are the marker of a revocation."""
    try:
        return Header.read(data).revoked
    except (SnapshotCorrupt, VersionMismatch):
        return False


def socket_id_in(data: bytes) -> str:
    """Return the socket id in stored bytes, or ``""`` if they are unreadable."""
    try:
        return Snapshot.from_bytes(data).socket_id
    except (SnapshotCorrupt, VersionMismatch):
        return ""


def _parse(data: bytes) -> tuple[Header, Texts, int, int]:
    """Return the header, the texts, and the offsets at which replies and state start."""
    prefix = _FIRST_PREFIX if data.startswith(READABLE[0]) else _PREFIX
    if len(data) < prefix.size or read_fencing(data) is None:
        Header.read(data)
        raise SnapshotCorrupt("its fields are broken")
    (_, format_, flags, version, fence, floor, seq, created, saved, binding, *rest) = (
        prefix.unpack_from(data)
    )
    id_bytes, view_bytes, topic_bytes, name_bytes, replies_bytes = rest[-5:]
    start = prefix.size
    view = start + id_bytes
    topic = view + view_bytes
    name = topic + topic_bytes
    replies = name + name_bytes
    if replies > len(data):
        raise SnapshotCorrupt("its fields are cut short")
    try:
        texts = (
            data[start:view].decode(),
            data[view:topic].decode(),
            data[topic:name].decode(),
            data[name:replies].decode(),
        )
    except UnicodeDecodeError as error:
        raise SnapshotCorrupt("its fields are broken") from error
    applied_seq = seq - 1 if seq else None
    header = Header(fence, floor, binding, flags, version, applied_seq, created, saved, format_)
    return header, texts, replies, replies + replies_bytes
