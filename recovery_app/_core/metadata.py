"""The metadata of a snapshot, and which names and numbers every storage can keep."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from recovery_app.snapshots import MAX_VERSION, NOBODY

MAX_NAME_LENGTH = 255
MAX_PAGE = 10_000
MAX_SECONDS = 100 * 365 * 86_400


class SnapshotMetadata(NamedTuple):
    """The metadata of a snapshot, checked by `metadata_of`."""

    version: int = 0
    view: str = ""
    topic: str = ""
    person: bytes = NOBODY
    """The digest of whose state it is, as the manager makes it; zeros where nobody is known."""


_NO_METADATA = SnapshotMetadata()


def metadata_of(version: int, view: str, topic: str, person: bytes = NOBODY) -> SnapshotMetadata:
    """Return the metadata of a snapshot; raise `ValueError` for values that can't be stored."""
    if version == 0 and type(version) is int and view == topic == "" and person is NOBODY:
        return _NO_METADATA
    check_number("version", version, MAX_VERSION)
    check_name("view", view)
    check_name("topic", topic)
    return SnapshotMetadata(version, view, topic, person)


def check_name(what: str, name: str) -> None:
    """Raise `ValueError` unless every storage can keep ``name``."""
    if not isinstance(name, str):
        raise ValueError(f"{what} must be a string, not {type(name).__name__}.")
    if len(name) > MAX_NAME_LENGTH or "\x00" in name:
        raise ValueError(
            f"{what} must have at most {MAX_NAME_LENGTH} characters and no NUL among them."
        )
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} holds a lone surrogate and can't be stored.") from error


def check_group(group: str) -> None:
    """Raise `ValueError` unless a durable group may have this name."""
    check_name("group", group)
    if not group:
        raise ValueError("group must not be empty.")


def check_listing(*, prefix: str, cursor: str | None, limit: int) -> None:
    """Raise `ValueError` unless every storage can be asked for such a page."""
    check_name("prefix", prefix)
    check_name("cursor", cursor or "")
    check_number("limit", limit, MAX_PAGE, least=1)


def check_number(what: str, number: int, limit: int, *, least: int = 0) -> None:
    """Raise `ValueError` unless ``number`` is a whole number between ``least`` and ``limit``."""
    if not isinstance(number, int) or not least <= number <= limit:
        raise ValueError(
            f"{what} is {number!r} and must be a whole number between {least} and {limit}."
        )


def check_size(what: str, value: int) -> int:
    """Return a number of bytes; raise `ValueError` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{what} must be a whole number of bytes above 0, not {value!r}.")
    return value


def check_seconds(what: str, value: float | timedelta) -> float:
    """Return a time in seconds; raise `ValueError` for an invalid or absurd one."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(
            f"{what} must be a number of seconds or a timedelta, such as 300 or "
            f"timedelta(minutes=5), not {type(value).__name__}."
        )
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(
            f"{what} is {seconds} seconds and must be above 0 and at most {MAX_SECONDS}."
        )
    return float(seconds)
