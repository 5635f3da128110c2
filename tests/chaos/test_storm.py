"""Faults of nodes, each on a real process, and when a storm lets them happen."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.exceptions import WebSocketException

from recovery_app.chaos.plan import Fault, Kind, Plan
from recovery_app.chaos.processes import HOST, Process, free_port
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.storages import stopping
from recovery_app.chaos.storm import SLACK, Storm
from tests.chaos.far import eventually, far_end, near_end
from tests.chaos.stage import DURABLE
from tests.support import needs, redis

SHORT = 0.3


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Process]:
    """Give a server that says who it is."""
    port = free_port()
    serve = [sys.executable, "-m", "tests.chaos.whoami", str(port)]
    with Process("whoami", serve, port=port, log=tmp_path / "log") as node:
        yield node


@pytest_asyncio.fixture
async def proxy(node: Process) -> AsyncIterator[Proxy]:
    """Give a proxy before it."""
    async with Proxy([node.port]) as proxy:
        yield proxy


def who_is(node: Process, seconds: float = 5) -> str:
    """Ask a node for its process id; `TimeoutError` if it doesn't answer."""
    with socket.create_connection((HOST, node.port), timeout=seconds) as asking:
        asking.settimeout(seconds)
        return asking.recv(100).decode()


def storm_of(kind: str, proxy: Proxy, nodes: list[Process], count: int = 1) -> Storm:
    return Storm(Plan.make(1, {kind: count}), proxy, nodes, stall_seconds=SHORT)


# Nodes


@pytest.mark.parametrize("kind", [Kind.KILL, Kind.TERM])
async def test_a_node_is_ended_and_started_again(node: Process, proxy: Proxy, kind: Kind) -> None:
    before = who_is(node)
    storm = storm_of(kind, proxy, [node])
    await storm.blow(lambda: 1.0)
    assert who_is(node) != before
    assert ("SIGTERM" in node.output()) is (kind is Kind.TERM)
    assert storm.done == {kind: 1}


async def test_a_node_is_stopped_when_a_join_is_on_its_way(tmp_path: Path) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "tests.chaos.far", str(port)]
    with Process("far", serve, port=port, log=tmp_path / "log") as node:
        async with Proxy([port]) as proxy, near_end(proxy) as first:
            await first.join()
            blowing = asyncio.ensure_future(storm_of(Kind.STALL, proxy, [node]).blow(lambda: 1.0))
            await eventually(lambda: proxy.waits_for("join"))
            async with near_end(proxy) as near:
                began = time.monotonic()
                await near.join()
                assert time.monotonic() - began > SHORT * 0.9
            await blowing


async def test_a_redis_stops_both_ways_and_has_what_it_said_it_had(
    tmp_path: Path, proxy: Proxy
) -> None:
    needs.require("redis-server", redis.find_redis_server())
    with redis.make_redis(tmp_path, *DURABLE) as server:
        redis.ask(server.port, "SET", "key", "value")
        plan = Plan.make(1, {Kind.REDIS_STOP: 4})
        assert {fault.coin for fault in plan} == {True, False}
        storm = Storm(plan, proxy, [], also={Kind.REDIS_STOP: stopping(server)})
        await storm.blow(lambda: 1.0)
        assert storm.done == {Kind.REDIS_STOP: 4}
        assert redis.ask(server.port, "GET", "key") in ("value", b"value")
        assert server.output().count("Redis is starting") == 5
        ended_well = sum(not fault.coin for fault in plan)
        assert server.output().count("Received SIGTERM") == ended_well


def test_a_fault_that_nobody_can_make_is_told(proxy: Proxy) -> None:
    with pytest.raises(ValueError, match="failover"):
        storm_of(Kind.FAILOVER, proxy, [])


def test_a_stopped_process_can_be_ended(node: Process) -> None:
    node.signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        who_is(node, SHORT)
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 5
    with pytest.raises(RuntimeError, match="isn't running"):
        node.signal(signal.SIGCONT)


