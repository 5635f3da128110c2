"""Own the fast way: write a state in C, and know whether it will come back as it is.

Each of the two C encoders silently takes something that would come back as something else:
orjson an enum (as its value), a UUID (as text), NaN (as null) and tuples at any depth; msgpack
keys of any type, bytearrays and NaN. What one lets through the other refuses, and NaN shows as a
null in the one and in the other's bytes. So both write each state, whichever of the two is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import orjson

from recovery_app.serializers.types import Encoders, Unfit

MAX_DEPTH = 254
"""How many dicts and lists may be inside each other; orjson writes no more."""

FIRST_BUFFER_BYTES = 4096
"""What most states fit into: msgpack's own 256 KiB, taken anew each time, cost more than they."""

# Makes orjson refuse subclasses and leave the rich types that it has a text for to us.
EXACT = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
HOLE = msgpack.ExtType(0, b"")
"""What may stand for a rich value in MessagePack that is thrown away."""

# How NaN and infinities start in MessagePack, as double and as single.
NOT_FINITE = (re.compile(rb"\xcb[\x7f\xff]"), re.compile(rb"\xca[\x7f\xff]"))


class Written(NamedTuple):
    """A state in both formats, and how many of its values were rich."""

    text: bytes
    packed: bytes
    rich: int


def write(state: Mapping[str, Any], as_text: Encoders, as_packed: Encoders) -> Written | None:
    """Write a state with rich values or tuples in it, or give None where something might not
    come back as it is.

    Rich values are those of the types that have encoders, the same for both formats; in
    MessagePack, they make extension types of them.
    """
    if type(state) is not dict:
        return None
    written = _write_rich(state, as_text, as_packed)
    return None if written is None or _may_hold_nan(written.text, written.packed) else written


def write_plain(state: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    """Write a state as JSON and MessagePack, or give None where `write` has to be asked.

    Most states have neither rich values nor tuples, and then this is all.
    """
    if type(state) is not dict:
        return None
    try:
        packed = pack(state)
        text = orjson.dumps(state, option=EXACT)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if _may_hold_nan(text, packed) else (text, packed)


def _may_hold_nan(text: bytes, packed: bytes) -> bool:
    return b"null" in text and may_hold_nan(packed)


def _write_rich(state: dict[str, Any], as_text: Encoders, as_packed: Encoders) -> Written | None:
    tuples, rich = count(), count()

    def pack_other(value: Any) -> Any:
        if type(value) is tuple:
            next(tuples)
            return list(value)
        return _encode(value, as_packed)

    def write_other(value: Any) -> Any:
        next(rich)
        return _encode(value, as_text)

    try:
        packed = pack(state, pack_other)
        if next(tuples):
            # orjson 3.13 counts no depth through tuples, and at 2,000 of them overruns its
            # memory. So it gets the lists that msgpack made of them, and refuses rich values.
            text = orjson.dumps(msgpack.unpackb(packed), option=EXACT)
        else:
            text = orjson.dumps(state, default=write_other, option=EXACT)
    except (TypeError, ValueError, Unfit):
        return None
    return Written(text, packed, next(rich))


def all_as(placeholder: Any, encoders: Encoders) -> Encoders:
    """Give encoders for the same types that make the placeholder of everything."""
    return dict.fromkeys(encoders, lambda _value: placeholder)


def is_exact(state: dict[str, Any], packed: bytes, nulls: Encoders) -> bool:
    """Say whether all that was read from MessagePack is exact; may be wrong only in saying no."""
    try:
        orjson.dumps(state, default=lambda value: _encode(value, nulls), option=EXACT)
    except TypeError:
        return False
    return not may_hold_nan(packed)


def _encode(value: Any, encoders: Encoders) -> Any:
    kind = type(value)
    if kind not in encoders:
        raise TypeError
    return encoders[kind](value)


def pack(state: dict[str, Any], encode: Callable[[Any], Any] | None = None) -> bytes:
    """Write MessagePack, with exactly its own types and what ``encode`` makes of others."""
    packer = msgpack.Packer(default=encode, strict_types=True, buf_size=FIRST_BUFFER_BYTES)
    packed: bytes = packer.pack(state)
    return packed


def may_hold_nan(packed: bytes) -> bool:
    """Say whether MessagePack may hold NaN or an infinity; may be wrong only in saying yes."""
    maybe = b"\x7f" in packed or b"\xff" in packed
    return maybe and any(pattern.search(packed) for pattern in NOT_FINITE)
