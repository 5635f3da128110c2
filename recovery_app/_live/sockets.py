"""Creating sockets, each with a new id, and a token that may save its state."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from recovery_app._core.issuing import TokenIssuer
from recovery_app._core.tokens import Grant

_ID_BYTES = 16


def new_id() -> str:
    """Return an id of 128 random bits."""
    return secrets.token_urlsafe(_ID_BYTES)


class Socket(NamedTuple):
    """A socket id with the token that may save its state."""

    id: str
    grant: Grant

    @classmethod
    def begin(cls, issuer: TokenIssuer, binding: bytes) -> Socket:
        """Return a new socket."""
        socket_id = new_id()
        return cls(socket_id, issuer.create(socket_id, binding))
