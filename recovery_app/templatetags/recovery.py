"""Template tags for pages that use recovery.

::

    {% load recovery %}
    {% recovery_script %}
"""

from __future__ import annotations

import logging
from typing import Any

from django import template
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString

from recovery_app import RecoveryManager, __version__
from recovery_app._core.persons import ANONYMOUS, name_user, name_visitor
from recovery_app._visitors import visitor_of

register = template.Library()
logger = logging.getLogger("recovery_app")

_SCRIPT = "recovery_app/recovery.js"
_STATE_ID = "recovery-state"
_NO_REQUEST = (
    "A template with a tag of recovery_app was rendered without a request, so visitors get no "
    "cookie and their tokens are bearer tokens. Render it with render(request, …), or pass the "
    "request to Template.render()."
)
_NO_MIDDLEWARE = (
    "A page uses recovery without recovery_app.middleware.RecoveryMiddleware, so visitors get no "
    "cookie and their tokens are bearer tokens. Add it to MIDDLEWARE."
)
_TOO_LATE = (
    "A page that uses recovery was rendered after its headers had been sent, so a visitor may have "
    "no cookie. Call recovery_app.middleware.ensure_visitor(request) in a view that streams."
)
_warnings_given: set[str] = set()


@register.simple_tag(takes_context=True)
def recovery_script(context: Context, *, module: bool = False) -> SafeString:
    """Return the script element of ``recovery.js``, and have the page set the visitor's cookie.

    ``module``: as a module, for pages whose own modules import the file. It has the nonce of the
    content security policy, if there is one, and the page's owner (see ``docs/client.md``).
    """
    request = _find_request(context)
    attributes = {
        "type": "module" if module else None,
        "src": static(_SCRIPT),
        "nonce": _find_nonce(context, request),
        "data-recovery-version": __version__,
        "data-recovery-owner": _find_owner(request),
    }
    given = [(name, value) for name, value in attributes.items() if value]
    return format_html("<script{}></script>", format_html_join("", ' {}="{}"', given))


@register.simple_tag(takes_context=True)
def recovery_owner(context: Context) -> str:
    """Return the value of ``data-recovery-owner``, for pages that load the script otherwise.

    It has the page set the visitor's cookie, too.
    """
    return _find_owner(_find_request(context))


@register.simple_tag(takes_context=True)
def recovery_state(context: Context) -> SafeString:
    """Return the element that passes `start_state`'s tokens to ``recovery.js``, by topic.

    It is empty where the view stored no state. Put it before the script that joins.
    """
    request = _find_request(context)
    visitor = None if request is None else visitor_of(request)
    if visitor is None:
        _warn_once(_NO_REQUEST if request is None else _NO_MIDDLEWARE)
    if visitor is None or not visitor.states:
        return SafeString()
    # In the content, which no selector of a style sheet can read.
    return json_script(visitor.states, _STATE_ID)


def _find_request(context: Context) -> HttpRequest | None:
    request: HttpRequest | None = getattr(context, "request", None) or context.get("request")
    return request


def _find_nonce(context: Context, request: HttpRequest | None) -> str | None:
    """Return the nonce of Django's own policy (6.0 and later), or that of django-csp."""
    for nonce in (
        context.get("csp_nonce"),
        getattr(request, "_csp_nonce", None),
        getattr(request, "csp_nonce", None),
    ):
        # Both make it when it is first written out; until then it counts as false.
        if nonce is not None and (written := str(nonce)):
            return written
    return None


def _find_owner(request: HttpRequest | None) -> str:
    """Return by which names the page's WebSocket may know the person; empty where that is open.

    The first is what the page's events are kept under. The others are of the same browser where
    the WebSocket knows less than the page: nobody who is logged in, or no cookie.
    """
    visitor = None if request is None else visitor_of(request)
    if request is None or visitor is None:
        _warn_once(_NO_REQUEST if request is None else _NO_MIDDLEWARE)
        return ""
    visitor_id = visitor.require()
    if visitor_id is None:
        _warn_once(_TOO_LATE)
        return ""
    try:
        user: Any = getattr(request, "user", None)
        is_user = user is not None and user.is_authenticated
    except SynchronousOnlyOperation:
        # An async view hasn't loaded the session, and nothing here can wait for that.
        return ""
    if not is_user and visitor.shown is None:
        # The browser may not keep the cookie, or get another one on a page opened meanwhile.
        return ""
    names = [*([name_user(user.pk)] if is_user else []), name_visitor(visitor_id), ANONYMOUS]
    manager: RecoveryManager = request.recovery  # type: ignore[attr-defined]
    return " ".join(map(manager.operations.owner_of, names))


def _warn_once(message: str) -> None:
    """Log what is wrong with the site, once in each process."""
    if message not in _warnings_given:
        _warnings_given.add(message)
        logger.warning("%s", message, extra={"event": "visitor_unset"})
