"""The URLs of the application: an empty page, into which tests load the client."""

from django.http import HttpRequest, HttpResponse
from django.urls import path


def page(request: HttpRequest) -> HttpResponse:
    """Return an empty page."""
    return HttpResponse("<!doctype html><title>Chaos</title>")


urlpatterns = [path("", page)]
