"""Tokens shown where and by whom they mustn't be, to real servers."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.asgi import AsgiServer, manage

LOG_IN = """
from django.contrib.auth.models import User
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
user, _ = User.objects.get_or_create(username={name!r})
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print("session", session.session_key)
"""
LOG_OUT = """
from django.contrib.sessions.backends.db import SessionStore
SessionStore({key!r}).flush()
"""


def run(code: str, data: Path) -> str:
    return manage("shell", "--command", code, data=data)


def log_in(name: str, data: Path) -> str:
    return run(LOG_IN.format(name=name), data).split("session ")[1].strip()


class Visitor:
    """One who joins by hand, with any token at any address."""

    def __init__(
        self, server: AsgiServer, session_key: str | None = None, cookie: str | None = None
    ) -> None:
        self._server = server
        cookies = [f"sessionid={session_key}"] if session_key else []
        cookies += [f"recovery_visitor={cookie}"] if cookie else []
        self._headers = {"cookie": "; ".join(cookies)} if cookies else {}

    def load_page(self) -> tuple[str | None, str | None]:
        """Return the cookie that a page sets, and the owner that it names."""
        request = urllib.request.Request(self._server.url, headers=self._headers)
        with urllib.request.urlopen(request) as response:
            page = response.read().decode()
            cookies = response.headers.get("Set-Cookie", "")
        cookie = re.search(r"recovery_visitor=([^;]+)", cookies)
        owner = re.search(r'data-recovery-owner="(\w+)', page)
        return cookie and cookie[1], owner and owner[1]

    def connect(self, address: str) -> connect:
        url = self._server.ws_url + address
        # A busy machine may take longer than a ping is waited for.
        return connect(url, additional_headers=self._headers, ping_interval=None)

    async def visit(self, address: str, token: str | None = None) -> dict[str, Any]:
        """Join, write an x, and return what was told."""
        async with self.connect(address) as socket:
            return await join(socket, token)


async def join(socket: ClientConnection, token: str | None, ref: str = "1") -> dict[str, Any]:
    await socket.send(json.dumps([ref, ref, "doc", "phx_join", {"_recovery": token}]))
    told = (await reply(socket, ref))["_recovery"]
    await socket.send(json.dumps([ref, ref + "x", "doc", "write", {"text": "x"}]))
    return {**told, **await reply(socket, ref + "x")}


async def reply(socket: ClientConnection, ref: str) -> dict[str, Any]:
    async for text in socket:
        frame = json.loads(text)
        if frame[1] == ref and frame[3] == "phx_reply":
            assert frame[4]["status"] == "ok", frame
            response: dict[str, Any] = frame[4]["response"]
            return response
    raise AssertionError("the server closed the connection")


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
async def test_a_token_is_no_key_to_other_documents_or_persons(
    asgi_server: Callable[..., AsgiServer], server: str, tmp_path: Path
) -> None:
    data = tmp_path / "demo"
    running = asgi_server(server, application="tests.support.documents:application")
    ada, bob = (log_in(name, data) for name in ("ada", "bob"))
    nobody, as_ada, as_bob = (Visitor(running, key) for key in (None, ada, bob))

    # The address.
    token = (await as_ada.visit("/ws/doc/1"))["token"]
    told = await as_ada.visit("/ws/doc/2", token)
    assert (told["outcome"], told["doc_id"], told["text"]) == ("rejected", 2, "x")
    told = await as_ada.visit("/v2/doc/1", token)
    assert (told["outcome"], told["doc_id"], told["text"]) == ("recovered", 1, "xx")

    # The person.
    for stranger in (nobody, as_bob):
        assert (await stranger.visit("/ws/doc/1", told["token"]))["outcome"] == "rejected"
    began = (await nobody.visit("/ws/doc/3"))["token"]
    taken = await as_ada.visit("/ws/doc/3", began)
    assert (taken["outcome"], taken["text"]) == ("recovered", "xx")
    for shown in (began, taken["token"]):
        for stranger in (nobody, as_bob):
            assert (await stranger.visit("/ws/doc/3", shown))["outcome"] == "rejected"

    # A logout elsewhere, while the WebSocket stays open.
    async with as_ada.connect("/ws/doc/3") as socket:
        told = await join(socket, taken["token"])
        assert told["outcome"] == "recovered"
        run(LOG_OUT.format(key=ada), data)
        assert (await join(socket, told["token"], "2"))["outcome"] == "rejected"
    for shown in (began, taken["token"], told["token"]):
        for stranger in (nobody, as_ada, as_bob):
            assert (await stranger.visit("/ws/doc/3", shown))["outcome"] == "rejected"


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
async def test_a_visitors_token_is_no_use_without_the_cookie(
    asgi_server: Callable[..., AsgiServer], server: str
) -> None:
    running = asgi_server(server, application="tests.support.documents:application")
    cookie, owner = Visitor(running).load_page()
    assert cookie is not None
    assert owner is None, "The browser may not keep the cookie."
    mine = Visitor(running, cookie=cookie)
    assert mine.load_page()[0] is None
    told = await mine.visit("/ws/doc/1")
    token = told["token"]
    assert told["owner"] == mine.load_page()[1]

    # Stolen, and shown by others.
    other, _ = Visitor(running).load_page()
    visitor, _, signature = cookie.partition(":")
    forged = [visitor, f"{visitor}:", f"{visitor[::-1]}:{signature}", cookie[:-2], cookie + "A"]
    for shown in (None, other, *forged):
        thief = Visitor(running, cookie=shown)
        assert (await thief.visit("/ws/doc/1", token))["outcome"] == "rejected", shown
    # The cookie without the token.
    assert (await mine.visit("/ws/doc/1"))["text"] == "x"
    told = await mine.visit("/ws/doc/1", token)
    assert (told["outcome"], told["text"]) == ("recovered", "xx")


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
async def test_a_login_takes_a_visitors_state_along_only_where_it_may(
    asgi_server: Callable[..., AsgiServer], server: str, tmp_path: Path
) -> None:
    data = tmp_path / "demo"
    running = asgi_server(server, application="tests.support.documents:application")
    ada, bob = (log_in(name, data) for name in ("ada", "bob"))
    cookie, _ = Visitor(running).load_page()
    mine, as_ada, as_bob = (Visitor(running, key, cookie) for key in (None, ada, bob))
    elsewhere = Visitor(running, ada)

    # A consumer that doesn't say so.
    token = (await mine.visit("/ws/doc/1"))["token"]
    for user in (as_ada, as_bob, elsewhere):
        assert (await user.visit("/ws/doc/1", token))["outcome"] == "rejected"

    # One that does.
    began = (await mine.visit("/ws/kept/1"))["token"]
    assert (await elsewhere.visit("/ws/kept/1", began))["outcome"] == "rejected"
    told = await as_ada.visit("/ws/kept/1", began)
    assert (told["outcome"], told["text"]) == ("recovered", "xx")
    assert told["owner"] == as_ada.load_page()[1]
    assert told["aliases"] == [mine.load_page()[1]]
    # After the logout, and for the next who logs in at the same browser.
    for shown in (began, told["token"]):
        for stranger in (mine, as_bob):
            assert (await stranger.visit("/ws/kept/1", shown))["outcome"] == "rejected"
    assert (await as_ada.visit("/ws/kept/1", told["token"]))["text"] == "xxx"
