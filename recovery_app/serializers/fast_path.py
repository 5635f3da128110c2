"""The fast path: encoding in C, and detection of states that wouldn't come back unchanged.

Each of the two C encoders silently changes some values: orjson enums (to their values), UUIDs
(to text), NaN (to null) and tuples at any depth; msgpack keys of any type, bytearrays and NaN.
What one of them changes the other refuses, and NaN shows as a null in the bytes of one and in
those of the other. So both encode each state, whichever format is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]
import orjson

from recovery_app.serializers.types import Encoders, Unserializable

MAX_DEPTH = 254
"""How deep dicts and lists may be nested: orjson encodes no more."""

FIRST_BUFFER_BYTES = 4096
"""Large enough for most states. Allocating msgpack's 256 KiB costs more than encoding them."""

# orjson refuses subclasses, and passes dates and times to the hook for extended types.
STRICT_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)
PLACEHOLDER = msgpack.ExtType(0, b"")
"""What stands for an extended value in MessagePack that is discarded."""

# The first bytes of NaN and infinity in MessagePack, as double and as single.
NOT_FINITE = (re.compile(rb"\xcb[\x7f\xff]"), re.compile(rb"\xca[\x7f\xff]"))


class Written(NamedTuple):
    """A state in both formats, and the number of its extended values."""

    text: bytes
    packed: bytes
    extended: int


def write(state: Mapping[str, Any], as_text: Encoders, as_packed: Encoders) -> Written | None:
    """Return a state with extended values or tuples in both formats.

    Return ``None`` if it might come back changed. Extended values are those of the types that
    have encoders, which are the same types for both formats.
    """
    if type(state) is not dict:
        return None
    written = _write_extended(state, as_text, as_packed)
    return None if written is None or _may_hold_nan(written.text, written.packed) else written


def write_plain(state: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    """Return a state as JSON and MessagePack, or ``None`` if `write` has to encode it.

    Most states have neither extended values nor tuples, and need only this.
    """
    if type(state) is not dict:
        return None
    try:
        packer = msgpack.Packer(strict_types=True, buf_size=FIRST_BUFFER_BYTES)
        packed = packer.pack(state)
        text = orjson.dumps(state, option=STRICT_OPTIONS)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if b"null" in text and may_hold_nan(packed) else (text, packed)


def _may_hold_nan(text: bytes, packed: bytes) -> bool:
    return b"null" in text and may_hold_nan(packed)


def _write_extended(
    state: dict[str, Any], as_text: Encoders, as_packed: Encoders
) -> Written | None:
    tuples, extended = count(), count()

    def pack_other(value: Any) -> Any:
        if type(value) is tuple:
            next(tuples)
            return list(value)
        return _encode(value, as_packed)

    def write_other(value: Any) -> Any:
        next(extended)
        return _encode(value, as_text)

    try:
        packed = pack(state, pack_other)
        if next(tuples):
            # orjson 3.13 doesn't count the depth of tuples, and 2,000 of them overrun its stack.
            # It gets the lists that msgpack made of them, and refuses extended values.
            text = orjson.dumps(msgpack.unpackb(packed), option=STRICT_OPTIONS)
        else:
            text = orjson.dumps(state, default=write_other, option=STRICT_OPTIONS)
    except (TypeError, ValueError, Unserializable):
        return None
    return Written(text, packed, next(extended))


def all_as(placeholder: Any, encoders: Encoders) -> Encoders:
    """Return encoders for the same types that encode every value as the placeholder."""
    return dict.fromkeys(encoders, lambda _value: placeholder)


def is_surely_valid(state: dict[str, Any], packed: bytes, nulls: Encoders) -> bool:
    """Return whether a state decoded from MessagePack is valid; ``False`` may be wrong."""
    try:
        orjson.dumps(state, default=lambda value: _encode(value, nulls), option=STRICT_OPTIONS)
    except TypeError:
        return False
    return not may_hold_nan(packed)


def _encode(value: Any, encoders: Encoders) -> Any:
    kind = type(value)
    if kind not in encoders:
        raise TypeError
    return encoders[kind](value)


def pack(state: dict[str, Any], encode: Callable[[Any], Any] | None = None) -> bytes:
    """Return a state as MessagePack; ``encode`` converts types that it doesn't have."""
    packer = msgpack.Packer(default=encode, strict_types=True, buf_size=FIRST_BUFFER_BYTES)
    packed: bytes = packer.pack(state)
    return packed


def may_hold_nan(packed: bytes) -> bool:
    """Return whether MessagePack contains NaN or an infinity; ``True`` may be wrong."""
    maybe = b"\x7f" in packed or b"\xff" in packed
    return maybe and any(pattern.search(packed) for pattern in NOT_FINITE)
