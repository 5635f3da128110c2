"""Own the bytes of a WebSocket: its opening request, and whole messages out of a stream.

Nothing is compressed: the proxy takes the offer of extensions out of the request. Source:
RFC 6455, sections 4.1 and 5.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TEXT = 1
HEAD_END = b"\r\n\r\n"
_CONTROL = 8
_UPGRADE = re.compile(rb"^upgrade:\s*websocket\s*$", re.IGNORECASE | re.MULTILINE)
_EXTENSIONS = re.compile(rb"^sec-websocket-extensions:.*\r\n", re.IGNORECASE | re.MULTILINE)


def is_upgrade(head: bytes) -> bool:
    """Say whether a request asks for a WebSocket."""
    return bool(_UPGRADE.search(head.replace(b"\r\n", b"\n")))


def without_extensions(head: bytes) -> bytes:
    """Take the offer to compress out of a request."""
    return _EXTENSIONS.sub(b"", head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; ``raw`` is how it was on the wire, ``text`` is empty but for a text."""

    raw: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    raw: bytes
    opcode: int
    is_final: bool
    payload: bytes


@dataclass(slots=True)
class MessageReader:
    """Cut one direction of a WebSocket into messages."""

    _rest: bytes = b""
    _parts: list[_Frame] = field(default_factory=list)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Give each message that is complete now, in order."""
        self._rest += data
        while frame := _first_frame(self._rest):
            self._rest = self._rest[len(frame.raw) :]
            if frame.opcode >= _CONTROL:
                # It may stand between two parts of a message, and isn't one of them.
                yield Message(raw=frame.raw, text="")
                continue
            self._parts.append(frame)
            if frame.is_final:
                yield self._join_parts()

    def _join_parts(self) -> Message:
        parts, self._parts = self._parts, []
        content = b"".join(part.payload for part in parts)
        text = content.decode(errors="replace") if parts[0].opcode == TEXT else ""
        return Message(raw=b"".join(part.raw for part in parts), text=text)


def _first_frame(data: bytes) -> _Frame | None:
    """Give the frame that the bytes begin with, or ``None`` where it isn't complete."""
    if len(data) < 2:
        return None
    position, length, is_masked = 2, data[1] & 0x7F, bool(data[1] & 0x80)
    if wide := {126: 2, 127: 8}.get(length, 0):
        position += wide
        length = int.from_bytes(data[2:position], "big")
    mask = data[position : position + 4] if is_masked else b""
    position += 4 if is_masked else 0
    end = position + length
    if len(data) < max(position, end):
        return None
    payload = data[position:end]
    return _Frame(
        raw=data[:end],
        opcode=data[0] & 0x0F,
        is_final=bool(data[0] & 0x80),
        payload=_unmask(payload, mask) if is_masked else payload,
    )


def _unmask(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return mixed.to_bytes(len(payload), "big")
