"""The example with one more page: a ledger that shows each event that was lost or repeated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.template import engines  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.clickjacking import xframe_options_sameorigin  # noqa: E402

from example_project import urls  # noqa: E402
from example_project.consumers import QuoteConsumer  # noqa: E402
from recovery_app.consumers import RecoveryConsumerMixin  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402
from recovery_app.values import Takeover  # noqa: E402

PAGE = Path(__file__).with_suffix(".html").read_text()


class Ledger(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """The numbers of all events, in the order in which they were applied."""

    recovery_topics = ("ledger",)
    recovery_fields = ("numbers",)

    numbers: list[int]

    async def mount(self, topic: str, params: Any) -> dict[str, Any]:
        self.numbers = []
        return self.page()

    async def after_recover(self, takeover: Takeover) -> dict[str, Any]:
        return self.page()

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        if event == "add":
            self.numbers.append(payload["number"])
        return self.page()

    def page(self) -> dict[str, Any]:
        """Return what the page knows of it."""
        return {"numbers": self.numbers}


@xframe_options_sameorigin
def ledger_page(request: HttpRequest) -> HttpResponse:
    """Return the page of the ledger."""
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urls.urlpatterns.append(path("ledger/", ledger_page))
consumers: dict[str, Any] = {"ws/ledger": Ledger.as_asgi(), "ws/websocket": QuoteConsumer.as_asgi()}
routes: list[Any] = [path(route, consumer) for route, consumer in consumers.items()]
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": RecoveryMiddlewareStack(URLRouter(routes)),
    }
)
