"""Helpers of the admin tests: URLs, and the contents of a response."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import TokenSuperseded

LIST = "/admin/recovery_app/snapshot/"
CLEANUP = f"{LIST}cleanup/"
REVOKE_USER = f"{LIST}revoke-user/"
CONFIRMED = {"post": "yes"}


def hash_of(socket_id: str) -> str:
    """Return the key of a socket."""
    return hash_socket_id(socket_id).hex()


def detail_of(socket_id: str) -> str:
    """Return the URL of a snapshot."""
    return f"{LIST}{hash_of(socket_id)}/change/"


def revocation_of(socket_id: str) -> str:
    """Return the URL that revokes a snapshot."""
    return f"{LIST}{hash_of(socket_id)}/delete/"


def selected(*socket_ids: str, **more: str) -> dict[str, Any]:
    """Return the form data of the list with some snapshots selected."""
    keys = [hash_of(socket_id) for socket_id in socket_ids]
    return {"action": "revoke_selected", "_selected_action": keys, **more}


def save(manager: RecoveryManager, *socket_ids: str, **options: Any) -> list[str]:
    """Save a snapshot for each socket, and return their tokens."""
    state = options.pop("state", {"count": 1})
    tokens = [manager.create_token(socket_id) for socket_id in socket_ids]
    for token in tokens:
        manager.save(token, state, **options)
    return tokens


def is_refused(manager: RecoveryManager, token: str) -> bool:
    """Return whether a token takes over nothing any more."""
    try:
        manager.take_over(token)
    except TokenSuperseded:
        return True
    return False


def text_of(response: Any) -> str:
    """Return the visible text, with whitespace collapsed."""
    found = response.content.decode()
    main = found[found.index('<main id="content-start"') :]
    bare = re.sub(r"<(script|style|desc)\b.*?</\1>|<[^>]+>", " ", main, flags=re.DOTALL)
    return " ".join(unescape(bare).split())


def ids_of(response: Any) -> list[str]:
    """Return the socket ids of the rows, from top to bottom."""
    found = re.findall(
        r'<th scope="row" class="recovery-id"><a href="/[^"]+"><bdi>(.*?)</bdi>',
        response.content.decode(),
    )
    return list(map(unescape, found))


def link_to(response: Any, text: str) -> str:
    """Return the URL of the link with this text."""
    match = re.search(rf'<a href="([^"]+)"[^>]*>{re.escape(text)}', response.content.decode())
    assert match, f"There is no link {text!r}."
    return unescape(match[1])


def pages_of(client: Client, address: str, next_text: str = "Next page") -> list[list[str]]:
    """Return the socket ids of each page, starting with the first."""
    pages = []
    while True:
        response: Any = client.get(address)
        assert response.status_code == 200
        pages.append(ids_of(response))
        if f">{next_text}<" not in response.content.decode():
            return pages
        address = LIST + link_to(response, next_text)
