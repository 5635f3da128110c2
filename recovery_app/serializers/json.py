"""Own the JSON of a state.

Plain states are one JSON object. Where there are rich values, the object follows a ``~``, a
value in it that isn't JSON's own is a string ``~name:text``, and a string that starts with a
``~`` itself is written as ``~:`` and the string.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import orjson

from recovery_app.exceptions import SnapshotCorrupt
from recovery_app.serializers.fast_path import HOLE, all_as, write, write_plain
from recovery_app.serializers.slow_path import decode, encode
from recovery_app.serializers.types import (
    BIG_INT,
    CODECS,
    Codec,
    Encoders,
    checked_float,
    checked_text,
    fits_64_bits,
    revive,
)

MARK = "~"


class JSONSerializer:
    """Write states as JSON, by orjson."""

    __slots__ = ()
    name = "json"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Encode a state, or raise ``UnserializableState``."""
        plain = write_plain(state)
        if plain is not None:
            return plain[0]
        written = write(state, IN_C, HOLES)
        if written and not written.rich:
            return written.text
        # More marks than rich values: a string of the state's own has one, and needs escaping.
        if written and written.text.count(b'"~') == written.rich:
            return b"~" + written.text
        data = orjson.dumps(encode(state, ENCODERS))
        return b"~" + data if b'"~' in data else data

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Decode what ``dumps`` gave, or raise ``SnapshotCorrupt``."""
        rich = data.startswith(b"~")
        try:
            state = orjson.loads(data[1:] if rich else data)
        except orjson.JSONDecodeError as error:
            # Not chained: it holds the whole document.
            raise SnapshotCorrupt(f"it is no JSON (from character {error.pos})") from None
        if type(state) is not dict:
            raise SnapshotCorrupt("it is no JSON object")
        return decode(state, _revive, MARK) if rich else state


def _tagged(codec: Codec, value: Any) -> str:
    return f"{MARK}{codec.name}:{codec.dumps(value)}"


def _encoder(codec: Codec) -> Callable[[Any], str]:
    return lambda value: _tagged(codec, value)


def _integer(value: int) -> int | str:
    return value if fits_64_bits(value) else _tagged(BIG_INT, value)


def _text(value: str) -> str:
    checked_text(value)
    return f"{MARK}:{value}" if value.startswith(MARK) else value


BYTES = Codec(
    name="bytes",
    code=0,
    dumps=lambda value: base64.b64encode(value).decode(),
    loads=lambda text: base64.b64decode(text, validate=True),
)
ENCODERS: Encoders = {
    **{kind: _encoder(codec) for kind, codec in CODECS.items()},
    bytes: _encoder(BYTES),
    int: _integer,
    float: checked_float,
    str: _text,
}
# orjson writes UUIDs by itself, as text; so they have to be found by the walk.
IN_C: Encoders = {kind: encoder for kind, encoder in ENCODERS.items() if kind is not UUID}
HOLES = all_as(HOLE, IN_C)
BY_NAME = {codec.name: codec for codec in (*CODECS.values(), BYTES)}


def _revive(tagged: str) -> Any:
    name, separator, text = tagged[len(MARK) :].partition(":")
    if separator and not name:
        return text
    if not separator or name not in BY_NAME:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return revive(BY_NAME[name], text)
