"""The one connection between a page and a node, and what is on its way there."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field

from tests.model.server import End


@dataclass(eq=False)
class Wire:
    """One connection: what is on its way, and who knows that it is over."""

    page: int
    number: int
    up: deque[str] = field(default_factory=deque)
    down: deque[str] = field(default_factory=deque)
    heard: list[str] = field(default_factory=list)
    """What has reached the server, for whoever plays it again."""
    given: str | None = None
    """The token in the reply to its last join, once the client has heard that."""
    end: End | None = None
    is_dialled: bool = True
    """The client waits for it to open."""
    is_held: bool = True
    """The client has not let go of it, nor was it told that it is over."""
    is_cut: bool = False

    def note_heard(self, text: str) -> None:
        """Note the token that a frame brings to the client, if it is the reply to a join."""
        response = json.loads(text)[-1].get("response", {})
        self.given = response.get("_recovery", {}).get("token", self.given)

    @property
    def shown(self) -> str:
        """Return the token that its last join showed."""
        token: str = json.loads(self.joins[-1])[-1]["_recovery"]
        return token

    @property
    def shows_token(self) -> bool:
        """Return whether its last join showed a token."""
        return "_recovery" in json.loads(self.joins[-1])[-1]

    @property
    def joins(self) -> list[str]:
        return [text for text in self.heard if '"phx_join"' in text]

    @property
    def is_alive(self) -> bool:
        """Return whether the server's end still runs."""
        return self.end is not None and self.end in self.end.node.ends

    @property
    def carries_down(self) -> bool:
        return bool(self.down) and self.is_held and not self.is_cut

    @property
    def carries_up(self) -> bool:
        return bool(self.up) and self.is_alive and not self.is_cut
