"""Texts about errors whose own text may contain anything."""

from __future__ import annotations

import os

from recovery_app.exceptions import InvalidSignature, RecoveryError, SnapshotNotFound

_PLAIN = (InvalidSignature, SnapshotNotFound)
"""Errors whose texts say no more than their reasons."""


def describe_error(error: BaseException) -> str:
    """Return what was wrong in a few words, "" if the error's reason says it all.

    For an application's error, only the type and the line are returned.
    """
    if isinstance(error, _PLAIN):
        return ""
    if isinstance(error, RecoveryError):
        cause, address = getattr(error, "cause", ""), getattr(error, "address", "")
        return (f"{cause} ({address})" if address else cause) or str(error)
    file, _, line = place_of(error).rpartition(":")
    place = f" ({os.path.basename(file)}:{line})" if file else ""
    return f"{type(error).__qualname__}{place}"


def place_of(error: BaseException) -> str:
    """Return the file and the line that raised an error, "" if it wasn't raised."""
    entry = error.__traceback__
    if entry is None:
        return ""
    while entry.tb_next is not None:
        entry = entry.tb_next
    return f"{entry.tb_frame.f_code.co_filename}:{entry.tb_lineno}"
