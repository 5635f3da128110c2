"""The pages, whose contents come over the WebSocket."""

from __future__ import annotations

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from example_project import quotes


def quote(request: HttpRequest) -> HttpResponse:
    """Return the quote editor."""
    choices = {"vat_rates": quotes.VAT_RATES, "currencies": quotes.CURRENCIES}
    return render(request, "example_project/quote.html", choices)


def chat(request: HttpRequest, room: str = "lobby") -> HttpResponse:
    """Return a chat room."""
    return render(request, "example_project/chat.html", {"room": room})


def orders(request: HttpRequest) -> HttpResponse:
    """Return the dashboard."""
    return render(request, "example_project/orders.html")


def live(request: HttpRequest) -> HttpResponse:
    """Return the page of the npm LiveView client, for the tests."""
    found = finders.find("phoenix_live_view/phoenix_live_view.js")
    return render(request, "example_project/live.html", {"found": bool(found)})
