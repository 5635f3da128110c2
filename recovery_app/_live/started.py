"""The snapshots of sockets that a connection has started and left."""

from __future__ import annotations

from collections.abc import Sized
from contextlib import suppress

from recovery_app._core.driver import Flow
from recovery_app._core.manager import RecoveryManager
from recovery_app._core.telemetry import wrap_unexpected_errors
from recovery_app._core.tokens import Grant
from recovery_app.exceptions import RecoveryError

KEPT_PER_TOPIC = 2
"""How many snapshots a connection may keep for each topic that it may join."""
KEPT_AT_LEAST = 100
"""How many it may keep in any case: a page may visit many topics, one at a time."""
LAST_SECONDS = 1
_DELETION = wrap_unexpected_errors("cleanup")


class StartedSockets:
    """The sockets that a connection has started and then left, the oldest first.

    Their states are kept, because a page may come back to a topic; but a client that joins and
    leaves again and again must not fill the storage. ``joined`` are the topics that are joined now.
    """

    def __init__(self, manager: RecoveryManager, *, max_topics: int, joined: Sized) -> None:
        self._manager = manager
        self._most = max(KEPT_PER_TOPIC * max_topics, KEPT_AT_LEAST)
        self._joined = joined
        self._left: list[Grant] = []

    def add(self, grant: Grant) -> None:
        """Note a socket that was left."""
        self._left.append(grant)

    @property
    def is_too_many(self) -> bool:
        """Whether the oldest ones have to be deleted."""
        return bool(self._left) and len(self._left) + len(self._joined) > self._most

    async def delete_oldest(self) -> None:
        """Delete the states of the oldest ones over the limit."""
        while self.is_too_many:
            flow = _delete(self._left.pop(0))
            with suppress(RecoveryError), _DELETION:
                await self._manager.driver.arun(flow)


def _delete(grant: Grant) -> Flow[None]:
    """Have a snapshot expire, unless a newer connection has taken it over."""
    # The fence decides, in one step. Between that and a delete, somebody could take it over.
    yield "touch", "touch_fenced", (grant.key, grant.claim, LAST_SECONDS), {}
