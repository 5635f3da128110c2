"""An application of documents, as somebody might write it: access is checked at the connect."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from recovery_app.consumers import RecoveryConsumerMixin  # noqa: E402
from recovery_app.middleware import RecoveryMiddlewareStack  # noqa: E402


class Document(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """Keep what it shouldn't: the name of what one has access to."""

    recovery_fields = ("doc_id", "text")

    async def connect(self) -> None:
        self.doc_id = self.scope["url_route"]["kwargs"]["doc_id"]
        await self.accept()

    async def mount(self, topic: str, params: Any) -> None:
        self.text = ""

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.text += payload["text"]
        return {"doc_id": self.doc_id, "text": self.text}


class KeptDocument(Document):
    """The same, and a login takes it along."""

    recovery_keep_on_login = True


document: Any = Document.as_asgi()
kept: Any = KeptDocument.as_asgi()
routes: list[Any] = [
    path("ws/doc/<int:doc_id>", document),
    path("v2/doc/<int:doc_id>", document),
    path("ws/kept/<int:doc_id>", kept),
]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": RecoveryMiddlewareStack(URLRouter(routes)),
    }
)
