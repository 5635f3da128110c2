"""The servers of a run: nodes of the application, and their shared storage."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recovery_app.chaos.plan import Fault, Kind
from recovery_app.chaos.scripts import Line
from recovery_app.chaos.storages import stopping
from recovery_app.chaos.storm import FaultAction
from tests.support import redis, warm
from tests.support.asgi import AsgiServer
from tests.support.databases import SERVERS
from tests.support.processes import HOST, Process, wait_until

APPLICATION = "tests.chaos.app.asgi:application"
SETTINGS = "tests.chaos.app.settings"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Without these, a killed Redis may lose writes that it has acknowledged."""
SETTLE_SECONDS = 240
FAIL_EVERY = 37


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A storage shared by nodes. ``also`` are the faults of the storage itself."""

    env: Mapping[str, str]
    also: Mapping[str, FaultAction] = field(default_factory=dict)


def script(events: int) -> list[Line]:
    """Return events, some of which make their handler raise."""
    return [
        Line(
            event="fail" if number % FAIL_EVERY == 0 else "add",
            payload={"number": number, "who": "{client}"},
        )
        for number in range(1, events + 1)
    ]


@contextmanager
def nodes(store: Store, directory: Path, count: int = 2) -> Iterator[list[Process]]:
    """Run some uvicorn processes with the same storage."""
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


def storage_env(backend: str, **options: Any) -> dict[str, str]:
    storage = {"BACKEND": f"recovery_app.storages.{backend}", "OPTIONS": options}
    return {"DJANGO_SETTINGS_MODULE": SETTINGS, "CHAOS_STORAGE": json.dumps(storage)}


@contextmanager
def on_redis(directory: Path) -> Iterator[Store]:
    """Run a Redis that can be stopped."""
    with redis.make_redis(directory, *DURABLE) as server:
        url = f"redis://{HOST}:{server.port}/0"
        stop: dict[str, FaultAction] = {Kind.REDIS_STOP: stopping(server)}
        yield Store(env=storage_env("RedisStorage", url=url), also=stop)


@contextmanager
def on_sentinels(directory: Path) -> Iterator[Store]:
    """Run a master, and a replica that must acknowledge each write.

    Both are durable: slow Sentinels may elect a restarted master again, and its replica would then
    copy the loss.
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


@contextmanager
def on_cluster(directory: Path) -> Iterator[Store]:
    """Run three masters of a Cluster, each with a replica that must acknowledge its writes."""
    with redis.cluster(directory, *DURABLE, replicas=3, node_timeout_ms=1_500) as made:
        pairs = list(zip(made.nodes, made.replicas, strict=True))
        lock = asyncio.Lock()

        async def fail_over(fault: Fault) -> None:
            pair = pairs[int(fault.target * len(pairs))]
            async with lock:
                old, new = sorted(pair, key=_follows)
                await asyncio.to_thread(old.kill)
                await asyncio.to_thread(
                    wait_until, lambda: _is_master(new), SETTLE_SECONDS, "no other master"
                )
                await asyncio.to_thread(old.start)
                await asyncio.to_thread(
                    wait_until, lambda: _follows(old), SETTLE_SECONDS, "it doesn't follow"
                )

        env = storage_env(
            "RedisStorage",
            cluster=True,
            startup_nodes=made.startup_nodes,
            wait_replicas=1,
            wait_timeout=0.5,
        )
        yield Store(env=env, also={Kind.FAILOVER: fail_over})


def _is_master(server: Process) -> bool:
    with redis.client(server.port) as connection:
        return bool(connection.info("replication")["role"] == "master")


def _follows(server: Process) -> bool:
    with redis.client(server.port) as connection:
        return bool(connection.info("replication").get("master_link_status") == "up")


def sentinel_env(trio: redis.SentinelTrio) -> dict[str, str]:
    """Return an environment in which nodes wait for the replica of a master."""
    return storage_env(
        "RedisStorage",
        sentinels=trio.addresses,
        service_name=redis.SERVICE,
        wait_replicas=1,
        wait_timeout=0.5,
    )


@contextmanager
def on_postgresql(directory: Path) -> Iterator[Store]:
    """Run PostgreSQL with the migrated table."""
    home = directory / "postgresql"
    home.mkdir()
    directory.chmod(0o755)
    with SERVERS["postgresql"].make(home) as server:
        env = {**storage_env("DatabaseStorage"), "CHAOS_DATABASE": str(server.port)}
        migrate({**server.env, **env})
        yield Store(env=env)


@contextmanager
def on_sqlite(directory: Path) -> Iterator[Store]:
    """Make a database in a file."""
    env = {**storage_env("DatabaseStorage"), "CHAOS_SQLITE": str(directory / "chaos.sqlite3")}
    migrate(env)
    yield Store(env=env)


def migrate(env: Mapping[str, str]) -> None:
    """Make the tables."""
    command = ("-m", "django", "migrate", "--verbosity", "0")
    warm.run(*command, env={**os.environ, **env}).check_returncode()


STORES = {
    "redis": on_redis,
    "sentinels": on_sentinels,
    "cluster": on_cluster,
    "postgresql": on_postgresql,
    "sqlite": on_sqlite,
}
SHORT_STORES = [
    # One Redis is what the tests of the command run on as well; the failovers have tests of theirs.
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("redis", "sentinels")),
    "postgresql",
]
