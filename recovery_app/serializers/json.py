"""The JSON serializer.

A plain state is one JSON object. With extended values, the object follows a ``~``; a value that
JSON doesn't have is a string ``~name:text``, and a string that starts with ``~`` is preceded by
``~:``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson

from recovery_app.exceptions import SnapshotCorrupt
from recovery_app.serializers.fast_path import PLACEHOLDER, all_as, write, write_plain
from recovery_app.serializers.slow_path import decode, encode
from recovery_app.serializers.types import (
    BIG_INT,
    EXTENDED_TYPES,
    Encoders,
    ExtendedType,
    checked_float,
    checked_text,
    decode_text,
    fits_64_bits,
)

MARK = "~"


class JSONSerializer:
    """The serializer for JSON, by orjson."""

    __slots__ = ()
    name = "json"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Return a state as JSON; raise ``UnserializableState``."""
        plain = write_plain(state)
        if plain is not None:
            return plain[0]
        written = write(state, IN_C, PLACEHOLDERS)
        if written and not written.extended:
            return written.text
        # More marks than extended values would mean that a string has to be escaped.
        if written and written.text.count(b'"~') == written.extended:
            return b"~" + written.text
        data = orjson.dumps(encode(state, ENCODERS))
        return b"~" + data if b'"~' in data else data

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Return the state in the bytes that ``dumps`` returned; raise ``SnapshotCorrupt``."""
        is_extended = data.startswith(b"~")
        try:
            state = orjson.loads(data[1:] if is_extended else data)
        except orjson.JSONDecodeError as error:
            # Not chained, as it contains the whole document.
            raise SnapshotCorrupt(f"it isn't valid JSON (from character {error.pos})") from None
        if type(state) is not dict:
            raise SnapshotCorrupt("it isn't a JSON object")
        return decode(state, _decode_tagged, MARK) if is_extended else state


def _tagged(extended: ExtendedType, value: Any) -> str:
    return f"{MARK}{extended.name}:{extended.dumps(value)}"


def _encoder(extended: ExtendedType) -> Callable[[Any], str]:
    return lambda value: _tagged(extended, value)


def _integer(value: int) -> int | str:
    return value if fits_64_bits(value) else _tagged(BIG_INT, value)


def _text(value: str) -> str:
    checked_text(value)
    return f"{MARK}:{value}" if value.startswith(MARK) else value


BYTES = ExtendedType(
    name="bytes",
    code=0,
    dumps=lambda value: base64.b64encode(value).decode(),
    loads=lambda text: base64.b64decode(text, validate=True),
)
ENCODERS: Encoders = {
    **{kind: _encoder(extended) for kind, extended in EXTENDED_TYPES.items()},
    bytes: _encoder(BYTES),
    int: _integer,
    float: checked_float,
    str: _text,
}
# orjson encodes UUIDs as plain text, so only the slow path can encode them.
IN_C: Encoders = {kind: encoder for kind, encoder in ENCODERS.items() if kind is not UUID}
PLACEHOLDERS = all_as(PLACEHOLDER, IN_C)
BY_NAME = {extended.name: extended for extended in (*EXTENDED_TYPES.values(), BYTES)}


def _decode_tagged(tagged: str) -> Any:
    name, separator, text = tagged[len(MARK) :].partition(":")
    if separator and not name:
        return text
    if not separator or name not in BY_NAME:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return decode_text(BY_NAME[name], text)
