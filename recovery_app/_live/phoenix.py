"""Own the wire: frames of the Phoenix channels protocol, in and out.

Three shapes come in, and an answer has the shape of its question: version 2 arrays
``[join_ref, ref, topic, event, payload]`` (as text, or a push as bytes), version 1 objects,
and bare objects without a topic. Source: ``assets/js/phoenix/serializer.js`` of Phoenix.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias, TypeGuard

import orjson

JOIN = "phx_join"
LEAVE = "phx_leave"
REPLY = "phx_reply"
CLOSE = "phx_close"
HEARTBEAT = "heartbeat"
TOKEN = "recovery:token"
SYSTEM_TOPIC = "phoenix"
_OBJECT_KEYS = {"join_ref", "ref", "topic", "event", "payload"}
_BINARY_PUSH = 0
_BINARY_HEAD = 5

Ref: TypeAlias = "str | int | None"
Payload: TypeAlias = "dict[str, Any] | bytes"


class Shape(enum.Enum):
    """How the client writes its frames."""

    V2 = "array"
    V1 = "object"
    BARE = "object without topic"


# Not frozen, as it is made for each message: that would take several times as long.
@dataclass(slots=True, kw_only=True)
class Frame:
    """One message from the client. ``payload`` is bytes in a binary push."""

    shape: Shape
    topic: str
    event: str
    payload: Payload = field(repr=False)
    ref: Ref = None
    join_ref: Ref = None

    @property
    def is_heartbeat(self) -> bool:
        """Tell the client's sign of life, which belongs to no topic."""
        return self.event == HEARTBEAT and self.topic in (SYSTEM_TOPIC, "")

    def reply(self, status: str, response: Mapping[str, Any] | bytes) -> str:
        """Write the answer to this frame; ``status`` is ``"ok"`` or ``"error"``.

        A response in bytes is what `encode` gave.
        """
        body = orjson.Fragment(response) if isinstance(response, bytes) else response
        payload = {"status": status, "response": body}
        if self.shape is Shape.V2:
            return dumps([self.join_ref, self.ref, self.topic, REPLY, payload])
        answer = {"topic": self.topic, "event": REPLY, "payload": payload, "ref": self.ref}
        if self.join_ref is not None:
            answer["join_ref"] = self.join_ref
        return dumps(answer)

    def push(self, event: str, payload: Mapping[str, Any], *, ref: Ref = None) -> str:
        """Write a message to the topic that this frame joined."""
        if self.shape is Shape.V2:
            return dumps([self.join_ref, ref, self.topic, event, payload])
        message = {"topic": self.topic, "event": event, "payload": payload, "ref": ref}
        if self.join_ref is not None:
            message["join_ref"] = self.join_ref
        return dumps(message)

    def close(self) -> str:
        """Write that the join of this frame has ended."""
        return self.push(CLOSE, {}, ref=self.join_ref)


def loads(text: str) -> Any:
    """Read JSON from the wire; `ValueError` for anything else.

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


def dumps(value: object) -> str:
    """Write JSON for the wire; `TypeError` for what JSON can't carry.

    Dates, UUIDs and decimals, which a state may hold, become strings; any mapping becomes
    an object.
    """
    return encode(value).decode()


def encode(value: object) -> bytes:
    """Do as `dumps`, in bytes."""
    return orjson.dumps(value, default=_default)


def parse(content: object) -> Frame | None:
    """Read a decoded JSON frame; ``None`` where it has none of the three shapes."""
    if isinstance(content, list) and len(content) == 5:
        join_ref, ref, topic, event, payload = content
        return _frame(Shape.V2, topic, event, payload, ref, join_ref)
    if isinstance(content, dict) and "event" in content and content.keys() <= _OBJECT_KEYS:
        shape = Shape.V1 if "topic" in content else Shape.BARE
        return _frame(
            shape,
            content.get("topic", ""),
            content["event"],
            content.get("payload"),
            content.get("ref"),
            content.get("join_ref"),
        )
    return None


def parse_binary(data: bytes) -> Frame | None:
    """Read a version 2 binary push; ``None`` for any other bytes."""
    if len(data) < _BINARY_HEAD or data[0] != _BINARY_PUSH:
        return None
    texts = []
    position = _BINARY_HEAD
    for length in data[1:_BINARY_HEAD]:
        texts.append(data[position : position + length])
        position += length
    if position > len(data):
        return None
    try:
        join_ref, ref, topic, event = (text.decode() for text in texts)
    except UnicodeDecodeError:
        return None
    return _frame(Shape.V2, topic, event, data[position:], ref or None, join_ref or None)


def _frame(
    shape: Shape, topic: object, event: object, payload: object, ref: object, join_ref: object
) -> Frame | None:
    if payload is None:
        payload = {}
    if (
        isinstance(topic, str)
        and isinstance(event, str)
        and isinstance(payload, (dict, bytes))
        and _is_ref(ref)
        and _is_ref(join_ref)
    ):
        return Frame(
            shape=shape, topic=topic, event=event, payload=payload, ref=ref, join_ref=join_ref
        )
    return None


def _is_ref(value: object) -> TypeGuard[Ref]:
    return value is None or (isinstance(value, (str, int)) and not isinstance(value, bool))


def _default(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} can't be sent as JSON")
