"""Own the MessagePack of a state: rich values are extension types, their payload the text.

Bytes are one too, so that no key can be bytes: the reader takes no bytes of MessagePack's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]
import orjson

from recovery_app.exceptions import SnapshotCorrupt, UnserializableState
from recovery_app.serializers.json_format import EXACT
from recovery_app.serializers.rich import (
    CODECS,
    INTEGER,
    Codec,
    Unfit,
    as_it_is,
    checked_float,
    checked_text,
    fits_64_bits,
    revive,
)
from recovery_app.serializers.walk import Encoders, encode

BYTES_CODE = 8
# One of these bytes is in any data that holds NaN, an infinity, a timestamp or empty bytes.
TELLTALES = (b"\x7f", b"\xff", b"\xc4", b"\xc5", b"\xc6")
# How NaN and infinities start, as double and as single.
NOT_FINITE = (re.compile(rb"\xcb[\x7f\xff]"), re.compile(rb"\xca[\x7f\xff]"))


class MsgPackSerializer:
    """Write states as MessagePack, by msgpack."""

    __slots__ = ()
    name = "msgpack"

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Encode a state, or raise ``UnserializableState``."""
        data = _dumps_in_c(state)
        return _pack(encode(state, ENCODERS)) if data is None else data

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Decode what ``dumps`` gave, or raise ``SnapshotCorrupt``."""
        try:
            state = msgpack.unpackb(data, ext_hook=_revive, max_bin_len=0)
        except (ArithmeticError, ValueError):
            # Not chained: it may quote the state.
            raise SnapshotCorrupt("it is no MessagePack") from None
        if type(state) is not dict:
            raise SnapshotCorrupt("it is no MessagePack map")
        if any(byte in data for byte in TELLTALES) and not _surely_exact(state, data):
            _check(state)
        return state


def _dumps_in_c(state: Mapping[str, Any]) -> bytes | None:
    """Write a state in C, or give None if that might not come back as it is."""
    if type(state) is not dict:
        return None
    try:
        data = _pack(state)
    except (TypeError, ValueError, Unfit):
        return None
    return data if _surely_exact(state, data) else None


def _surely_exact(state: dict[str, Any], data: bytes) -> bool:
    """Say whether a state, whose bytes these are, holds only what comes back as it is.

    msgpack takes keys of any type, bytearrays and NaN. orjson refuses the first two, and NaN
    shows in the bytes. May be wrong only in saying no.
    """
    try:
        orjson.dumps(state, default=_accept, option=EXACT)
    except TypeError:
        return False
    maybe = b"\x7f" in data or b"\xff" in data
    return not (maybe and any(pattern.search(data) for pattern in NOT_FINITE))


def _check(state: dict[str, Any]) -> None:
    try:
        encode(state, ENCODERS)
    except UnserializableState:
        raise SnapshotCorrupt("it has a value that no state can hold") from None


def _pack(state: dict[str, Any]) -> bytes:
    data: bytes = msgpack.packb(state, default=_default, strict_types=True)
    return data


def _default(value: Any) -> Any:
    """Encode what msgpack leaves to us; no tuples, through which orjson counts no depth."""
    _accept(value)
    return ENCODERS[type(value)](value)


def _accept(value: Any) -> None:
    if type(value) not in ENCODERS:
        raise TypeError


def _extended(codec: Codec, value: Any) -> msgpack.ExtType:
    return msgpack.ExtType(codec.code, codec.dumps(value).encode())


def _encoder(codec: Codec) -> Callable[[Any], msgpack.ExtType]:
    return lambda value: _extended(codec, value)


def _integer(value: int) -> int | msgpack.ExtType:
    return value if fits_64_bits(value) else _extended(INTEGER, value)


ENCODERS: Encoders = {
    **{kind: _encoder(codec) for kind, codec in CODECS.items()},
    bytes: lambda value: msgpack.ExtType(BYTES_CODE, value),
    int: _integer,
    float: checked_float,
    str: checked_text,
    bool: as_it_is,
    type(None): as_it_is,
}
BY_CODE = {codec.code: codec for codec in CODECS.values()}


def _revive(code: int, payload: bytes) -> Any:
    if code == BYTES_CODE:
        return payload
    if code not in BY_CODE:
        raise SnapshotCorrupt("it has a value of an unknown type")
    return revive(BY_CODE[code], payload.decode())