def test_a_process_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('a reason')"]
    process = Process("bad", command, port=free_port(), log=tmp_path / "log")
    with pytest.raises(RuntimeError, match="a reason"):
        process.start()
    process.stop()


def test_a_process_is_started_once(node: Process) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        node.start()


# When


async def test_a_fault_waits_for_the_run_and_the_run_for_the_fault(proxy: Proxy) -> None:
    happened: list[float] = []
    may_end = asyncio.Event()
    progress = 0.0

    async def act(fault: Fault) -> None:
        happened.append(fault.at)
        await may_end.wait()

    plan = Plan.make(1, {"own": 3})
    first, second, third = (fault.at for fault in plan)
    storm = Storm(plan, proxy, [], also={"own": act})
    blowing = asyncio.ensure_future(storm.blow(lambda: progress))
    await asyncio.sleep(0.05)
    assert happened == []
    assert storm.horizon == pytest.approx(first + SLACK)
    progress = second
    await eventually(lambda: happened == [first, second])
    assert storm.horizon == pytest.approx(first + SLACK)
    may_end.set()
    await eventually(lambda: storm.horizon == pytest.approx(third + SLACK))
    progress = 1.0
    await blowing
    assert happened == [first, second, third]
    assert storm.horizon == 1.0
    assert storm.done == {"own": 3}


async def test_a_fault_that_fails_ends_the_run(proxy: Proxy) -> None:
    async def act(fault: Fault) -> None:
        raise RuntimeError("no server to kill")

    plan = Plan.make(1, {"own": 2})
    storm = Storm(plan, proxy, [], also={"own": act})
    with pytest.raises(RuntimeError, match="no server to kill"):
        await storm.blow(lambda: plan.faults[0].at)


async def test_a_storm_ends_in_time_whatever_is_late(proxy: Proxy) -> None:
    # Nobody comes whose connection could be cut.
    began = time.monotonic()
    await storm_of(Kind.CUT, proxy, [], 3).blow_for(SHORT)
    assert SHORT <= time.monotonic() - began < SHORT + 5


async def test_a_storm_lasts_as_long_as_it_is_to(proxy: Proxy) -> None:
    began = time.monotonic()
    await Storm(Plan.make(1, {}), proxy, []).blow_for(SHORT)
    assert SHORT <= time.monotonic() - began < SHORT + 5


async def test_a_run_that_is_given_up_lets_a_stopped_node_go_on(
    node: Process, proxy: Proxy
) -> None:
    storm = Storm(Plan.make(1, {Kind.STALL: 1}), proxy, [node], stall_seconds=60)
    blowing = asyncio.ensure_future(storm.blow(lambda: 1.0))
    await eventually(lambda: proxy.waits_for("join"))
    node.signal(signal.SIGSTOP)
    blowing.cancel()
    await asyncio.gather(blowing, return_exceptions=True)
    assert who_is(node)


# Connections


@pytest.mark.parametrize(
    "kind",
    [
        Kind.CUT,
        Kind.HALF_OPEN,
        Kind.DELAY,
        Kind.LOST_JOIN,
        Kind.LOST_REPLY,
        Kind.DUPLICATE,
    ],
)
async def test_each_fault_of_a_connection_happens(kind: Kind) -> None:
    async with far_end() as far, Proxy([far.port]) as proxy:
        storm = storm_of(kind, proxy, [], 4)
        blowing = asyncio.ensure_future(storm.blow(lambda: 1.0))

        while storm.done != {kind: 4}:
            with suppress(WebSocketException, OSError, asyncio.TimeoutError):
                async with near_end(proxy) as near:
                    await asyncio.wait_for(near.join(), SHORT)
                    while storm.done != {kind: 4}:
                        await near.send("2")
                        await asyncio.wait_for(near.hear(), SHORT)
        await blowing
