"""Own how numbers are put for people."""

from __future__ import annotations

import math

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from recovery_app.clock import MICROSECONDS

FIGURES = 2
"""An estimate is given in so many figures."""
FOR_EVER_SECONDS = 100 * 365 * 86_400


def countdown(seconds: float) -> str:
    """Put seconds as ``4:09`` or ``2:04:09``; ``admin.js`` goes on counting like this."""
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def expiry(seconds: float) -> str:
    """Say in how much time a snapshot expires."""
    if math.isnan(seconds):
        return _("unknown")
    if seconds <= 0:
        return _("expired")
    return _("never") if seconds > FOR_EVER_SECONDS else countdown(seconds)


def counts_down(seconds: float) -> bool:
    """Say whether `expiry` gives a time that goes by."""
    return 0 < seconds <= FOR_EVER_SECONDS


def number(value: int) -> str:
    """Put a number with its thousands apart."""
    return number_format(value, force_grouping=True)


def about(value: int, *, is_exact: bool) -> str:
    """Put a number, or an estimate as one."""
    if is_exact:
        return number(value)
    return _("about %(number)s") % {"number": number(rounded(value))}


def size(size_bytes: int, *, is_exact: bool = True) -> str:
    """Put a number of bytes, or an estimate of one."""
    if is_exact:
        return filesizeformat(size_bytes)
    return _("about %(number)s") % {"number": filesizeformat(rounded(size_bytes))}


def rounded(value: int) -> int:
    """Leave the first figures of a number."""
    return round(value, min(0, FIGURES - len(str(abs(value)))))


def seconds_of(microseconds: int) -> float:
    """Turn a time as it is stored into seconds since 1970."""
    return microseconds / MICROSECONDS
