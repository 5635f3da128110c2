"""Own the stage of a run: nodes of the application, and the storage in which they meet."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recovery_app.chaos.plan import Fault, Kind
from recovery_app.chaos.scripts import Line
from recovery_app.chaos.storages import stopping
from recovery_app.chaos.storm import Act
from tests.support import redis
from tests.support.asgi import AsgiServer
from tests.support.databases import SERVERS
from tests.support.processes import HOST, TOP, Process, wait_until

APPLICATION = "tests.chaos.app.asgi:application"
SETTINGS = "tests.chaos.app.settings"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Without these a killed Redis may lose what it has said was saved."""
SETTLE_SECONDS = 60
FAIL_EVERY = 37


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where nodes save. ``also`` are the faults that the storage itself can suffer."""

    env: Mapping[str, str]
    also: Mapping[str, Act] = field(default_factory=dict)


def script(events: int) -> list[Line]:
    """Give events of which some crash in their handler."""
    return [
        Line(
            event="fail" if number % FAIL_EVERY == 0 else "add",
            payload={"number": number, "who": "{client}"},
        )
        for number in range(1, events + 1)
    ]


@contextmanager
def nodes(store: Store, directory: Path, count: int = 2) -> Iterator[list[Process]]:
    """Run uvicorn so many times, on the same storage."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                AsgiServer(
                    data=directory,
                    application=APPLICATION,
                    arguments=["--log-level", "warning"],
                    env=store.env,
                )
            )
            for _ in range(count)
        ]


def _env(backend: str, **options: Any) -> dict[str, str]:
    storage = {"BACKEND": f"recovery_app.storages.{backend}", "OPTIONS": options}
    return {"DJANGO_SETTINGS_MODULE": SETTINGS, "CHAOS_STORAGE": json.dumps(storage)}


@contextmanager
def on_redis(directory: Path) -> Iterator[Store]:
    """Run one Redis that can be killed at any time."""
    with redis.make_redis(directory, *DURABLE) as server:
        url = f"redis://{HOST}:{server.port}/0"
        stop: dict[str, Act] = {Kind.REDIS_STOP: stopping(server)}
        yield Store(env=_env("RedisStorage", url=url), also=stop)


@contextmanager
def on_sentinels(directory: Path) -> Iterator[Store]:
    """Run a master and a replica that has each write before it counts as saved.

    A master that came back without what it had could be chosen again, and its replica would
    have to forget it too: Sentinels that are short of time change their minds.
    """
    with redis.sentinels(directory, *DURABLE) as trio:
        lock = asyncio.Lock()

        async def fail_over(_: Fault) -> None:
            async with lock:
                old = trio.master
                await asyncio.to_thread(old.kill)
                await asyncio.to_thread(
                    wait_until, lambda: trio.master is not old, SETTLE_SECONDS, "no other master"
                )
                await asyncio.to_thread(old.start)
                await asyncio.to_thread(trio.settle)

        yield Store(env=sentinel_env(trio), also={Kind.FAILOVER: fail_over})


def sentinel_env(trio: redis.SentinelTrio) -> dict[str, str]:
    """Have nodes save on a master, and wait until its replica has it."""
    return _env(
        "RedisStorage",
        sentinels=trio.addresses,
        service_name=redis.SERVICE,
        wait_replicas=1,
        wait_timeout=0.5,
    )


@contextmanager
def on_postgresql(directory: Path) -> Iterator[Store]:
    """Run PostgreSQL with the table of snapshots."""
    home = directory / "postgresql"
    home.mkdir()
    directory.chmod(0o755)
    with SERVERS["postgresql"].make(home) as server:
        env = {**_env("DatabaseStorage"), "CHAOS_DATABASE": str(server.port)}
        migrate = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=TOP, env={**server.env, **env}, check=True)
        yield Store(env=env)


STORES = {"redis": on_redis, "sentinels": on_sentinels, "postgresql": on_postgresql}
