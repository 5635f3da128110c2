"""Own what the tests of the admin share: addresses, and what is read of a page."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id

LIST = "/admin/recovery_app/snapshot/"
CLEANUP = f"{LIST}cleanup/"
SURE = {"post": "yes"}


def hash_of(socket_id: str) -> str:
    """Give the key of a socket."""
    return hash_socket_id(socket_id).hex()


def detail_of(socket_id: str) -> str:
    """Give the address of a snapshot."""
    return f"{LIST}{hash_of(socket_id)}/change/"


def revocation_of(socket_id: str) -> str:
    """Give the address at which a snapshot is revoked."""
    return f"{LIST}{hash_of(socket_id)}/delete/"


def selected(*socket_ids: str, **more: str) -> dict[str, Any]:
    """Give the form of the list with some snapshots selected."""
    keys = [hash_of(socket_id) for socket_id in socket_ids]
    return {"action": "revoke_selected", "_selected_action": keys, **more}


def save(manager: RecoveryManager, *socket_ids: str, **options: Any) -> list[str]:
    """Save a snapshot for each socket, and give their tokens."""
    state = options.pop("state", {"count": 1})
    tokens = [manager.create_token(socket_id) for socket_id in socket_ids]
    for token in tokens:
        manager.save(token, state, **options)
    return tokens


def text_of(response: Any) -> str:
    """Give what a person reads, the spaces between words made one."""
    found = response.content.decode()
    main = found[found.index('<main id="content-start"') :]
    bare = re.sub(r"<(script|style|desc)\b.*?</\1>|<[^>]+>", " ", main, flags=re.DOTALL)
    return " ".join(unescape(bare).split())


def ids_of(response: Any) -> list[str]:
    """Give the socket ids in the rows of the list, from top to bottom."""
    found = re.findall(
        r'<th scope="row" class="recovery-id"><a href="/[^"]+"><bdi>(.*?)</bdi>',
        response.content.decode(),
    )
    return list(map(unescape, found))


def link_to(response: Any, text: str) -> str:
    """Give the address of the link with this text."""
    match = re.search(rf'<a href="([^"]+)"[^>]*>{re.escape(text)}', response.content.decode())
    assert match, f"There is no link {text!r}."
    return unescape(match[1])


def pages_of(client: Client, address: str, next_text: str = "Next page") -> list[list[str]]:
    """Give the socket ids of each page, from the first on."""
    pages = []
    while True:
        response: Any = client.get(address)
        assert response.status_code == 200
        pages.append(ids_of(response))
        if f">{next_text}<" not in response.content.decode():
            return pages
        address = LIST + link_to(response, next_text)
