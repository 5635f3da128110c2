"""Looking up the user of a session, without changing the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from channels.auth import AuthMiddleware
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare

from recovery_app.exceptions import RecoveryError, StorageUnavailable, TokenError


def login_session(scope: Mapping[str, Any]) -> SessionBase | None:
    """Return the session by which the user of a scope is logged in.

    ``None`` if nobody is, or by other means: such a user can't be loaded again.
    """
    user, session = scope.get("user"), scope.get("session")
    if user is None or not user.is_authenticated or not isinstance(session, SessionBase):
        return None
    # A session that isn't loaded hasn't told who the user is.
    is_loaded = hasattr(session, "_session_cache")
    return session if is_loaded and session.get(SESSION_KEY) == _stored_pk(user) else None


async def refuse_login(session: SessionBase, user: Any) -> RecoveryError | None:
    """Return why a user's token isn't accepted now; ``None`` if they are still logged in."""
    try:
        if await database_sync_to_async(_is_logged_in)(session, user):
            return None
    except Exception as error:
        # Without the error itself: its traceback would show error trackers the session's key.
        return StorageUnavailable(f"The session or user ({type(error).__name__})", "a join")
    return TokenError("The user who sent the token isn't logged in any more.")


def _is_logged_in(session: SessionBase, user: Any) -> bool:
    """Check the stored session, which a logout elsewhere has changed, and the user."""
    stored = session
    if session.session_key is not None:
        stored = session.__class__(session.session_key)
        is_named = SESSION_KEY in stored
        if stored.session_key is None:
            return False
        if not is_named and session.modified:
            # A login in the socket, which the consumer hasn't saved yet.
            stored = session
    found = find_user(stored)
    if found is None or stored.get(SESSION_KEY) != _stored_pk(user):
        return False
    # The user of the scope may be older than a password that was changed in this very session.
    return constant_time_compare(_auth_hash(user), _auth_hash(found))


def find_user(session: SessionBase) -> Any:
    """Return the user who is logged in by a session, or ``None``, by any known ``SECRET_KEY``.

    `django.contrib.auth.get_user` does the same, but changes the session.
    """
    backend_path: Any = session.get(BACKEND_SESSION_KEY)
    if SESSION_KEY not in session or backend_path not in settings.AUTHENTICATION_BACKENDS:
        return None
    pk = get_user_model()._meta.pk.to_python(session[SESSION_KEY])
    user: Any = load_backend(backend_path).get_user(pk)
    if not hasattr(user, "get_session_auth_hash"):
        return user
    session_hash = session.get(HASH_SESSION_KEY) or ""
    hashes = [_auth_hash(user), *getattr(user, "get_session_auth_fallback_hash", tuple)()]
    return user if any(constant_time_compare(session_hash, each) for each in hashes) else None


class FallbackAuthMiddleware(AuthMiddleware):
    """Channels' middleware, extended to sessions from before a rotation of ``SECRET_KEY``.

    Channels flushes these. Django gives them a new key and so a new cookie, which a WebSocket
    can't set: they are left for the next HTTP request.
    """

    async def resolve_scope(self, scope: Any) -> None:
        """Set the user of a scope."""
        if settings.SECRET_KEY_FALLBACKS:
            await database_sync_to_async(_update_hash)(scope["session"])
        await super().resolve_scope(scope)


def _update_hash(session: SessionBase) -> None:
    """Set the current hash of a session, only in this connection's memory."""
    user, modified = find_user(session), session.modified
    if hasattr(user, "get_session_auth_hash"):
        session[HASH_SESSION_KEY] = _auth_hash(user)
        session.modified = modified


def _auth_hash(user: Any) -> str:
    return str(getattr(user, "get_session_auth_hash", str)())


def _stored_pk(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user.pk) if meta is None else meta.pk.value_to_string(user)
