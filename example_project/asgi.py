"""The ASGI application: pages, static files and WebSockets."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from example_project.chat import ChatConsumer  # noqa: E402
from example_project.consumers import LiveConsumer, QuoteConsumer  # noqa: E402
from example_project.orders import OrdersConsumer  # noqa: E402
from recovery_app.drain import RecoveryDrain  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402


class BrowserOriginValidator(OriginValidator):
    """A validator that rejects other sites, but accepts clients that send no origin."""

    def valid_origin(self, parsed_origin: Any) -> bool:
        """Return whether the origin is allowed."""
        return parsed_origin is None or super().valid_origin(parsed_origin)


# The npm clients append "/websocket" to their URL.
consumers: dict[str, Any] = {
    "ws/websocket": QuoteConsumer.as_asgi(),
    "live/websocket": LiveConsumer.as_asgi(),
    "ws/chat": ChatConsumer.as_asgi(),
    "ws/orders": OrdersConsumer.as_asgi(),
}
routes: list[Any] = [path(route, consumer) for route, consumer in consumers.items()]
router = ProtocolTypeRouter(
    {
        # Serves static files without collectstatic. Not for production.
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": BrowserOriginValidator(
            RecoveryMiddlewareStack(URLRouter(routes)), settings.ALLOWED_HOSTS
        ),
    }
)
application = RecoveryDrain(router, seconds=5, grace_seconds=2)
