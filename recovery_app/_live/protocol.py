"""The interface to a wire protocol: what comes in as messages, and goes out as texts.

Topics, joins and numbering know this module alone; `recovery_app._live.phoenix` is the one
protocol there is. What a reply or a push carries is JSON, whichever protocol it travels in.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

import orjson

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


class WireProtocol(Protocol):
    """Reads what a client sends, and writes what it is sent."""

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol of this protocol, for clients that ask for it."""

    def read(self, content: object) -> Message | None:
        """Return the message in decoded JSON; ``None`` where it isn't one of this protocol."""

    def read_bytes(self, data: bytes) -> Message | None:
        """Return the message in a binary frame; ``None`` where it isn't one of this protocol."""

    def reply(self, message: Message, response: Mapping[str, Any] | bytes, *, ok: bool) -> str:
        """Write the answer to a message. A response in bytes is what `to_json` returned."""

    def push(self, join: Message, event: str, payload: Mapping[str, Any]) -> str:
        """Write an event for the topic that ``join`` has joined."""

    def close(self, join: Message) -> str:
        """Write that the topic which ``join`` has joined is closed."""


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
    """Write JSON; raise `TypeError` for what JSON can't carry.

    Dates, UUIDs and decimals, which a state may hold, become strings; any mapping becomes
    an object.
    """
    return orjson.dumps(value, default=_default)


def _default(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} can't be sent as JSON")
