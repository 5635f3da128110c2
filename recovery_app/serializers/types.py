"""Own the text of the values that neither format knows: times, decimals, UUIDs, huge integers.

Names, codes and texts are stored: they may be added to, and never change.
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
"""What a format makes of values of each type but dict, list, bool and None."""

MICROSECOND = timedelta(microseconds=1)
UTC = "+0"
# Its precision is never applied; it only makes a malformed text an error in every thread.
STRICT = Context(traps=[InvalidOperation])


class Unfit(Exception):
    """A value can't be stored; the text says why. Whoever knows the path makes it an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How values of one type become text.

    ``code`` is the MessagePack extension type; 0 where MessagePack has the type itself.
    """

    name: str
    code: int
    dumps: Callable[[Any], str]
    loads: Callable[[str], Any]


def checked_text(value: str) -> str:
    """Give a str back, or raise ``Unfit`` if it isn't valid Unicode."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("the text has a lone surrogate, which is no character") from None
    return value


def checked_float(value: float) -> float:
    """Give a float back, or raise ``Unfit`` if it isn't finite."""
    if not math.isfinite(value):
        raise Unfit(f"{value} is not a finite number")
    return value


def fits_64_bits(value: int) -> bool:
    """Say whether an int is one of the formats' own; orjson would read more as a float."""
    return -(2**63) <= value < 2**64


def _zone_dumps(zone: tzinfo | None) -> str:
    """Spell a time zone: nothing, a key, or an offset in signed microseconds and maybe a name."""
    if zone is None:
        return ""
    if zone is timezone.utc:
        return UTC
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        named = "" if name == timezone(offset).tzname(None) else f" {name}"
        return checked_text(f"{offset // MICROSECOND:+d}{named}")
    if type(zone) is not ZoneInfo:
        raise Unfit(f"its time zone is a {type_name(type(zone))}; use zoneinfo.ZoneInfo")
    try:
        return ZoneInfo(zone.key).key
    except (LookupError, OSError, TypeError, ValueError):
        raise Unfit("its time zone can't be found again by its key") from None


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
    """Spell a datetime or time as wall clock, fold and zone, so that the zone's rules live on."""
    return f"{value.replace(tzinfo=None).isoformat()} {value.fold} {_zone_dumps(value.tzinfo)}"


def _datetime_loads(text: str) -> datetime:
    clock, fold, zone = text.split(" ", 2)
    return datetime.fromisoformat(clock).replace(fold=int(fold), tzinfo=_zone_loads(zone))


def _time_loads(text: str) -> time:
    clock, fold, zone = text.split(" ", 2)
    return time.fromisoformat(clock).replace(fold=int(fold), tzinfo=_zone_loads(zone))


BIG_INT = Codec(name="int", code=1, dumps="{:x}".format, loads=lambda text: int(text, 16))

CODECS: Mapping[type, Codec] = {
    int: BIG_INT,
    datetime: Codec(name="datetime", code=2, dumps=_clock_dumps, loads=_datetime_loads),
    date: Codec(name="date", code=3, dumps=date.isoformat, loads=date.fromisoformat),
    time: Codec(name="time", code=4, dumps=_clock_dumps, loads=_time_loads),
    timedelta: Codec(
        name="timedelta",
        code=5,
        dumps=lambda value: str(value // MICROSECOND),
        loads=lambda text: timedelta(microseconds=int(text)),
    ),
    Decimal: Codec(name="decimal", code=6, dumps=str, loads=lambda text: Decimal(text, STRICT)),
    UUID: Codec(name="uuid", code=7, dumps=lambda value: value.hex, loads=UUID),
}


def revive(codec: Codec, text: str) -> Any:
    """Read the text of a rich value, or raise ``SnapshotCorrupt``."""
    try:
        return codec.loads(text)
    except ZoneInfoNotFoundError:
        raise SnapshotCorrupt("it has a time zone that this machine doesn't know") from None
    except (ArithmeticError, OSError, ValueError):
        # Its own text isn't chained: it quotes the state.
        raise SnapshotCorrupt(f"it has a broken {codec.name}") from None


def type_name(kind: type) -> str:
    """Name a type as a reader would: built-in ones without their module."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"
