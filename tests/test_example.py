"""The example project: quotes, their consumer, and the server."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from datetime import timedelta
from http.client import HTTPMessage
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from example_project import quotes
from example_project.consumers import QuoteConsumer
from tests.support.asgi import manage
from tests.support.processes import TOP

STATIC = TOP / "example_project/static/example_project"
JOIN = ["1", "1", "quote", "phx_join", {}]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
INVALID_PAYLOADS = st.dictionaries(st.sampled_from(["id", "ids", "field", "value", "x"]), ANYTHING)


def make(*items: dict[str, str], **fields: str) -> quotes.Quote:
    """Return a quote with these lines and fields."""
    quote = quotes.new()
    quote["items"] = [
        {"id": f"line{place:02}", "description": "", "quantity": "", "price": "", **item}
        for place, item in enumerate(items)
    ]
    quote["fields"].update(fields)
    return quote


# Quotes


def test_totals_are_computed_with_discount_and_vat():
    quote = make(
        {"quantity": "4", "price": "489.00"}, {"quantity": "1,5", "price": "10"}, discount="5"
    )
    shown = quotes.present(quote)
    assert [item["total"] for item in shown["items"]] == ["1,956.00", "15.00"]
    assert shown["totals"] == {
        "currency": "€",
        "subtotal": "1,971.00",
        "discount": "−98.55",
        "vat": "355.77",
        "total": "2,228.22",
        "uncounted": 0,
    }


@pytest.mark.parametrize("text", ["four", "1e9", "NaN", "-1", "1.234", "12345678", "٣"])
def test_an_invalid_number_is_kept_reported_and_not_counted(text):
    shown = quotes.present(make({"quantity": text, "price": "2"}, {"quantity": "1", "price": "3"}))
    first, second = shown["items"]
    assert (first["quantity"], first["total"]) == (text, None)
    assert (list(first["errors"]), second["errors"]) == (["quantity"], {})
    assert (shown["totals"]["subtotal"], shown["totals"]["uncounted"]) == ("3.00", 1)


def test_invalid_fields_have_errors():
    yesterday = timezone.localdate() - timedelta(days=1)
    wrong = make(email="office@", delivery=str(yesterday), discount="101")
    assert list(quotes.present(wrong)["errors"]) == ["email", "delivery", "discount"]
    assert list(quotes.present(make(delivery="soon"))["errors"]) == ["delivery"]
    right = make(email="a@example.com", delivery=str(timezone.localdate()), discount="100")
    assert quotes.present(right)["errors"] == {}


def test_only_offered_choices_are_accepted():
    quote = make()
    for vat in ("7", "1000000"):
        quotes.apply(quote, "set_field", {"field": "vat", "value": vat})
    assert quote["fields"]["vat"] == "7"
    assert quote["changes"] == 1


@given(event=st.sampled_from([*quotes._CHANGES, "no_such_event"]), payload=INVALID_PAYLOADS)
def test_invalid_payloads_raise_nothing(event, payload):
    quote = make({"quantity": "1", "price": "2"})
    quotes.apply(quote, event, payload)
    json.dumps(quotes.present(quote))


def test_what_was_typed_is_put_back():
    quote = make({}, {"description": "Desk"}, customer="Finch", notes="New")
    desk = {"id": "line01", "description": "Desk, oak", "quantity": "2", "price": "9"}
    lamp = {"id": "lamp001", "description": "Lamp", "quantity": "", "price": ""}
    texts = {"notes": "Old", "vat": "1000000", "no_field": "x"}
    items = [{**desk, "total": "18.00"}, lamp, "no line"]
    quotes.apply(quote, "put_back", {"fields": texts, "items": items})
    # A line that nobody has written on makes room.
    assert quote["items"] == [desk, lamp]
    assert quote["fields"] == {**quotes.FIELDS, "customer": "Finch", "notes": "Old"}


def test_the_size_of_a_quote_is_limited():
    quote = make()
    for place in range(quotes.MAX_ITEMS + 10):
        quotes.apply(quote, "add_item", {"id": f"item{place:03}"})
    quotes.apply(quote, "set_field", {"field": "notes", "value": "x" * 100_000})
    assert len(quote["items"]) == quotes.MAX_ITEMS
    assert len(quote["fields"]["notes"]) == 2000


# Consumer


async def join(payload: dict[str, Any]) -> tuple[WebsocketCommunicator, dict[str, Any]]:
    """Connect and join; return the connection and the response."""
    client = WebsocketCommunicator(QuoteConsumer.as_asgi(), "/ws/websocket")
    await client.connect()
    return client, await ask(client, [*JOIN[:4], payload])


async def ask(client: WebsocketCommunicator, frame: list[Any]) -> dict[str, Any]:
    """Send a frame and return the response, whose status must be "ok"."""
    await client.send_json_to(frame)
    *_, reply = await client.receive_json_from()
    assert reply["status"] == "ok"
    response: dict[str, Any] = reply["response"]
    return response


async def test_a_quote_is_recovered():
    client, first = await join({})
    changed = await ask(
        client, ["1", "2", "quote", "set_field", {"field": "customer", "value": "Finch"}]
    )
    again, back = await join({"_recovery": first["_recovery"]["token"]})
    assert (first["_recovery"]["outcome"], back["_recovery"]["outcome"]) == ("new", "recovered")
    assert back["quote"] == changed["quote"]
    assert back["quote"]["fields"]["customer"] == "Finch"
    await client.disconnect()
    await again.disconnect()


# Chat


async def test_a_line_that_is_written_twice_is_one(asgi_server):
    async with connect(f"{asgi_server().ws_url}/ws/chat") as client:

        async def write(ref: str, event: str, topic: str = "room:lobby", **payload: Any) -> Any:
            await client.send(json.dumps(["1", ref, topic, event, payload]))
            frames = [json.loads(await client.recv())]
            while frames[-1][1] != ref:
                frames.append(json.loads(await client.recv()))
            return frames[-1][4]

        refused = await write("1", "phx_join", topic="room:no such room")
        assert refused == {"status": "error", "response": {"reason": "no such room"}}
        assert (await write("1", "phx_join"))["response"]["lines"] == []
        # Its row is there, and the state that knows of its event isn't: the event comes again.
        for ref in ("2", "3"):
            await write(ref, "say", uid="one", author="Ada", text=" Hello ")
        await write("4", "say", uid="two", author="", text="Who am I?")
        await write("5", "say", uid="three", author="Ada", text="  ")
        lines: list[Any] = []
        while len(lines) < 2:
            lines = (await write("6", "show"))["response"]["lines"]
        told = [(line["uid"], line["author"], line["text"]) for line in lines]
        assert told == [("one", "Ada", "Hello"), ("two", "Somebody", "Who am I?")]


# Server


def get(url: str) -> tuple[str, HTTPMessage]:
    with urllib.request.urlopen(url) as response:
        return response.read().decode(errors="replace"), response.headers


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_pages_and_their_static_files_are_served(asgi_server, server):
    url = asgi_server(server).url
    for path in ("/", "/live/", "/chat/", "/dashboard/"):
        html, headers = get(url + path)
        cookies = headers.get("Set-Cookie", "")
        assert cookies.startswith("recovery_visitor=") is ("recovery.js" in html)
        for link in re.findall(r'(?:src|href)="([^"]+)"', html):
            assert link.startswith("/")
            get(url + link)


async def test_another_site_can_not_connect(asgi_server):
    url = f"{asgi_server().ws_url}/ws/websocket"
    with pytest.raises(InvalidStatus, match="403"):
        await connect(url, origin=Origin("http://example.com"))


async def test_a_token_is_bound_to_its_visitor(asgi_server):
    server = asgi_server()
    outcomes = []
    _, headers = get(server.url)
    cookie = headers["Set-Cookie"].partition(";")[0]
    token = None
    for cookies in ({"Cookie": cookie}, {"Cookie": cookie}, {}):
        async with connect(f"{server.ws_url}/ws/websocket", additional_headers=cookies) as client:
            await client.send(json.dumps([*JOIN[:4], {"_recovery": token} if token else {}]))
            recovery = json.loads(await client.recv())[4]["response"]["_recovery"]
        token = recovery["token"]
        outcomes.append(recovery["outcome"])
    assert outcomes == ["new", "recovered", "rejected"]


@pytest.mark.parametrize("debug", ["1", "0"])
def test_the_project_passes_the_system_checks(migrated_demo, monkeypatch, debug):
    monkeypatch.setenv("DEMO_DEBUG", debug)
    manage("check", "--fail-level=WARNING", data=migrated_demo)


def test_the_secret_key_is_created_once(tmp_path):
    command = [
        "shell",
        "-v",
        "0",
        "-c",
        "from django.conf import settings; print(settings.SECRET_KEY)",
    ]
    keys = {manage(*command, data=tmp_path) for _ in range(2)}
    assert len(keys) == 1
    assert len(keys.pop().strip()) >= 50
    assert os.listdir(tmp_path) == ["secret-key"]


# Files


def test_nothing_is_loaded_from_another_host():
    files = [
        *STATIC.rglob("*.js"),
        *STATIC.rglob("*.css"),
        *TOP.glob("example_project/templates/**/*.html"),
    ]
    assert len(files) >= 8
    for file in files:
        assert not re.search(r"https?://|\bstyle=|<script>|@import", file.read_text()), file


def test_files_stay_small():
    for file in [*STATIC.rglob("*.js"), *TOP.glob("example_project/*.py")]:
        assert len(file.read_text().splitlines()) <= 300, file
