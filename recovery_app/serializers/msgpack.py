"""Own the MessagePack of a state: rich values are extension types, their payload the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]

from recovery_app.exceptions import SnapshotCorrupt, UnserializableState
from recovery_app.serializers.fast_path import all_as, is_exact, pack, write, write_plain
from recovery_app.serializers.slow_path import encode
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

# One of these bytes is in any data that holds NaN, an infinity, a timestamp or bytes, as which
# msgpack reads keys too.
TELLTALES = (b"\x7f", b"\xff", b"\xc4", b"\xc5", b"\xc6")


class MsgPackSerializer:
    """Write states as MessagePack, by msgpack."""

    __slots__ = ()
    name = "msgpack"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Encode a state, or raise ``UnserializableState``."""
        plain = write_plain(state)
        if plain is not None:
            return plain[1]
        written = write(state, NULLS, ENCODERS)
        return pack(encode(state, ENCODERS)) if written is None else written.packed

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Decode what ``dumps`` gave, or raise ``SnapshotCorrupt``."""
        try:
            state = msgpack.unpackb(data, ext_hook=_revive)
        except (ArithmeticError, MemoryError, ValueError):
            # Not chained: it may quote the state. No memory: lengths that are made up, nested.
            raise SnapshotCorrupt("it is no MessagePack") from None
        if type(state) is not dict:
            raise SnapshotCorrupt("it is no MessagePack map")
        if any(byte in data for byte in TELLTALES) and not is_exact(state, data, NULLS):
            _check(state)
        return state


def _check(state: dict[str, Any]) -> None:
    """Raise ``SnapshotCorrupt`` for what msgpack reads and no state can hold."""
    try:
        encode(state, ENCODERS)
    except UnserializableState:
        raise SnapshotCorrupt("it has a value that no state can hold") from None


def _extended(codec: Codec, value: Any) -> msgpack.ExtType:
    return msgpack.ExtType(codec.code, codec.dumps(value).encode())


def _encoder(codec: Codec) -> Callable[[Any], msgpack.ExtType]:
    return lambda value: _extended(codec, value)


def _integer(value: int) -> int | msgpack.ExtType:
    return value if fits_64_bits(value) else _extended(BIG_INT, value)


ENCODERS: Encoders = {
    **{kind: _encoder(codec) for kind, codec in CODECS.items()},
    bytes: bytes,
    int: _integer,
    float: checked_float,
    str: checked_text,
}
NULLS = all_as(None, ENCODERS)
BY_CODE = {codec.code: codec for codec in CODECS.values()}


def _revive(code: int, payload: bytes) -> Any:
    if code not in BY_CODE:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return revive(BY_CODE[code], payload.decode())
