"""Another master for Redis under a page: the page goes on, and no older save wins."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._core.tokens import key_of
from recovery_app.storages import RedisStorage
from tests.consumers.apps import COUNTERS
from tests.consumers.pages import Page, comes_back, crowded, eventually, opened
from tests.core.redis_storages import on_cluster, on_sentinels
from tests.support.processes import HOST, Process
from tests.support.redis import (
    SERVICE,
    Cluster,
    SentinelTrio,
    ask,
    client,
    cluster,
    sentinels,
    slots_of,
)
from tests.support.redis_fixtures import Manage

# A master that another one takes the place of.


@pytest.mark.parametrize("failure", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_failover_by_sentinels(
    tmp_path: Path, manage: Manage, failure: signal.Signals
) -> None:
    with sentinels(tmp_path) as trio:
        manager = manage(**on_sentinels(trio))
        async with opened(manager) as page:
            await page.join()
            await page.add()
            token, old = page.token, trio.master
            replica = next(each for each in trio.servers if each is not old)
            await eventually(lambda: is_level(old, replica))
            os.kill(old.pid, failure)
            assert await comes_back(manager, token) == ("unavailable", 0)
            await page.add()
            while not has_switched(trio, replica):
                await page.add()
                await asyncio.sleep(0.05)
            await page.add()
            newest = ("recovered", page.count)
            assert page.token == token
            if failure is signal.SIGSTOP:
                os.kill(old.pid, signal.SIGCONT)
                # It does what it was asked in vain, until the Sentinels tell it whom to follow.
                ask(old.port, "REPLICAOF", HOST, replica.port)
                await eventually(lambda: is_level(replica, old))
            assert await comes_back(manager, token) == newest


async def test_a_failover_under_load(tmp_path: Path, manage: Manage) -> None:
    with sentinels(tmp_path) as trio:
        manager = manage(**on_sentinels(trio))
        async with crowded(manager) as crowd:
            await crowd.has_gone_on(200)
            old = trio.master
            replica = next(each for each in trio.servers if each is not old)
            old.kill()
            await crowd.has_gone_on(len(crowd.pages))
            await eventually(lambda: has_switched(trio, replica))
            await crowd.is_safe(manager)


def is_level(master: Process, replica: Process) -> bool:
    """Return whether a replica has all that its master has."""
    with client(master.port) as connection:
        info = connection.info("replication")
    found = info.get("slave0", {"port": None})
    return bool(found["port"] == replica.port and found["offset"] == info["master_repl_offset"])


def has_switched(trio: SentinelTrio, replica: Process) -> bool:
    """Return whether all Sentinels name the replica as the master."""
    return all(
        int(ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) == replica.port
        for _, port in trio.addresses
    )


# A Cluster that changes.


@pytest.mark.parametrize("counter", COUNTERS)
async def test_a_slot_on_the_move(redis_cluster: Cluster, manage: Manage, counter: Any) -> None:
    manager = manage(**on_cluster(redis_cluster))
    async with opened(manager, counter) as page:
        await page.join()
        await page.add()
        token = page.token
        key = key_on_server(manager, page)
        move = Move(redis_cluster, key)
        move.begin()
        await page.add()
        move.take_along(key)
        await page.add()
        assert await comes_back(manager, token, counter) == ("recovered", 3)
    async with opened(manager, counter) as page:
        assert await page.join(token) == "recovered"
        await page.add()
        move.end()
        await page.add()
        assert await comes_back(manager, page.token, counter) == ("recovered", 5)
    assert await comes_back(manager, token, counter) == ("copied", 5)


@pytest.mark.parametrize("wait_replicas", [0, 1])
async def test_a_replica_of_a_cluster_is_promoted(
    tmp_path: Path, manage: Manage, wait_replicas: int
) -> None:
    with cluster(tmp_path, replicas=1, node_timeout_ms=1000) as nodes:
        master, (replica,) = nodes.nodes[0], nodes.replicas
        manager = manage(
            **on_cluster(nodes), wait_replicas=wait_replicas, wait_timeout=0.2, timeout=1
        )
        async with AsyncExitStack() as stack:
            page = await page_on(master, nodes, manager, stack)
            await page.add()
            token = page.token
            await eventually(lambda: is_level(master, replica))
            master.kill()
            assert await comes_back(manager, token) == ("unavailable", 0)
            while not is_promoted(replica, nodes):
                await page.add()
                await asyncio.sleep(0.05)
            await page.add()
            if wait_replicas:
                # Nobody follows the new master, so nothing can be known to be safe yet.
                assert await comes_back(manager, None) == ("unavailable", 0)
                master.start()
                await eventually(lambda: is_level(replica, master))
                await page.add()
            came_back = "unavailable", 0
            while came_back == ("unavailable", 0):
                # On a busy machine the replica may be later than `wait_timeout`.
                came_back = await comes_back(manager, page.token)
            assert came_back == ("recovered", page.count)
            assert page.token == token


async def page_on(
    master: Process, nodes: Cluster, manager: RecoveryManager, stack: AsyncExitStack
) -> Page:
    """Open pages until one has its snapshot on that master."""
    while True:
        page = await stack.enter_async_context(opened(manager))
        if await page.join() == "new":
            slot = slot_of(nodes, key_on_server(manager, page))
            if nodes.owner_of(slot) == master.port:
                return page


def key_on_server(manager: RecoveryManager, page: Page) -> str:
    """Return the key of the page's snapshot, as the server knows it."""
    assert page.token is not None
    storage = manager.storage
    assert isinstance(storage, RedisStorage)
    return f"{storage.prefix}{{{key_of(page.token)}}}"


def slot_of(nodes: Cluster, key: str) -> int:
    return int(ask(nodes.nodes[0].port, "CLUSTER", "KEYSLOT", key))


def is_promoted(replica: Process, nodes: Cluster) -> bool:
    """Return whether all that are left name the replica as a master."""
    return all(
        any(int(master[1]) == replica.port for _, _, master, *_ in slots_of(node.port))
        for node in (*nodes.nodes[1:], replica)
    )


class Move:
    """Move a slot from one master to another, step by step."""

    def __init__(self, nodes: Cluster, key: str) -> None:
        self.slot = slot_of(nodes, key)
        self.source = nodes.owner_of(self.slot)
        self.target = next(node.port for node in nodes.nodes if node.port != self.source)
        self.source_id, self.target_id = nodes.id_of(self.source), nodes.id_of(self.target)

    def begin(self) -> None:
        """Announce it: the source still answers for what it has."""
        ask(self.target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.source_id)
        ask(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.target_id)

    def take_along(self, key: str) -> None:
        """Take a key to the target: the source says ASK."""
        ask(self.source, "MIGRATE", HOST, self.target, key, 0, 5000)

    def end(self) -> None:
        """Make the target the owner: the source says MOVED."""
        for port in (self.target, self.source):
            ask(port, "CLUSTER", "SETSLOT", self.slot, "NODE", self.target_id)
