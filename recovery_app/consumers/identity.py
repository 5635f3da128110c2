"""Who a token is for: a consumer, a view, and a person as far as one is known."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from channels.db import database_sync_to_async

_LENGTH = struct.Struct(">I")


def combine(*parts: str | bytes) -> bytes:
    """Return bytes that no other list of parts gives."""
    whole = b""
    for part in parts:
        encoded = part.encode() if isinstance(part, str) else part
        whole += _LENGTH.pack(len(encoded)) + encoded
    return whole


_NOBODY = combine("nobody")
_USER = combine("user")


@lru_cache(maxsize=1_000)
def bind_to_view(kind: type, view: str) -> bytes:
    """Return the part of a binding that names a consumer and a view."""
    return combine(f"{kind.__module__}.{kind.__qualname__}", view)


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
        return combine("user", str(user.pk), auth_hash)
    session = scope.get("session")
    if session is None:
        return _NOBODY
    return _session_part(session) if hasattr(session, "_session_cache") else None


def name_person(scope: Mapping[str, Any], person: bytes) -> bytes:
    """Return the part without the auth hash: who it is stays the same with a new password."""
    return combine("user", str(scope["user"].pk)) if person.startswith(_USER) else person


def _session_part(session: Any) -> bytes:
    return combine("session", session.session_key) if session.session_key else _NOBODY
