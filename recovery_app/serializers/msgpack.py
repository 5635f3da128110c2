"""The MessagePack serializer, in which extended values are extension types with a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]

from recovery_app.exceptions import SnapshotCorrupt, UnserializableState
from recovery_app.serializers.fast_path import all_as, is_surely_valid, pack, write, write_plain
from recovery_app.serializers.slow_path import encode
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

# One of these bytes is in all data with NaN, an infinity, a timestamp or bytes, which msgpack
# accepts as keys too.
SUSPICIOUS_BYTES = (b"\x7f", b"\xff", b"\xc4", b"\xc5", b"\xc6")


class MsgPackSerializer:
    """The serializer for MessagePack, by msgpack."""

    __slots__ = ()
    name = "msgpack"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Return a state as MessagePack; raise ``UnserializableState``."""
        plain = write_plain(state)
        if plain is not None:
            return plain[1]
        written = write(state, NULLS, ENCODERS)
        return pack(encode(state, ENCODERS)) if written is None else written.packed

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Return the state in the bytes that ``dumps`` returned; raise ``SnapshotCorrupt``."""
        try:
            state = msgpack.unpackb(data, ext_hook=_decode_extension)
        except (ArithmeticError, MemoryError, ValueError):
            # Not chained, as it may quote the state. Nested false lengths cause a MemoryError.
            raise SnapshotCorrupt("it isn't valid MessagePack") from None
        if type(state) is not dict:
            raise SnapshotCorrupt("it isn't a MessagePack map")
        if any(byte in data for byte in SUSPICIOUS_BYTES) and not is_surely_valid(
            state, data, NULLS
        ):
            _check(state)
        return state


def _check(state: dict[str, Any]) -> None:
    """Raise ``SnapshotCorrupt`` for values that msgpack decodes but no state can contain."""
    try:
        encode(state, ENCODERS)
    except UnserializableState:
        raise SnapshotCorrupt("it has a value that a state can't contain") from None


def _extended(extended: ExtendedType, value: Any) -> msgpack.ExtType:
    return msgpack.ExtType(extended.code, extended.dumps(value).encode())


def _encoder(extended: ExtendedType) -> Callable[[Any], msgpack.ExtType]:
    return lambda value: _extended(extended, value)


def _integer(value: int) -> int | msgpack.ExtType:
    return value if fits_64_bits(value) else _extended(BIG_INT, value)


ENCODERS: Encoders = {
    **{kind: _encoder(extended) for kind, extended in EXTENDED_TYPES.items()},
    bytes: bytes,
    int: _integer,
    float: checked_float,
    str: checked_text,
}
NULLS = all_as(None, ENCODERS)
BY_CODE = {extended.code: extended for extended in EXTENDED_TYPES.values()}


def _decode_extension(code: int, payload: bytes) -> Any:
    if code not in BY_CODE:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return decode_text(BY_CODE[code], payload.decode())
