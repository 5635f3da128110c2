"""Own the pages: both are empty forms that the WebSocket fills."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import wraps

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from example_project import quotes

View = Callable[[HttpRequest], HttpResponse]


def with_session(view: View) -> View:
    """Give the visitor a session: tokens are bound to it."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        # A signed cookie is the session's key: two visitors of one second need different ones.
        request.session.setdefault("visitor", secrets.token_urlsafe(16))
        return view(request)

    return wrapped


@with_session
def quote(request: HttpRequest) -> HttpResponse:
    """Show the quote editor."""
    choices = {"vat_rates": quotes.VAT_RATES, "currencies": quotes.CURRENCIES}
    return render(request, "example_project/quote.html", choices)


@with_session
def live(request: HttpRequest) -> HttpResponse:
    """Show the page that the npm LiveView client runs; the tests use it."""
    found = finders.find("phoenix_live_view/phoenix_live_view.js")
    return render(request, "example_project/live.html", {"found": bool(found)})
