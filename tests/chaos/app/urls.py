"""Own the one page: it is empty, for the client of the browser to be loaded into."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    """Give an empty page."""
    return HttpResponse("<!doctype html><title>Chaos</title>")


urlpatterns = [path("", page)]
