"""A WebSocket on the wire: its opening request, and the messages in a stream of bytes.

Messages are never compressed, as the proxy removes the extensions from the request. Source:
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
    """Return whether a request opens a WebSocket."""
    return bool(_UPGRADE.search(head.replace(b"\r\n", b"\n")))


def without_extensions(head: bytes) -> bytes:
    """Return a request without the offer of extensions, such as compression."""
    return _EXTENSIONS.sub(b"", head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message; ``raw`` is its bytes on the wire, ``text`` is empty unless it is a text."""

    raw: bytes
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _WebSocketFrame:
    raw: bytes
    opcode: int
    is_final: bool
    payload: bytes


@dataclass(slots=True)
class MessageReader:
    """A parser for one direction of a WebSocket."""

    _buffer: bytes = b""
    _fragments: list[_WebSocketFrame] = field(default_factory=list)

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete after more data, in order."""
        self._buffer += data
        while frame := _first_frame(self._buffer):
            self._buffer = self._buffer[len(frame.raw) :]
            if frame.opcode >= _CONTROL:
                # A control frame may come between two fragments of a message.
                yield Message(raw=frame.raw, text="")
                continue
            self._fragments.append(frame)
            if frame.is_final:
                yield self._assemble()

    def _assemble(self) -> Message:
        fragments, self._fragments = self._fragments, []
        content = b"".join(fragment.payload for fragment in fragments)
        text = content.decode(errors="replace") if fragments[0].opcode == TEXT else ""
        return Message(raw=b"".join(fragment.raw for fragment in fragments), text=text)


def _first_frame(data: bytes) -> _WebSocketFrame | None:
    """Return the frame at the start of the data, or ``None`` if it is incomplete."""
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
    return _WebSocketFrame(
        raw=data[:end],
        opcode=data[0] & 0x0F,
        is_final=bool(data[0] & 0x80),
        payload=_unmask(payload, mask) if is_masked else payload,
    )


def _unmask(payload: bytes, mask: bytes) -> bytes:
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return masked.to_bytes(len(payload), "big")
