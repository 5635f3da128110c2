"""The pages, whose contents come over the WebSocket."""

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
    """Create a session, to which tokens are bound."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        # The key of a signed-cookie session is its contents, so these must be unique.
        request.session.setdefault("visitor", secrets.token_urlsafe(16))
        return view(request)

    return wrapped


@with_session
def quote(request: HttpRequest) -> HttpResponse:
    """Return the quote editor."""
    choices = {"vat_rates": quotes.VAT_RATES, "currencies": quotes.CURRENCIES}
    return render(request, "example_project/quote.html", choices)


@with_session
def live(request: HttpRequest) -> HttpResponse:
    """Return the page of the npm LiveView client, for the tests."""
    found = finders.find("phoenix_live_view/phoenix_live_view.js")
    return render(request, "example_project/live.html", {"found": bool(found)})
