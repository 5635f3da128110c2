"""The Phoenix channels protocol, as the npm client ``phoenix`` speaks it.

Clients send frames in three shapes, and each reply has the shape of its request: version 2 arrays
``[join_ref, ref, topic, event, payload]`` (as text, or a push as bytes), version 1 objects,
and bare objects without a topic. Source: ``assets/js/phoenix/serializer.js`` of Phoenix.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, TypeGuard

import orjson

from recovery_app._live.protocol import Kind, Message, Ref, to_json

JOIN = "phx_join"
LEAVE = "phx_leave"
REPLY = "phx_reply"
CLOSE = "phx_close"
HEARTBEAT = "heartbeat"
SYSTEM_TOPIC = "phoenix"
_OBJECT_KEYS = {"join_ref", "ref", "topic", "event", "payload"}
MAX_REF_LENGTH = 64
MAX_REF = 2**53 - 1
_BINARY_PUSH = 0
_BINARY_HEAD = 5
_KINDS = {JOIN: Kind.JOIN, LEAVE: Kind.LEAVE}


class Shape(enum.Enum):
    """How a client writes its frames."""

    V2 = "array"
    V1 = "object"
    BARE = "object without topic"


class PhoenixProtocol:
    """Reads and writes the frames of Phoenix channels."""

    subprotocol: ClassVar[str] = "phoenix"
    """Offered by the npm client from version 1.8 on if it has an ``authToken``."""

    def read(self, content: object) -> Message | None:
        """Return the message in decoded JSON; ``None`` if it has none of the three shapes."""
        if isinstance(content, list) and len(content) == 5:
            join_ref, ref, topic, event, payload = content
            return _message(Shape.V2, topic, event, payload, ref, join_ref)
        if isinstance(content, dict) and "event" in content and content.keys() <= _OBJECT_KEYS:
            return _message(
                Shape.V1 if "topic" in content else Shape.BARE,
                content.get("topic", ""),
                content["event"],
                content.get("payload"),
                content.get("ref"),
                content.get("join_ref"),
            )
        return None

    def read_bytes(self, data: bytes) -> Message | None:
        """Return the message in a version 2 binary push; ``None`` for any other bytes."""
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
        return _message(Shape.V2, topic, event, data[position:], ref or None, join_ref or None)

    def reply(self, message: Message, response: Mapping[str, Any] | bytes, *, ok: bool) -> str:
        """Write the answer to a message. A response in bytes is what `to_json` returned."""
        body = orjson.Fragment(response) if isinstance(response, bytes) else response
        payload = {"status": "ok" if ok else "error", "response": body}
        return _write(message, message.ref, REPLY, payload)

    def push(self, join: Message, event: str, payload: Mapping[str, Any] | bytes) -> str:
        """Write an event for the topic that ``join`` has joined; bytes are from `to_json`."""
        body = orjson.Fragment(payload) if isinstance(payload, bytes) else payload
        return _write(join, None, event, body)

    def close(self, join: Message) -> str:
        """Write that the topic which ``join`` has joined is closed."""
        return _write(join, join.join_ref, CLOSE, {})


def _write(message: Message, ref: Ref, event: str, payload: object) -> str:
    """Write a frame for the topic of a message, in its shape."""
    if message.shape is Shape.V2:
        return to_json([message.join_ref, ref, message.topic, event, payload]).decode()
    frame = {"topic": message.topic, "event": event, "payload": payload, "ref": ref}
    if message.join_ref is not None:
        frame["join_ref"] = message.join_ref
    return to_json(frame).decode()


def _message(
    shape: Shape, topic: object, event: object, payload: object, ref: object, join_ref: object
) -> Message | None:
    if payload is None:
        payload = {}
    if (
        isinstance(topic, str)
        and isinstance(event, str)
        and isinstance(payload, (dict, bytes))
        and _is_ref(ref)
        and _is_ref(join_ref)
    ):
        return Message(_kind(topic, event), topic, event, payload, ref, join_ref, shape)
    return None


def _kind(topic: str, event: str) -> Kind:
    if event == HEARTBEAT and topic in (SYSTEM_TOPIC, ""):
        return Kind.HEARTBEAT
    return _KINDS.get(event, Kind.EVENT)


def _is_ref(value: object) -> TypeGuard[Ref]:
    if isinstance(value, str):
        return len(value) <= MAX_REF_LENGTH
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= MAX_REF
    return value is None
