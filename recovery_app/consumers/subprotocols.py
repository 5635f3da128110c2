"""The choice of a WebSocket subprotocol, which some clients insist on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Send: TypeAlias = Callable[[Any], Awaitable[None]]


def choose_subprotocol(scope: Mapping[str, Any], known: str, send: Send) -> Send:
    """Return a ``send`` that accepts with the subprotocol ``known`` if the client offers it.

    A browser closes a connection if the server chooses none of the subprotocols that it offered.
    The consumer's own choice takes precedence.
    """
    if known not in (scope.get("subprotocols") or ()):
        return send

    async def send_choosing(message: Any) -> None:
        if message["type"] == "websocket.accept" and message.get("subprotocol") is None:
            message = {**message, "subprotocol": known}
        await send(message)

    return send_choosing
