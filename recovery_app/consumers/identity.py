"""Who a token is for: a consumer, a view, an address, and a person as far as one is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import Model

from recovery_app._core.persons import combine, name_user

_NOBODY = combine("nobody")
_USER = combine("user")


@lru_cache(maxsize=1_000)
def bind_to_view(kind: type, view: str) -> bytes:
    """Return the part of a binding that names a consumer and a view."""
    return combine(f"{kind.__module__}.{kind.__qualname__}", view)


# The address.

_PLAIN = (str, int, float, Decimal, UUID, date, time, timedelta, PurePath, type(None))


def bind_to_route(scope: Mapping[str, Any]) -> bytes:
    """Return the part that names the arguments of the route; empty where there are none.

    The path isn't part of it, so routes can move. Only where an argument is of a type without
    a stable representation, the path stands in for it.
    """
    route = scope.get("url_route") or {}
    args, kwargs = route.get("args") or (), route.get("kwargs") or {}
    if not args and not kwargs:
        return b""
    try:
        return combine("route", _encode(tuple(args)), _encode(dict(kwargs)))
    except TypeError:
        return combine("path", str(scope.get("path", "")))


def _encode(value: Any) -> bytes:
    """Return the same bytes for equal values, in each process; raise `TypeError` if it can't."""
    kind = type(value).__name__
    if isinstance(value, bytes):
        return combine(kind, value)
    if isinstance(value, Enum):
        return combine(kind, value.name)
    if isinstance(value, _PLAIN):
        return combine(kind, str(value))
    if isinstance(value, Model):
        return combine(value._meta.label, str(value.pk))
    if isinstance(value, Mapping):
        items = sorted((str(key), _encode(each)) for key, each in value.items())
        return combine("mapping", *(part for item in items for part in item))
    if isinstance(value, (tuple, list)):
        return combine("list", *map(_encode, value))
    raise TypeError(f"{kind} has no stable representation.")


# The person.


async def bind_to_person(scope: Mapping[str, Any]) -> bytes:
    """Return the part that names the user, else the session, else nobody."""
    person = person_of(scope)
    if person is None:
        # Until it is loaded, session_key repeats whatever the cookie says.
        session = scope["session"]
        await database_sync_to_async(session.has_key)("")
        person = _session_part(session)
    return person


def person_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return that part, or ``None`` where the session has to be loaded first.

    A user's part has the session auth hash, so a changed password ends recovery too.
    Without a user and a session, the token is a bearer token.
    """
    user = scope.get("user")
    if user is not None and user.is_authenticated:
        auth_hash = getattr(user, "get_session_auth_hash", str)()
        return _user_part(user, auth_hash)
    session = scope.get("session")
    if session is None:
        return _NOBODY
    return _session_part(session) if hasattr(session, "_session_cache") else None


def former_persons(scope: Mapping[str, Any]) -> list[bytes]:
    """Return what a person was known by before, and may be known by in a token.

    A user has a hash by each of ``SECRET_KEY_FALLBACKS``. And everyone was nobody once: such a
    token is good for its bearer.
    """
    person = person_of(scope)
    if person is None or person == _NOBODY:
        return []
    parts = []
    user = scope.get("user")
    if user is not None and user.is_authenticated:
        hashes: Iterable[str] = getattr(user, "get_session_auth_fallback_hash", tuple)()
        parts = [_user_part(user, each) for each in hashes]
    return [*parts, _NOBODY]


def _user_part(user: Any, auth_hash: str) -> bytes:
    return combine("user", str(user.pk), auth_hash)


def name_person(scope: Mapping[str, Any], person: bytes) -> bytes:
    """Return the part without the auth hash: who it is stays the same with a new password."""
    return name_user(scope["user"].pk) if person.startswith(_USER) else person


def user_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return the name of the user, whatever the consumer binds to; ``None`` where nobody is."""
    user = scope.get("user")
    return name_user(user.pk) if user is not None and user.is_authenticated else None


def _session_part(session: Any) -> bytes:
    return combine("session", session.session_key) if session.session_key else _NOBODY
