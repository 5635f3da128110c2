"""Own which socket ids this process has seen: a token carries only their hash."""

from __future__ import annotations

import threading
from collections import OrderedDict

from recovery_app.forking import survive_fork


class SocketIds:
    """Remember the socket ids seen last, at most ``limit``, by their hash."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        survive_fork(self)

    def remember(self, key: str, socket_id: str) -> None:
        """Keep ``socket_id`` under its hash."""
        if socket_id == key:
            # The hash itself, which stands in until a process that knows the id has saved.
            return
        with self._lock:
            self._ids[key] = socket_id
            self._ids.move_to_end(key)
            if len(self._ids) > self._limit:
                self._ids.popitem(last=False)

    def find(self, key: str) -> str | None:
        """Give the socket id with this hash, where it is still known."""
        return self._ids.get(key)

    def after_fork(self) -> None:
        """Replace the lock, which the parent may have held."""
        self._lock = threading.Lock()
