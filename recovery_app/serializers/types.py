"""The extended types, which neither format has: times, decimals, UUIDs, huge integers.

Their names, codes and texts are stored, so new ones may be added but none may change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recovery_app.exceptions import SnapshotCorrupt

Encoders = Mapping[type, Callable[[Any], Any]]
"""The functions that encode each type for a format, apart from dict, list, bool and None."""

MICROSECOND = timedelta(microseconds=1)
UTC = "+0"
# Its precision isn't applied; it makes a malformed text an error in every thread.
STRICT = Context(traps=[InvalidOperation])


class Unserializable(Exception):
    """Raised for a value that can't be stored, with the reason; the caller adds the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedType:
    """The conversion of one type to text and back.

    ``code`` is the MessagePack extension type, or 0 for a type that MessagePack has.
    """

    name: str
    code: int
    dumps: Callable[[Any], str]
    loads: Callable[[str], Any]


def checked_text(value: str) -> str:
    """Return a str; raise ``Unserializable`` if it isn't valid Unicode."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unserializable("the text has a lone surrogate, which isn't a character") from None
    return value


def checked_float(value: float) -> float:
    """Return a float; raise ``Unserializable`` if it isn't finite."""
    if not math.isfinite(value):
        raise Unserializable(f"{value} is not a finite number")
    return value


def fits_64_bits(value: int) -> bool:
    """Return whether both formats have an int; orjson would decode a larger one as a float."""
    return -(2**63) <= value < 2**64


def _zone_dumps(zone: tzinfo | None) -> str:
    """Return a time zone as text: empty, a key, or an offset in microseconds with a name if any."""
    if zone is None:
        return ""
    if zone is timezone.utc:
        return UTC
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        named = "" if name == timezone(offset).tzname(None) else f" {name}"
        return checked_text(f"{offset // MICROSECOND:+d}{named}")
    if type(zone) is not ZoneInfo:
        raise Unserializable(f"its time zone is a {type_name(type(zone))}; use zoneinfo.ZoneInfo")
    try:
        return ZoneInfo(zone.key).key
    except (LookupError, OSError, TypeError, ValueError):
        raise Unserializable("its time zone can't be found again by its key") from None


def _zone_loads(text: str) -> tzinfo | None:
    if not text:
        return None
    if text == UTC:
        return timezone.utc
    if text[0] not in "+-":
        return ZoneInfo(text)
    offset, named, name = text.partition(" ")
    delta = timedelta(microseconds=int(offset))
    return timezone(delta, name) if named else timezone(delta)


def _clock_dumps(value: datetime | time) -> str:
    """Return a datetime or time as wall clock, fold and zone, which keeps the zone's rules."""
    return f"{value.replace(tzinfo=None).isoformat()} {value.fold} {_zone_dumps(value.tzinfo)}"


def _datetime_loads(text: str) -> datetime:
    clock, fold, zone = text.split(" ", 2)
    return datetime.fromisoformat(clock).replace(fold=int(fold), tzinfo=_zone_loads(zone))


def _time_loads(text: str) -> time:
    clock, fold, zone = text.split(" ", 2)
    return time.fromisoformat(clock).replace(fold=int(fold), tzinfo=_zone_loads(zone))


BIG_INT = ExtendedType(name="int", code=1, dumps="{:x}".format, loads=lambda text: int(text, 16))

EXTENDED_TYPES: Mapping[type, ExtendedType] = {
    int: BIG_INT,
    datetime: ExtendedType(name="datetime", code=2, dumps=_clock_dumps, loads=_datetime_loads),
    date: ExtendedType(name="date", code=3, dumps=date.isoformat, loads=date.fromisoformat),
    time: ExtendedType(name="time", code=4, dumps=_clock_dumps, loads=_time_loads),
    timedelta: ExtendedType(
        name="timedelta",
        code=5,
        dumps=lambda value: str(value // MICROSECOND),
        loads=lambda text: timedelta(microseconds=int(text)),
    ),
    Decimal: ExtendedType(
        name="decimal", code=6, dumps=str, loads=lambda text: Decimal(text, STRICT)
    ),
    UUID: ExtendedType(name="uuid", code=7, dumps=lambda value: value.hex, loads=UUID),
}


def decode_text(extended: ExtendedType, text: str) -> Any:
    """Return the value of an extended type's text; raise ``SnapshotCorrupt``."""
    try:
        return extended.loads(text)
    except ZoneInfoNotFoundError:
        raise SnapshotCorrupt("it has a time zone that this machine doesn't know") from None
    except (ArithmeticError, OSError, ValueError):
        # Not chained, as it quotes the state.
        raise SnapshotCorrupt(f"it has a broken {extended.name}") from None


def type_name(kind: type) -> str:
    """Return the dotted path of a type, or its name alone for a built-in one."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"
