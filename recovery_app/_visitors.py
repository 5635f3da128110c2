"""The cookie of visitors: a random, signed name for a browser, independent of who is logged in.

Only pages that use recovery set it. It contains nothing about the person, and stays the same
when somebody logs in or out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers

COOKIE_NAME = "recovery_visitor"
SCOPE_KEY = "recovery_visitor"
"""Where the scope of a consumer has the visitor, verified once at the handshake."""
MAX_AGE_SECONDS = 52 * 7 * 24 * 60 * 60
VISITOR_BYTES = 16
_SALT = "recovery_app.visitor"
_REQUEST_KEY = "_recovery_visitor"


class Visitor(NamedTuple):
    """The contents of a genuine cookie."""

    id: str
    is_current: bool
    """Whether the cookie needs no renewal: it is young, and signed with today's key."""


def make_visitor() -> str:
    """Return a new, unique name."""
    return secrets.token_urlsafe(VISITOR_BYTES)


def sign_visitor(visitor: str) -> str:
    """Return the value of the cookie."""
    return TimestampSigner(salt=_SALT).sign(visitor)


def read_cookie(value: str | None) -> Visitor | None:
    """Return the contents of a cookie; ``None`` if it is missing, forged or too old."""
    if not value:
        return None
    try:
        current = TimestampSigner(salt=_SALT, fallback_keys=[])
        return Visitor(current.unsign(value, max_age=MAX_AGE_SECONDS // 2), True)
    except BadSignature:
        pass
    try:
        signer = TimestampSigner(salt=_SALT)
        return Visitor(signer.unsign(value, max_age=MAX_AGE_SECONDS), False)
    except BadSignature:
        return None


def find_visitor(scope: Mapping[str, Any]) -> str | None:
    """Return the visitor in a handshake; ``None`` if it has no valid cookie."""
    cookies = scope.get("cookies") or {}
    if COOKIE_NAME not in cookies:
        # Without Channels' middleware there are only headers, of which HTTP/2 may have several.
        headers = scope.get("headers", ())
        values = [value.decode("latin1") for name, value in headers if name == b"cookie"]
        cookies = parse_cookie("; ".join(values))
    visitor = read_cookie(cookies.get(COOKIE_NAME))
    return None if visitor is None else visitor.id


class PageVisitor:
    """The visitor of one HTTP request, whose response sets the cookie if the page needs it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.states: dict[str, str] = {}
        """The tokens of the states that the page begins with, by topic."""
        self._required: Visitor | None = None
        self._is_answered = False
        self._is_never_stored = False

    @cached_property
    def shown(self) -> Visitor | None:
        """What the browser has shown that it keeps."""
        return read_cookie(self._request.COOKIES.get(COOKIE_NAME))

    def require(self) -> str | None:
        """Return the visitor, and have the response set the cookie; ``None`` if it is too late."""
        if self._required is None:
            if self._is_answered:
                return None
            self._required = self.shown or Visitor(make_visitor(), False)
            self._keep_from_django_caches()
        return self._required.id

    def hold_back_from_caches(self) -> None:
        """Have no cache store the page, not even the browser's, because it contains a token."""
        if self._is_answered:
            raise RuntimeError("The response has been returned: call start_state() in the view.")
        self._is_never_stored = True
        self._keep_from_django_caches()

    def _keep_from_django_caches(self) -> None:
        # The page is for one person. A cache around the view alone never sees the headers that
        # `finish` adds; this is what Django's own caches look at before they store a page.
        self._request._cache_update_cache = False  # type: ignore[attr-defined]

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """Set the cookie, if the page needs it and the browser's isn't current."""
        self._is_answered = True
        if self._is_never_stored:
            patch_cache_control(response, no_store=True)
        if self._required is None:
            return response
        patch_vary_headers(response, ["Cookie"])
        patch_cache_control(response, private=True)
        if not self._required.is_current:
            response.set_cookie(
                COOKIE_NAME,
                sign_visitor(self._required.id),
                max_age=MAX_AGE_SECONDS,
                path=settings.SESSION_COOKIE_PATH,
                domain=settings.SESSION_COOKIE_DOMAIN,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite=settings.SESSION_COOKIE_SAMESITE,
            )
        return response


def attach_visitor(request: HttpRequest) -> PageVisitor:
    """Attach the visitor to a request."""
    visitor = PageVisitor(request)
    setattr(request, _REQUEST_KEY, visitor)
    return visitor


def visitor_of(request: HttpRequest) -> PageVisitor | None:
    """Return the visitor of a request; ``None`` without `RecoveryMiddleware`."""
    visitor: PageVisitor | None = getattr(request, _REQUEST_KEY, None)
    return visitor
