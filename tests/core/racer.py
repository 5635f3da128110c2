"""Be one of several processes that race for one socket: ``python -m tests.core.racer``.

Reads what to do as JSON from the first line of its input, says that it is ready, starts at
the second line, and prints what came of it. It fails at the first thing that must not be.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django
from django.db import connections

from recovery_app import RecoveryManager
from recovery_app._core.tokens import TokenPayload, TokenSigner, hash_socket_id
from recovery_app.exceptions import TokenSuperseded
from recovery_app.snapshots import Snapshot
from recovery_app.storages import DatabaseStorage
from tests.core.support import SECRET, make_manager

SOCKET = "the socket that all race for"
HASH = hash_socket_id(SOCKET)


def token_of(issued_us: int) -> str:
    """Sign a token with this timestamp."""
    return TokenSigner(SECRET).sign(TokenPayload(socket_hash=HASH, issued_us=issued_us))


def stored_in(manager: RecoveryManager) -> tuple[int, int]:
    """Return the fence that is stored, and the timestamp that the state names."""
    snapshot = Snapshot.from_bytes(manager.storage.load(HASH.hex()) or b"")
    return snapshot.header.fence, manager.codec.decode(snapshot.state)["by"]


def race_to_save(manager: RecoveryManager, timestamps: range) -> list[int]:
    """Save with tokens of rising timestamps; give those that were let in."""
    won, seen = [], 0
    for issued_us in timestamps:
        try:
            manager.save(token_of(issued_us), {"by": issued_us})
            won.append(issued_us)
        except TokenSuperseded:
            assert stored_in(manager)[0] > issued_us, "refused by an older one"
        fence, by = stored_in(manager)
        assert fence == by, "the state is of another save than the fence"
        assert fence >= max(seen, issued_us), "an older save won"
        seen = fence
    return won


def race_to_take_over(manager: RecoveryManager, timestamps: range) -> list[int]:
    """Take over with the first token again and again; give the fences that came of it."""
    token = token_of(timestamps.start - timestamps.start % timestamps.step)
    return [manager.take_over(token).issued_us for _ in timestamps]


RACES = {"save": race_to_save, "take over": race_to_take_over}


def main() -> None:
    django.setup()
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    connections.settings[task["alias"]].update(NAME=task["name"], PORT=task["port"])
    # A clock that stands still leaves it to the storage to tell the takeovers apart.
    manager = make_manager(
        storage=DatabaseStorage(database=task["alias"]),
        clock=lambda: task["start_us"] / 1_000_000,
    )
    timestamps = range(
        task["start_us"] + task["number"],
        task["start_us"] + task["processes"] * task["turns"],
        task["processes"],
    )
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(RACES[task["race"]](manager, timestamps)), flush=True)


if __name__ == "__main__":
    main()
