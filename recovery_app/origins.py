"""The check of a WebSocket's ``Origin`` header: which pages may connect.

A browser sends the visitor's cookies with each WebSocket, no matter which page opens it. Only
this header distinguishes the site's own pages from others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import ParseResult, urlparse

from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings
from django.http.request import split_domain_port, validate_host

__all__ = ["OriginMiddleware"]

# What each of the two takes for ALLOWED_HOSTS where that is empty in development.
_DEBUG_ORIGINS = ("localhost", "127.0.0.1", "[::1]")
_DEBUG_HOSTS = (".localhost", "127.0.0.1", "[::1]")
_SHOWN_CHARACTERS = 200
_CHECKED = "recovery_app.origin_checked"

logger = logging.getLogger("recovery_app")

_denier: Any = WebsocketDenier.as_asgi()


class OriginMiddleware(OriginValidator):
    """ASGI middleware that denies the WebSockets of other origins' pages.

    These are let in: clients that send no ``Origin`` header, which aren't browsers; pages of the
    host that they connect to; and pages that match ``allowed_origins``, written as for Channels'
    ``OriginValidator``. The default is `ALLOWED_HOSTS` and `CSRF_TRUSTED_ORIGINS`.
    """

    def __init__(self, application: Any, allowed_origins: Iterable[str] | None = None) -> None:
        if isinstance(allowed_origins, str):
            allowed_origins = (allowed_origins,)
        self._patterns = None if allowed_origins is None else _as_patterns(allowed_origins)
        super().__init__(application, self._patterns or ())
        self._inner = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "websocket":
            if not self.lets_through(scope):
                logger.info(
                    "A page of another origin was denied: %r",
                    _origin_of(scope)[:_SHOWN_CHARACTERS],
                    extra={"event": "origin_denied"},
                )
                return await _denier(scope, receive, send)
            scope = {**scope, _CHECKED: True}
        return await self._inner(scope, receive, send)

    def lets_through(self, scope: Mapping[str, Any]) -> bool:
        """Return whether the client of an ASGI scope may connect."""
        origins = _headers(scope, b"origin")
        if not origins or "*" in (self._patterns or ()):
            return True
        try:
            parsed = urlparse(_origin_of(scope))
            return len(origins) == 1 and (
                _is_same_origin(parsed, scope) or self.validate_origin(parsed)
            )
        except ValueError:
            # The header is the client's: urllib raises this for some addresses and ports.
            return False

    def validate_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Return whether an origin is allowed by the current settings."""
        patterns = _origins_of_settings() if self._patterns is None else self._patterns
        return any(self.match_allowed_origin(parsed_origin, pattern) for pattern in patterns)


class _ForeignOriginWarning:
    """A warning that a page of another origin reached a consumer, once in each process."""

    def __init__(self) -> None:
        self.is_given = False
        self._default = OriginMiddleware(None)

    def check(self, scope: Mapping[str, Any]) -> None:
        if self.is_given or _CHECKED in scope or self._default.lets_through(scope):
            return
        self.is_given = True
        logger.warning(
            "A page of another origin connects with the cookies of its visitor: %r. Wrap the "
            "consumers in RecoveryMiddlewareStack, which denies such pages, and list this one in "
            "its allowed_origins if it is meant to connect.",
            _origin_of(scope)[:_SHOWN_CHARACTERS],
            extra={"event": "origin_unchecked"},
        )


foreign_origin_warning = _ForeignOriginWarning()


def _origins_of_settings() -> list[str]:
    hosts: Iterable[str] = settings.ALLOWED_HOSTS or (_DEBUG_ORIGINS if settings.DEBUG else ())
    # "*" leaves the check of the Host header to a proxy, and vouches for no origin.
    return [*_as_patterns(settings.CSRF_TRUSTED_ORIGINS), *(host for host in hosts if host != "*")]


def _as_patterns(origins: Iterable[str]) -> list[str]:
    """Return origins in Channels' notation: ``https://.example.com`` for Django's ``*.``."""
    return [origin.replace("*.", ".", 1) for origin in origins]


def _is_same_origin(origin: ParseResult, scope: Mapping[str, Any]) -> bool:
    """Return whether a page was loaded from the host that it connects to.

    As for a request, the host must be one of `ALLOWED_HOSTS`: an attacker's own domain may
    resolve to this server (DNS rebinding).
    """
    hosts = _headers(scope, b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else []
    hosts = hosts or _headers(scope, b"host")
    allowed = settings.ALLOWED_HOSTS or (_DEBUG_HOSTS if settings.DEBUG else ())
    if not hosts or origin.hostname is None:
        return False
    domain, port = split_domain_port(hosts[0])
    if not domain or not validate_host(domain, allowed):
        return False
    default = {"http": 80, "https": 443}.get(origin.scheme)
    found = origin.hostname.rstrip("."), origin.port or default
    return found == (domain.strip("[]"), int(port) if port else default)


def _origin_of(scope: Mapping[str, Any]) -> str:
    return _headers(scope, b"origin")[0]


def _headers(scope: Mapping[str, Any], wanted: bytes) -> list[str]:
    return [value.decode("latin1") for name, value in scope.get("headers", ()) if name == wanted]
