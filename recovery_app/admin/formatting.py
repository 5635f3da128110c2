"""Numbers, sizes and durations as text."""

from __future__ import annotations

import math

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.timesince import TIME_STRINGS
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

ESTIMATE_DIGITS = 2
KILOBYTE = 1024
NEVER_SECONDS = 100 * 365 * 86_400
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
"""Those for which Django has the words."""


def countdown(seconds: float) -> str:
    """Return seconds as ``4:09`` or ``2:04:09``; ``admin.js`` has the same format."""
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def expiry(seconds: float) -> str:
    """Return the time until a snapshot expires."""
    if math.isnan(seconds):
        return _("unknown")
    if seconds <= 0:
        return _("expired")
    return _("never") if seconds > NEVER_SECONDS else countdown(seconds)


def seconds_left(seconds: float) -> str:
    """Return the start of a countdown for ``admin.js``, or "" if `expiry` isn't a time."""
    return f"{seconds:.1f}" if 0 < seconds <= NEVER_SECONDS else ""


def duration(seconds: float) -> str:
    """Return a time in seconds, or in the largest unit of which it is two or more; rounded up."""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return str(TIME_STRINGS[unit] % {"num": math.ceil(seconds / length)})
    whole = math.ceil(seconds)
    return ngettext("%(number)s second", "%(number)s seconds", whole) % {"number": number(whole)}


def number(value: int, *, is_exact: bool = True) -> str:
    """Return a number with thousands separators, rounded and marked if it is an estimate."""
    if is_exact:
        return number_format(value, force_grouping=True)
    return _("about %(number)s") % {"number": number(_rounded(value))}


def size(size_bytes: int, *, is_exact: bool = True) -> str:
    """Return a number of bytes with its unit, rounded and marked if it is an estimate."""
    if is_exact:
        return filesizeformat(size_bytes)
    return _("about %(number)s") % {"number": filesizeformat(_rounded(size_bytes))}


def _rounded(value: int) -> int:
    return round(value, min(0, ESTIMATE_DIGITS - len(str(abs(value)))))
