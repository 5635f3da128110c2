"""What pages say: Phoenix channels, and Socket.IO."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.wire import frame_of

TOPIC = "lv:bench"


class Phoenix:
    """Version 2 frames of Phoenix; what is kept between two visits is the token."""

    opening: bytes | None = None
    joined = b"["
    event = frame_of(json.dumps(["1", "2", TOPIC, "count", {}]).encode())

    def join(self, kept: Any) -> bytes:
        """Return the frame of a join, with the token if there is one."""
        payload = {} if kept is None else {"_recovery": kept}
        return frame_of(json.dumps(["1", "1", TOPIC, "phx_join", payload]).encode())

    def keep(self, answer: bytes, kept: Any) -> tuple[Any, bool]:
        """Return what to keep, and whether the join went as it has to."""
        payload = json.loads(answer)[4]
        given = payload.get("response", {}).get("_recovery")
        if given is None:
            return None, payload.get("status", "ok") == "ok"
        wanted = "mounted" if kept is None else "recovered"
        return given["token"], payload["status"] == "ok" and (
            kept is None or given["outcome"] == wanted
        )


class SocketIO:
    """Engine.IO 4 with the packets of Socket.IO 5; kept are the session's ids and the offset."""

    opening: bytes | None = b"0"
    joined = b"40"
    event = frame_of(b'421["count",{}]')

    def join(self, kept: Any) -> bytes:
        """Return the packet that connects to the namespace, to go on where there is a session."""
        auth = "" if kept is None else json.dumps({key: kept[key] for key in ("pid", "offset")})
        return frame_of(f"40{auth}".encode())

    def keep(self, answer: bytes, kept: Any) -> tuple[Any, bool]:
        """Return what to keep, and whether the session goes on that was asked for."""
        given = json.loads(answer[2:])
        if kept is None:
            return given, "pid" in given
        return {**kept, **given}, given["sid"] == kept["sid"]

    def note(self, packet: bytes, kept: Any) -> Any:
        """Return what to keep after an event, whose last argument is the offset."""
        return {**kept, "offset": json.loads(packet[2:])[-1]}


DIALECTS: dict[str, type[Phoenix] | type[SocketIO]] = {"phoenix": Phoenix, "socket.io": SocketIO}
