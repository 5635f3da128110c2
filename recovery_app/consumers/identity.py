"""Who can use a token: its consumer, view, address, and the person, if one is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

from channels.db import database_sync_to_async
from django.db.models import Model

from recovery_app._core.persons import ANONYMOUS, combine, name_user, name_visitor
from recovery_app._visitors import SCOPE_KEY
from recovery_app.exceptions import RecoveryError, StorageUnavailable

_USER = combine("user")


@lru_cache(maxsize=1_000)
def bind_to_view(kind: type, view: str) -> bytes:
    """Return the part of a binding that names a consumer and a view."""
    return combine(f"{kind.__module__}.{kind.__qualname__}", view)


# The address.

_PLAIN = (str, int, float, Decimal, UUID, date, time, timedelta, PurePath, type(None))


def bind_to_route(scope: Mapping[str, Any]) -> bytes:
    """Return the part that names the arguments of the route; empty if there are none.

    The path isn't part of it, so routes can move. Only if an argument is of a type without a
    stable representation is the path used instead.
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


class FormerPerson(NamedTuple):
    """An earlier identity of the person, to which a token may be bound."""

    part: bytes
    name: bytes | None
    """The name under which a page has kept events for them; ``None`` if those don't go along."""


async def bind_to_person(scope: Mapping[str, Any]) -> bytes:
    """Return the part that names the user, else the visitor, else the session, else nobody."""
    person = person_of(scope)
    if person is None:
        await load_session(scope)
        person = _session_part(scope["session"])
    return person


def person_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return that part, or ``None`` if the session has to be loaded first.

    A user's part has the session auth hash, so a changed password ends recovery too.
    Without a user, a visitor and a session, the token is a bearer token.
    """
    if (user := _user_of(scope)) is not None:
        return _user_part(user, getattr(user, "get_session_auth_hash", str)())
    if visitor := scope.get(SCOPE_KEY):
        return name_visitor(visitor)
    session = scope.get("session")
    if session is None:
        return ANONYMOUS
    return _session_part(session) if is_session_loaded(scope) else None


def former_persons(scope: Mapping[str, Any], *, keep_on_login: bool = False) -> list[FormerPerson]:
    """Return the earlier identities of a person, which a token may still be bound to.

    A visitor's session has to be loaded. A user has one identity for each of
    ``SECRET_KEY_FALLBACKS``, and with ``keep_on_login`` was a visitor, or had a session, before the
    login. A visitor had a session before the cookie. And everyone was nobody once: a token bound to
    nobody is a bearer token, but its events aren't kept, since anyone can keep events as nobody.
    """
    person = person_of(scope)
    if person is None or person == ANONYMOUS:
        return []
    parts: list[bytes] = []
    user = _user_of(scope)
    if user is not None:
        hashes: Iterable[str] = getattr(user, "get_session_auth_fallback_hash", tuple)()
        parts = [_user_part(user, each) for each in hashes]
    if user is None or keep_on_login:
        parts += [each for each in _anonymous_parts(scope) if each != person]
    former = [FormerPerson(each, name_person(scope, each)) for each in parts]
    return [*former, FormerPerson(ANONYMOUS, None)]


def name_person(scope: Mapping[str, Any], person: bytes) -> bytes:
    """Return the part without the auth hash, which stays the same with a new password."""
    return name_user(scope["user"].pk) if person.startswith(_USER) else person


def is_session_loaded(scope: Mapping[str, Any]) -> bool:
    """Return whether there is no session, or it is already loaded."""
    session = scope.get("session")
    return session is None or hasattr(session, "_session_cache")


async def load_session(scope: Mapping[str, Any]) -> None:
    """Load the session: until then, its key is whatever the cookie claims."""
    await database_sync_to_async(scope["session"].has_key)("")


async def try_load_session(scope: Mapping[str, Any]) -> RecoveryError | None:
    """Load a visitor's session; if that fails, return why no token can be used now."""
    try:
        if _user_of(scope) is None and not is_session_loaded(scope):
            await load_session(scope)
    except Exception as error:
        # Without the error itself: its traceback would show error trackers the session's key.
        return StorageUnavailable(f"The session ({type(error).__name__})", "a join")
    return None


def _anonymous_parts(scope: Mapping[str, Any]) -> list[bytes]:
    """Return the identities of the browser when nobody is logged in."""
    visitor, session = scope.get(SCOPE_KEY), scope.get("session")
    parts = [name_visitor(visitor)] if visitor else []
    if session is not None and is_session_loaded(scope) and session.session_key:
        parts.append(_session_part(session))
    return parts


def identify_client(scope: Mapping[str, Any]) -> bytes | None:
    """Return the name of the person, as far as it is known without loading anything."""
    return user_of(scope) or next(iter(_anonymous_parts(scope)), None)


def user_of(scope: Mapping[str, Any]) -> bytes | None:
    """Return the name of the logged-in user, whatever the consumer binds to, or ``None``."""
    user = _user_of(scope)
    return None if user is None else name_user(user.pk)


def _user_of(scope: Mapping[str, Any]) -> Any:
    user = scope.get("user")
    return user if user is not None and user.is_authenticated else None


def _user_part(user: Any, auth_hash: str) -> bytes:
    return combine("user", str(user.pk), auth_hash)


def _session_part(session: Any) -> bytes:
    return combine("session", session.session_key) if session.session_key else ANONYMOUS
