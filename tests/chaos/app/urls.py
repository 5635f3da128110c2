"""The URLs of the application: a page into which tests load the client."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html

from recovery_app import get_manager
from recovery_app._core.persons import ANONYMOUS

PAGE = """<!doctype html><title>Chaos</title><body data-recovery-owner="{}">"""


def page(request: HttpRequest) -> HttpResponse:
    """Return an empty page. It names its owner, so events from before a join outlive a reload."""
    owner = get_manager().operations.owner_of(ANONYMOUS)
    return HttpResponse(format_html(PAGE, owner))


urlpatterns = [path("", page)]
