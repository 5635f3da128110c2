"""The interface of a wire protocol, which reads messages and writes texts.

Topics, joins and numbering know only this module; `recovery_app._live.phoenix` is the only
implementation. The contents of replies and pushes are JSON, in any protocol.
"""

from __future__ import annotations

import enum
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Protocol, TypeAlias

import orjson
from django.utils.duration import duration_iso_string

Ref: TypeAlias = "str | int | None"
Payload: TypeAlias = "dict[str, Any] | bytes"
TOKEN_EVENT = "recovery:token"
"""The event by which a client learns of a new token between joins."""


class Kind(enum.Enum):
    """What a message is for."""

    JOIN = "join"
    LEAVE = "leave"
    HEARTBEAT = "heartbeat"
    EVENT = "event"


@dataclass(slots=True)
class Message:
    """One message from the client.

    ``payload`` is bytes in a binary push. ``shape`` is the protocol's own: how the client
    writes its messages, so that each answer is written in the same way. ``ref`` and
    ``join_ref`` are echoed as they came. ``size_bytes`` is the size of the whole frame.
    """

    kind: Kind
    topic: str
    event: str
    payload: Payload = field(repr=False)
    ref: Ref
    join_ref: Ref
    shape: Any = field(repr=False)
    size_bytes: int = 0


@dataclass(slots=True)
class OtherFrame:
    """A WebSocket message outside the protocol, for the application's own code.

    ``message`` is the ASGI event; ``content`` is its decoded JSON, if ``is_json``.
    """

    message: Mapping[str, Any] = field(repr=False)
    is_json: bool = False
    content: object = field(default=None, repr=False)
    size_bytes: int = 0

    @property
    def is_from_htmx(self) -> bool:
        """Whether the ``ws`` extension of htmx sent it."""
        return isinstance(self.content, Mapping) and "HEADERS" in self.content

    @property
    def is_text(self) -> bool:
        """Whether it is text, and not bytes."""
        return self.message.get("text") is not None


class WireProtocol(Protocol):
    """Reads the client's frames, and writes those for the client."""

    subprotocol: ClassVar[str]
    """The name of the protocol in a WebSocket's handshake (RFC 6455, section 1.9)."""

    def read(self, content: object) -> Message | None:
        """Return the message in decoded JSON; ``None`` if it isn't part of this protocol."""

    def read_bytes(self, data: bytes) -> Message | None:
        """Return the message in a binary frame; ``None`` if it isn't part of this protocol."""

    def reply(self, message: Message, response: Mapping[str, Any] | bytes, *, ok: bool) -> str:
        """Write the answer to a message. A response in bytes is what `to_json` returned."""

    def push(self, join: Message, event: str, payload: Mapping[str, Any] | bytes) -> str:
        """Write an event for the topic that ``join`` has joined; bytes are from `to_json`."""

    def close(self, join: Message) -> str:
        """Write that the topic which ``join`` has joined is closed."""


MAX_DEPTH = 254
"""How deep orjson nests."""


def from_json(text: str) -> Any:
    """Read JSON from the wire; raise `ValueError` for anything else.

    A page may send half of a surrogate pair (a text cut by ``maxlength``): it becomes
    U+FFFD, as no storage could keep it.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if "\\u" not in text:
            raise
    try:
        mended = json.dumps(json.loads(text), ensure_ascii=False)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    return orjson.loads(mended.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def to_json(value: object) -> bytes:
    """Write JSON; raise `TypeError` for values that can't be sent.

    Every value that a state may contain can be sent. Types that JSON lacks become strings: dates
    and times (ISO 8601), durations (ISO 8601), decimals, UUIDs, bytes (base64), and whole numbers
    beyond 64 bits. Any mapping becomes an object.
    """
    try:
        return orjson.dumps(value, default=_default)
    except TypeError:
        # Some values it refuses without asking for another.
        return orjson.dumps(_sendable(value), default=_default)


def _default(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} can't be sent as JSON")


def _sendable(value: object, depth: int = 0) -> object:
    """Return the value with strings for large numbers, and for times that have a zone."""
    if depth > MAX_DEPTH:
        raise TypeError(f"values nested more than {MAX_DEPTH} deep can't be sent")
    if isinstance(value, Mapping):
        return {key: _sendable(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sendable(each, depth + 1) for each in value]
    if isinstance(value, time):
        return value.isoformat()
    is_large = type(value) is int and not -(2**63) <= value < 2**64
    return str(value) if is_large else value
