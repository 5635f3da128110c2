"""Whether the person who shows a token is still logged in: loaded anew, and nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    load_backend,
)
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare

from recovery_app.exceptions import RecoveryError, StorageUnavailable, TokenError


def login_session(scope: Mapping[str, Any]) -> SessionBase | None:
    """Return the session by which the user of a scope is logged in.

    ``None`` where nobody is, or by other means: such a user can't be loaded anew.
    """
    user, session = scope.get("user"), scope.get("session")
    if user is None or not user.is_authenticated or not isinstance(session, SessionBase):
        return None
    # A session that isn't loaded hasn't told who the user is.
    is_loaded = hasattr(session, "_session_cache")
    return session if is_loaded and session.get(SESSION_KEY) == _stored_pk(user) else None


async def refuse_login(session: SessionBase, user: Any) -> RecoveryError | None:
    """Return why a token isn't accepted from a user now; ``None`` if they are still logged in."""
    try:
        if await database_sync_to_async(_is_logged_in)(session, user):
            return None
    except Exception as error:
        # Without the error itself: its traceback would show error trackers the session's key.
        return StorageUnavailable(f"The session or user ({type(error).__name__})", "a join")
    return TokenError("The user who shows the token isn't logged in any more.")


def _is_logged_in(session: SessionBase, user: Any) -> bool:
    """Do what `django.contrib.auth.get_user` does, with a session of its own that isn't changed."""
    stored = session
    if session.session_key is not None:
        stored = session.__class__(session.session_key)
        is_named = SESSION_KEY in stored
        if stored.session_key is None:
            return False
        if not is_named and session.modified:
            # A login in the socket, which the consumer hasn't saved yet.
            stored = session
    backend_path: Any = stored.get(BACKEND_SESSION_KEY)
    if stored.get(SESSION_KEY) != _stored_pk(user) or (
        backend_path not in settings.AUTHENTICATION_BACKENDS
    ):
        return False
    found: Any = load_backend(backend_path).get_user(user.pk)
    if found is None:
        return False
    if not hasattr(found, "get_session_auth_hash"):
        return True
    auth_hash = found.get_session_auth_hash()
    hashes = [auth_hash, *getattr(found, "get_session_auth_fallback_hash", tuple)()]
    known_hash = getattr(user, "get_session_auth_hash", str)()
    session_hash = stored.get(HASH_SESSION_KEY) or ""
    return constant_time_compare(known_hash, auth_hash) and any(
        constant_time_compare(session_hash, each) for each in hashes
    )


def _stored_pk(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user.pk) if meta is None else meta.pk.value_to_string(user)
