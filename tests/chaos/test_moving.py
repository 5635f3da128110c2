"""A site with open pages moves to another storage, and each page keeps its state."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from recovery_app.chaos.client import Client
from recovery_app.chaos.scripted_client import ScriptedClient
from recovery_app.chaos.scripts import for_client
from tests.chaos.support import SETTINGS, Store, nodes, on_postgresql, script, storage_env
from tests.support.databases import SERVERS
from tests.support.needs import require
from tests.support.processes import HOST, TOP, Process
from tests.support.proxy import RoundRobin
from tests.support.redis import client

PAGES = 40
EVENTS = 10
END_SECONDS = 120
OLD_DATABASE, NEW_DATABASE = 14, 15


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory that PostgreSQL's user can get to."""
    with tempfile.TemporaryDirectory(prefix="recovery-moving-") as path:
        yield Path(path)


class Switch(RoundRobin):
    """A proxy whose nodes can be others from now on."""

    def use(self, ports: Sequence[int]) -> None:
        """Pass connections to these nodes, and break off those that there are."""
        self._next = cycle(ports)
        self.cut()


class Page(ScriptedClient):
    """A page that notes the outcome of each of its joins."""

    def __init__(self, url: str, number: int) -> None:
        lines = for_client(script(EVENTS), number, EVENTS)
        self.outcomes: list[str | None] = []
        super().__init__(url, Client(topic="ledger"), lines, rng=random.Random(number))

    @property
    def joins(self) -> int:
        """Return how many of its joins went well."""
        return self._client.joins

    async def _run_connection(self, is_done: Callable[[], bool]) -> None:
        self._client.outcome = ""
        try:
            await super()._run_connection(is_done)
        finally:
            if self._client.outcome:
                self.outcomes.append(self._client.outcome)


@dataclass
class Progress:
    """The share of their events that the pages may have sent."""

    share: float = 0.2


def redis_entry(server: Process, number: int) -> dict[str, Any]:
    path = "recovery_app.storages.RedisStorage"
    return {"BACKEND": path, "OPTIONS": {"url": f"redis://{HOST}:{server.port}/{number}"}}


@contextmanager
def other_redis(server: Process, _directory: Path) -> Iterator[Store]:
    """Return another database of the same server."""
    yield Store(env=with_storage({}, redis_entry(server, NEW_DATABASE)))


@contextmanager
def postgresql(_server: Process, directory: Path) -> Iterator[Store]:
    require("PostgreSQL", SERVERS["postgresql"].is_here)
    with on_postgresql(directory) as store:
        yield store


def with_storage(env: Any, entry: dict[str, Any]) -> dict[str, str]:
    return {**env, "DJANGO_SETTINGS_MODULE": SETTINGS, "CHAOS_STORAGE": json.dumps(entry)}


def migrating(new: Store, old: Store) -> Store:
    """Return what processes have that know both."""
    both = (json.loads(store.env["CHAOS_STORAGE"]) for store in (new, old))
    env = storage_env("MigratingStorage", **dict(zip(("new", "old"), both, strict=True)))
    return Store(env={**new.env, **env})


def migrate_all(store: Store, node: Process) -> dict[str, Any]:
    """Run the command and return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate_recovery", "--json"],
        cwd=TOP,
        env={**node.env, **store.env},
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


async def all_join(pages: Sequence[Page], proxy: Switch, ports: Sequence[int]) -> None:
    """Have all pages join again, at these nodes, and wait until they have."""
    before = [page.joins for page in pages]
    proxy.use(ports)
    deadline = asyncio.get_running_loop().time() + END_SECONDS
    while not all(page.joins > joins for page, joins in zip(pages, before, strict=True)):
        assert asyncio.get_running_loop().time() < deadline, "some pages don't come back"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("make_new", [other_redis, postgresql])
async def test_all_pages_keep_their_states(
    redis_server: Process, directory: Path, make_new: Any
) -> None:
    entry = redis_entry(redis_server, OLD_DATABASE)
    old = Store(env=with_storage({}, entry))
    progress = Progress()
    with make_new(redis_server, directory) as new, nodes(old, directory, 1) as (before,):
        both = migrating(new, old)
        async with Switch([before.port]) as proxy:
            url = f"ws://{HOST}:{proxy.port}/ws/websocket"
            pages = [Page(url, number) for number in range(PAGES)]
            running = asyncio.gather(*(page.run(lambda: progress.share) for page in pages))
            await all_join(pages, proxy, [before.port])
            with nodes(both, directory, 1) as (after,):
                # Twice, so that some come from the new kind of process to the old one.
                for progress.share in (0.4, 0.6):
                    await all_join(pages, proxy, [before.port, after.port])
                before.kill()
                progress.share = 0.8
                await all_join(pages, proxy, [after.port])
                report = await asyncio.to_thread(migrate_all, both, after)
                assert (report["remaining"], report["error"]) == (0, "")
                with nodes(new, directory, 1) as (alone,):
                    with client(redis_server.port, db=OLD_DATABASE) as connection:
                        assert connection.dbsize() > 0
                        connection.flushdb()
                    progress.share = 1.0
                    await all_join(pages, proxy, [alone.port])
                    await asyncio.wait_for(running, END_SECONDS)
                    done = asyncio.gather(*(page.finish() for page in pages))
                    await asyncio.wait_for(done, END_SECONDS)
    results = [page.result for page in pages]
    assert [result.problems for result in results] == [[]] * PAGES
    assert [result.state["applied"] for result in results] == [[*range(1, EVENTS + 1)]] * PAGES
    for page in pages:
        assert page.outcomes[0] == "new"
        assert set(page.outcomes[1:]) <= {"recovered", "version"}
    assert any("version" in page.outcomes for page in pages)
