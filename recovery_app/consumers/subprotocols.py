"""The WebSocket subprotocol (RFC 6455, section 1.9), which a client may ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Send = Callable[[Any], Awaitable[None]]


def choosing(name: str, scope: Mapping[str, Any], send: Send) -> Send:
    """Return ``send``, which also accepts the subprotocol ``name`` if the client offers it.

    A browser closes a connection on which none of those that it has offered was chosen. The npm
    ``phoenix`` client offers ``phoenix`` with an ``authToken``. A consumer's own choice stays.
    """
    if name not in (scope.get("subprotocols") or ()):
        return send

    async def send_with_choice(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": name}
        await send(message)

    return send_with_choice
