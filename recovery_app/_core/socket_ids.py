"""Own which socket ids this process has seen: a token carries only their hash."""

from __future__ import annotations

from recovery_app._concurrency import LRUCache


class SocketIds:
    """Remember the socket ids seen last by their hash: ``limit`` of them, or twice as many."""

    def __init__(self, limit: int) -> None:
        self._ids: LRUCache[str, str] = LRUCache(limit)
        self.find = self._ids.get
        """Give the socket id with this hash, where it is still known."""

    def remember(self, key: str, socket_id: str) -> None:
        """Keep ``socket_id`` under its hash."""
        # The hash itself stands in until a process that knows the id has saved.
        if socket_id != key:
            self._ids.put(key, socket_id)
