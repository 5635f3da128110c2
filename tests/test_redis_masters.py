"""Servers that go or are demoted: the one in their place is found and asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Verdict
from recovery_app.storages import RedisStorage
from recovery_app.testing.contract.base import claim_of, snapshot_bytes
from tests.core.redis_storages import on_sentinels
from tests.support.processes import HOST, Process, wait_until
from tests.support.redis import (
    SERVICE,
    Cluster,
    SentinelTrio,
    ask,
    calls_of,
    cluster,
    sentinels,
    slots_of,
)

KEY = "0123456789abcdef"
TIMEOUT = 0.5
PATIENCE_SECONDS = 120


def give_way(trio: SentinelTrio) -> tuple[Process, Process]:
    """Make the Sentinels promote the replica; both servers live on."""
    old = trio.master
    new = next(server for server in trio.servers if server is not old)
    ask(trio.sentinels[0].port, "SENTINEL", "FAILOVER", SERVICE)
    wait_until(
        lambda: all(
            int(ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) == new.port
            for _, port in trio.addresses
        ),
        PATIENCE_SECONDS,
        "There is no new master.",
    )
    # The Sentinels do so themselves, some seconds later.
    ask(old.port, "REPLICAOF", HOST, new.port)
    return old, new


async def test_a_master_that_is_demoted_is_asked_no_more(tmp_path: Path) -> None:
    with sentinels(tmp_path) as trio:
        storages = [RedisStorage(**on_sentinels(trio)) for _ in range(3)]
        writer, renewer, reader = storages
        for storage in storages:
            assert storage.save_fenced(KEY, snapshot_bytes(1), 600) is Verdict.DONE
            assert await storage.aload(KEY) == snapshot_bytes(1)
        old, _new = give_way(trio)
        # On the connections that there are, which lead to a replica now: it refuses.
        assert await writer.asave_fenced(KEY, snapshot_bytes(2), 600) is Verdict.DONE
        assert writer.save_fenced(KEY, snapshot_bytes(3), 600) is Verdict.DONE
        claim = claim_of(3)
        renewed = await renewer.arenew(KEY, claim, 600, now_us=4, binding=claim.binding)
        assert renewed.data == snapshot_bytes(4, floor=3)
        # A replica would answer a load, late, or with nothing; as a rule these are ended.
        ask(old.port, "CLIENT", "KILL", "TYPE", "normal")
        ask(old.port, "REPLICAOF", HOST, 1)
        ask(old.port, "CONFIG", "RESETSTAT")
        newest = snapshot_bytes(5, floor=3)
        assert await writer.asave_fenced(KEY, newest, 600) is Verdict.DONE
        assert await reader.aload(KEY) == newest
        assert reader.load(KEY) == newest
        assert "get" not in calls_of(old.port)
        for storage in storages:
            storage.close()


async def test_a_listing_finds_the_new_master(tmp_path: Path) -> None:
    with sentinels(tmp_path) as trio:
        storage = RedisStorage(**on_sentinels(trio), timeout=TIMEOUT)
        await storage.asave_fenced(KEY, snapshot_bytes(1), 600)
        assert (await storage.acount(), storage.count()) == (1, 1)
        old, _new = give_way(trio)
        old.kill()
        with suppress(StorageUnavailable):
            await storage.acount()
        assert await storage.acount() == 1
        assert storage.look_up(KEY) is not None
        assert storage.count() == 1
        storage.close()


# A Cluster of which one node was named.


@contextmanager
def on_the_first_of(nodes: Cluster, timeout: float = TIMEOUT) -> Iterator[RedisStorage]:
    """Yield a storage whose settings name one node alone."""
    url = f"redis://{HOST}:{nodes.nodes[0].port}"
    storage = RedisStorage(cluster=True, url=url, timeout=timeout)
    yield storage
    storage.close()


def keys_of(nodes: Cluster, storage: RedisStorage) -> list[str]:
    """Return a key for each master."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < len(nodes.nodes):
        key = f"{number:016x}"
        full = f"{storage.prefix}{{{key}}}"
        slot = int(ask(nodes.nodes[0].port, "CLUSTER", "KEYSLOT", full))
        found.setdefault(nodes.owner_of(slot), key)
        number += 1
    return [found[node.port] for node in nodes.nodes]


async def test_the_only_node_that_was_named_may_go(tmp_path: Path) -> None:
    with cluster(tmp_path, replicas=1, node_timeout_ms=1000) as nodes, on_the_first_of(nodes) as on:
        keys = keys_of(nodes, on)
        for key in keys:
            await on.asave_fenced(key, snapshot_bytes(1), 600)
            assert on.load(key) == snapshot_bytes(1)
        nodes.nodes[0].kill()
        lost, kept, other = keys
        await asyncio.gather(on.aload(lost), return_exceptions=True)
        # The others don't wait for the replica that takes its place.
        assert await on.asave_fenced(kept, snapshot_bytes(2), 600) is Verdict.DONE
        assert on.save_fenced(other, snapshot_bytes(2), 600) is Verdict.DONE
        (replica,) = nodes.replicas
        wait_until(
            lambda: all(
                any(int(master[1]) == replica.port for _, _, master, *_ in slots_of(node.port))
                for node in (*nodes.nodes[1:], replica)
            ),
            PATIENCE_SECONDS,
            "The replica isn't promoted.",
        )
        assert await on.asave_fenced(lost, snapshot_bytes(2), 600) is Verdict.DONE
        assert on.load(lost) == snapshot_bytes(2)


async def test_a_node_that_stalls_delays_nobody_but_its_own(tmp_path: Path) -> None:
    with (
        cluster(tmp_path, node_timeout_ms=600_000) as nodes,
        on_the_first_of(nodes, PATIENCE_SECONDS) as on,
    ):
        stuck, *free = keys_of(nodes, on)
        for key in (stuck, *free):
            await on.asave_fenced(key, snapshot_bytes(1), 600)
            on.load(key)
        with nodes.nodes[0].stalled():
            stalled = asyncio.create_task(on.aload(stuck))
            assert [await on.aload(key) for key in free] == [snapshot_bytes(1)] * 2
            assert [on.load(key) for key in free] == [snapshot_bytes(1)] * 2
            # The others were answered while its own one waits.
            assert not stalled.done()
        assert await stalled == snapshot_bytes(1)


async def test_a_slot_that_nobody_had_is_found_when_somebody_has_it(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes, on_the_first_of(nodes) as on:
        key, *_ = keys_of(nodes, on)
        slot = int(ask(nodes.nodes[0].port, "CLUSTER", "KEYSLOT", f"{on.prefix}{{{key}}}"))
        for node in nodes.nodes:
            ask(node.port, "CLUSTER", "DELSLOTS", slot)
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await on.aload(key)
            with pytest.raises(StorageUnavailable):
                on.load(key)
        ask(nodes.nodes[0].port, "CLUSTER", "ADDSLOTS", slot)
        assert await on.asave_fenced(key, snapshot_bytes(1), 600) is Verdict.DONE
        assert on.load(key) == snapshot_bytes(1)
