"""Own the JSON of a state.

Plain states are one JSON object. Where there are rich values, the object follows a ``~``, a
value in it that isn't JSON's own is a string ``~name:text``, and a string that starts with a
``~`` itself is written as ``~:`` and the string.
"""

from __future__ import annotations

import base64
import marshal
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from recovery_app.exceptions import SnapshotCorrupt
from recovery_app.serializers.rich import (
    CODECS,
    INTEGER,
    Codec,
    as_it_is,
    checked_float,
    checked_text,
    fits_64_bits,
    revive,
)
from recovery_app.serializers.walk import MAX_DEPTH, Encoders, decode, encode

# Makes orjson refuse what it would otherwise write as something else.
EXACT = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
MARK = "~"

# What marshal's bytes look like: a tuple starts with one of TUPLES. A float is g (or that with
# its high bit) and eight bytes, the exponent last; with all its bits set, it is NaN or infinite.
MARSHAL_VERSION = 4
TUPLES = (b"(", b")", b"\xa8", b"\xa9")
NOT_FINITE = tuple(
    (last, re.compile(last + rb"(?<=[g\xe7].{6}[\xf0-\xff]" + last + rb")", re.DOTALL))
    for last in (b"\x7f", b"\xff")
)


class JSONSerializer:
    """Write states as JSON, by orjson."""

    __slots__ = ()
    name = "json"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Encode a state, or raise ``UnserializableState``."""
        plain = _dumps_plain(state)
        if plain is not None:
            return plain
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


def _dumps_plain(state: Mapping[str, Any]) -> bytes | None:
    """Write a state in C, or give None if that might not come back as it is."""
    if type(state) is not dict:
        return None
    try:
        # orjson takes enums, UUIDs and NaN. marshal takes exact built-in types only, and what
        # it takes besides JSON's, orjson refuses. Its bytes are looked at and thrown away.
        seen = marshal.dumps(state, MARSHAL_VERSION)
        return None if _is_doubtful(seen) else orjson.dumps(state, option=EXACT)
    except (TypeError, ValueError):
        return None


def _is_doubtful(seen: bytes) -> bool:
    """Say whether marshal's bytes may hold a float that isn't finite, or tuples too deep."""
    for last, pattern in NOT_FINITE:
        if last in seen and pattern.search(seen):
            return True
    # orjson 3.13 counts no depth through tuples, and at some 2,000 of them overruns its memory.
    # Text may look like tuples; a state with much of it only takes the slow way.
    if len(seen) <= 2 * MAX_DEPTH:
        return False
    return sum(seen.count(code) for code in TUPLES if code in seen) > MAX_DEPTH


def _tagged(codec: Codec, value: Any) -> str:
    return f"{MARK}{codec.name}:{codec.dumps(value)}"


def _encoder(codec: Codec) -> Callable[[Any], str]:
    return lambda value: _tagged(codec, value)


def _integer(value: int) -> int | str:
    # orjson writes no more, and would read more as a float.
    return value if fits_64_bits(value) else _tagged(INTEGER, value)


def _text(value: str) -> str:
    return f"{MARK}:{checked_text(value)}" if value.startswith(MARK) else checked_text(value)


BYTES = Codec(
    name="bytes",
    code=8,
    dumps=lambda value: base64.b64encode(value).decode(),
    loads=lambda text: base64.b64decode(text, validate=True),
)
ENCODERS: Encoders = {
    **{kind: _encoder(codec) for kind, codec in CODECS.items()},
    bytes: _encoder(BYTES),
    int: _integer,
    float: checked_float,
    str: _text,
    bool: as_it_is,
    type(None): as_it_is,
}
BY_NAME = {codec.name: codec for codec in (*CODECS.values(), BYTES)}


def _revive(tagged: str) -> Any:
    name, separator, text = tagged[len(MARK) :].partition(":")
    if separator and not name:
        return text
    if not separator or name not in BY_NAME:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return revive(BY_NAME[name], text)
