"""A token is for one address: the arguments of the route that led to the consumer."""

from __future__ import annotations

import datetime
import enum
import uuid
from pathlib import PurePosixPath
from typing import Any, cast

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.urls import path, re_path

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.consumers.identity import bind_to_route
from tests.consumers.wire import Client, recovery_of


class Document(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A consumer that checks access where it connects, and keeps what it found there."""

    recovery_fields = ("doc_id", "text")
    doc_id: Any = None
    readable = frozenset({"1", "2"})

    async def connect(self) -> None:
        self.doc_id = str(self.scope["url_route"]["kwargs"].get("doc_id"))
        if self.doc_id in self.readable:
            await self.accept()
        else:
            await self.close()

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        self.text = ""

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.text += payload.get("text", "")
        return {"doc_id": self.doc_id, "text": self.text}


class Unrouted(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 0


document: Any = Document.as_asgi()
unrouted: Any = Unrouted.as_asgi()
routes: Any = [
    path("ws/doc/<int:doc_id>", document),
    path("ws/page/<str:doc_id>", document),
    path("moved/ws/doc/<int:doc_id>", document),
    re_path(r"^by/(\d+)/(\d+)$", unrouted),
    path("one/<path:file>", unrouted),
    path("two/<uuid:key>", unrouted),
    path("plain", unrouted),
]
router = URLRouter(routes)


async def join_at(
    manager: RecoveryManager, address: str, token: str | None = None, app: Any = router
) -> dict[str, Any]:
    """Join at an address, send an event, and return the `_recovery` part of the join's reply."""
    communicator = WebsocketCommunicator(app, address)
    communicator.scope.update(cast(Any, {"recovery": manager}))
    assert (await communicator.connect(timeout=5))[0]
    client = Client(communicator)
    told = recovery_of(await client.join("doc", token=token))
    pushed = (await client.push("write", {"text": "x"}, topic="doc"))["response"]
    await communicator.disconnect(timeout=5)
    return {**told, **pushed}


async def test_a_token_of_one_document_is_rejected_at_another(manager: RecoveryManager) -> None:
    token = (await join_at(manager, "/ws/doc/1"))["token"]
    told = await join_at(manager, "/ws/doc/2", token)
    assert (told["outcome"], told["doc_id"], told["text"]) == ("rejected", "2", "x")
    told = await join_at(manager, "/ws/doc/1", token)
    assert (told["outcome"], told["doc_id"], told["text"]) == ("recovered", "1", "xx")


async def test_a_moved_prefix_costs_nothing(manager: RecoveryManager) -> None:
    token = (await join_at(manager, "/ws/doc/1"))["token"]
    assert (await join_at(manager, "/moved/ws/doc/1", token))["outcome"] == "recovered"
    inner: Any = URLRouter(cast(Any, [path("<int:doc_id>", document)]))
    nested = URLRouter(cast(Any, [path("live/", inner)]))
    token = (await join_at(manager, "/ws/doc/1"))["token"]
    assert (await join_at(manager, "/live/1", token, nested))["outcome"] == "recovered"


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("/by/1/23", "/by/12/3"),
        ("/one/a/b", "/one/a"),
        ("/one/1", "/plain"),
        (f"/two/{uuid.UUID(int=1)}", f"/two/{uuid.UUID(int=2)}"),
        ("/ws/doc/1", "/ws/page/1"),
    ],
)
async def test_each_argument_counts(manager: RecoveryManager, address: str, other: str) -> None:
    token = (await join_at(manager, address))["token"]
    assert (await join_at(manager, other, token))["outcome"] == "rejected"
    assert (await join_at(manager, address, token))["outcome"] == "recovered"


async def test_a_consumer_without_a_router_has_no_address(manager: RecoveryManager) -> None:
    token = (await join_at(manager, "/anywhere", app=Unrouted.as_asgi()))["token"]
    told = await join_at(manager, "/elsewhere", token, app=Unrouted.as_asgi())
    assert told["outcome"] == "recovered"
    assert (await join_at(manager, "/plain", told["token"]))["outcome"] == "recovered"


class Kind(enum.Enum):
    BOOK = "book"


class Opaque:
    """What says nothing that would be the same in another process."""


def routed(*args: Any, at: str = "/x", **kwargs: Any) -> bytes:
    return bind_to_route({"path": at, "url_route": {"args": args, "kwargs": kwargs}})


def test_values_of_any_converter_have_a_stable_encoding() -> None:
    values = [
        *(1, "1", True, None, 1.5, b"1", uuid.UUID(int=1), datetime.date(2026, 1, 1), Kind.BOOK),
        *(PurePosixPath("a/b"), "a/b", "\udc80", ("1",), ("1", "2"), (("1",), "2"), {"a": 1}),
    ]
    encodings = [routed(value=value) for value in values]
    assert len(set(encodings)) == len(values)
    assert encodings == [routed(value=value, at="/elsewhere") for value in values]
    assert routed(a=1, b=2) == routed(b=2, a=1)
    assert routed("a", "b") != routed("ab") != routed(ab="")
    assert routed() == bind_to_route({}) == b""


def test_a_value_that_says_nothing_binds_to_the_path() -> None:
    assert routed(value=Opaque(), at="/1") == routed(value=Opaque(), at="/1")
    assert routed(value=Opaque(), at="/1") != routed(value=Opaque(), at="/2")
