"""The current manager, and the middleware that passes it to views and consumers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from recovery_app._core.manager import RecoveryManager
from recovery_app._live.record import CRASHED, PendingJoin
from recovery_app._logins import FallbackAuthMiddleware
from recovery_app._visitors import attach_visitor, visitor_of
from recovery_app.conf import get_manager
from recovery_app.origins import OriginMiddleware
from recovery_app.signals import observers

__all__ = [
    "RecoveryMiddleware",
    "RecoveryMiddlewareStack",
    "RecoveryScopeMiddleware",
    "current_manager",
    "ensure_visitor",
    "override_manager",
]

Response = HttpResponseBase | Awaitable[HttpResponseBase]
ASGIApp = Callable[[Any, Any, Any], Awaitable[Any]]

_HANDSHAKE = "recovery_app.handshake"
_override: ContextVar[RecoveryManager | None] = ContextVar("recovery_app_manager", default=None)


def current_manager() -> RecoveryManager:
    """Return the manager set by `override_manager`, or else the one built from the settings."""
    return _override.get() or get_manager()


@contextmanager
def override_manager(manager: RecoveryManager) -> Iterator[RecoveryManager]:
    """Make ``manager`` the current one inside the block, for this thread or task only."""
    token = _override.set(manager)
    try:
        yield manager
    finally:
        _override.reset(token)


class RecoveryMiddleware:
    """Middleware that sets ``request.recovery`` to the current manager, sync or async.

    It also sets the cookie of visitors, on pages that use recovery.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Response]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response:
        request.recovery = current_manager()  # type: ignore[attr-defined]
        visitor = attach_visitor(request)
        response: Any = self._get_response(request)
        if not self._is_async:
            return visitor.finish(response)

        async def finish() -> HttpResponseBase:
            return visitor.finish(await response)

        return finish()


def ensure_visitor(request: HttpRequest) -> None:
    """Have the response set the cookie of visitors, as ``{% recovery_script %}`` does.

    Call it for pages that don't use the tag, and for streamed pages, whose templates are rendered
    after the headers were sent. Requires `RecoveryMiddleware`.
    """
    visitor = visitor_of(request)
    if visitor is None:
        raise ImproperlyConfigured(
            "The cookie of visitors is set by recovery_app.middleware.RecoveryMiddleware: "
            "add it to MIDDLEWARE."
        )
    if visitor.require() is None:
        raise RuntimeError("The response has been sent: call ensure_visitor() in the view.")


class RecoveryScopeMiddleware:
    """ASGI middleware that sets ``scope["recovery"]`` to the current manager, if it isn't set."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Channels' communicators run the application outside of any `override_manager` block, so
        # tests can only pass a manager through the scope.
        manager = scope.get("recovery") or current_manager()
        if _HANDSHAKE in scope:
            scope[_HANDSHAKE].end()
        await self._inner({**scope, "recovery": manager}, receive, send)


class _HandshakeMiddleware:
    """ASGI middleware that notifies observers of what the middleware inside does with WebSockets.

    In an outage of the database it raises or hangs: those connections never reach a consumer.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await self._inner(scope, receive, send)
            return
        handshake = PendingJoin()
        try:
            await self._inner({**scope, _HANDSHAKE: handshake}, receive, send)
        except Exception:
            if not handshake.is_over:
                observers.connection_unjoined(CRASHED)
            raise
        finally:
            handshake.end()


def RecoveryMiddlewareStack(  # noqa: N802 - named like Channels' own
    inner: ASGIApp, *, allowed_origins: Iterable[str] | None = None
) -> Any:
    """Wrap a router of consumers in the middleware for cookies, session, user and recovery.

    Pages of other origins are denied (see `recovery_app.origins`). ``allowed_origins`` replaces
    the settings in this check; ``["*"]`` switches it off.
    """
    inner = FallbackAuthMiddleware(RecoveryScopeMiddleware(inner))
    inner = _HandshakeMiddleware(CookieMiddleware(SessionMiddleware(inner)))
    return OriginMiddleware(inner, allowed_origins)
