"""How storages fail: context managers, each an outage for as long as its block lasts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.outages.site import WAIT_SECONDS, set_password
from tests.support.processes import Process
from tests.support.redis import client

ROOM_BYTES = 2_000_000
CACHED_KEYS = 20_000
MOST_CACHED_KEYS = 50 * CACHED_KEYS
SNAPSHOTS = "golivekit:recovery:{*"


@contextmanager
def stopped(redis: Process) -> Iterator[None]:
    """Stop it; it is empty when it is back."""
    redis.stop()
    try:
        yield
    finally:
        redis.start()
        set_password(redis)


@contextmanager
def silent(redis: Process) -> Iterator[None]:
    """Have it take what is sent, and answer nothing."""
    with redis.stalled():
        yield


@contextmanager
def full(redis: Process) -> Iterator[None]:
    """Leave no memory."""
    with client(redis.port) as connection:
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("maxmemory", 1)
        yield
        connection.config_set("maxmemory", 0)


@contextmanager
def another_password(redis: Process) -> Iterator[None]:
    """Change the password, and have everybody log in again."""
    set_password(redis, "changed")
    with client(redis.port) as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    yield
    set_password(redis)


@contextmanager
def without_permission(redis: Process) -> Iterator[None]:
    """Take the right to run scripts."""
    with client(redis.port) as connection:
        connection.execute_command("ACL", "SETUSER", "site", "-eval", "-evalsha")
        yield
    set_password(redis)


def evict(redis: Process) -> None:
    """Have another application's cache fill the memory, until no snapshot has room in it."""
    with client(redis.port) as connection:
        used = connection.info("memory")["used_memory"]
        connection.config_set("maxmemory-policy", "allkeys-lru")
        connection.config_set("maxmemory", used + ROOM_BYTES)
        for first in range(0, MOST_CACHED_KEYS, CACHED_KEYS):
            pipeline = connection.pipeline(transaction=False)
            for number in range(first, first + CACHED_KEYS):
                pipeline.set(f"cache:{number}", "x" * 400)
            pipeline.execute()
            # Redis tells ages in seconds: what was saved just now may be taken for new as well.
            if not any(connection.scan_iter(SNAPSHOTS, count=CACHED_KEYS)):
                return
    raise AssertionError("Redis evicts no snapshot.")


def pause(redis: Process, milliseconds: int) -> None:
    """Have it answer late, once."""
    with client(redis.port) as connection:
        connection.execute_command("CLIENT", "PAUSE", milliseconds, "ALL")


@contextmanager
def sessions_are_away(data: Path) -> Iterator[None]:
    """Take away the table of sessions, which middleware needs before a consumer hears anything."""
    there, away = "django_session", "django_session_away"
    for old, new in ((there, away), (away, there)):
        execute(data, f"ALTER TABLE {old} RENAME TO {new}")
        if old == there:
            yield


def execute(data: Path, statement: str, *values: object) -> None:
    """Execute a statement on the demo's database."""
    with (
        closing(sqlite3.connect(data / "demo.sqlite3", timeout=WAIT_SECONDS)) as database,
        database,
    ):
        database.execute(statement, values)


class Make(Protocol):
    """What makes an outage of a server."""

    def __call__(self, server: Process, /) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Outage:
    """An outage of Redis, what log and health say of it, and which alert it is, and when."""

    make: Make
    cause: str
    alert: str = "RecoveryStorageUnavailable"
    minutes: int = 4


OUTAGES = {
    "stopped": Outage(stopped, "Connection refused"),
    "silent": Outage(silent, "no answer in time"),
    "full": Outage(full, "its memory is full (OOM)"),
    "another-password": Outage(another_password, "the user or password is refused"),
    "without-permission": Outage(
        without_permission, "the user lacks a permission", "RecoveryStorageBroken", 6
    ),
}
"""Those of which the storage's calls fail."""
