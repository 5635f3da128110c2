"""Storms: each kind of fault with real processes, and when faults happen."""

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
from recovery_app.chaos.processes import HOST, STOP_SECONDS, Process
from recovery_app.chaos.proxy import Proxy
from recovery_app.chaos.storages import stopping
from recovery_app.chaos.storm import SLACK, Storm
from tests.chaos.echo import connect_client, eventually, run_server
from tests.chaos.support import DURABLE
from tests.support import needs, redis
from tests.support.processes import free_port

SHORT = 0.3


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Process]:
    """Return a server that sends its process id."""
    port = free_port()
    serve = [sys.executable, "-m", "tests.chaos.whoami", str(port)]
    with Process("whoami", serve, port=port, log=tmp_path / "log") as node:
        yield node


@pytest_asyncio.fixture
async def proxy(node: Process) -> AsyncIterator[Proxy]:
    """Return a proxy in front of the node."""
    async with Proxy([node.port]) as proxy:
        yield proxy


def who_is(node: Process, seconds: float = 60) -> str:
    """Return the process id of a node; raise `TimeoutError` if it doesn't respond."""
    with socket.create_connection((HOST, node.port), timeout=seconds) as asking:
        asking.settimeout(seconds)
        return asking.recv(100).decode()


def storm_of(kind: str, proxy: Proxy, nodes: list[Process], count: int = 1) -> Storm:
    return Storm(Plan.make(1, {kind: count}), proxy, nodes, stall_seconds=SHORT)


# Nodes


@pytest.mark.parametrize("kind", [Kind.KILL, Kind.TERM])
async def test_a_node_is_restarted(node: Process, proxy: Proxy, kind: Kind) -> None:
    before = who_is(node)
    storm = storm_of(kind, proxy, [node])
    await storm.run(lambda: 1.0)
    assert who_is(node) != before
    assert ("SIGTERM" in node.output()) is (kind is Kind.TERM)
    assert storm.done == {kind: 1}


async def test_a_node_is_suspended_before_a_join_reaches_it(tmp_path: Path) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "tests.chaos.echo", str(port)]
    with Process("server", serve, port=port, log=tmp_path / "log") as node:
        async with Proxy([port]) as proxy, connect_client(proxy) as first:
            await first.join()
            running = asyncio.ensure_future(storm_of(Kind.STALL, proxy, [node]).run(lambda: 1.0))
            await eventually(lambda: proxy.has_pending("join"))
            async with connect_client(proxy) as client:
                began = time.monotonic()
                await client.join()
                assert time.monotonic() - began > SHORT * 0.9
            await running


async def test_a_redis_is_stopped_and_killed_without_losing_writes(
    tmp_path: Path, proxy: Proxy
) -> None:
    needs.require("redis-server", redis.find_redis_server())
    with redis.make_redis(tmp_path, *DURABLE) as server:
        redis.ask(server.port, "SET", "key", "value")
        plan = Plan.make(1, {Kind.REDIS_STOP: 4})
        assert {fault.variant for fault in plan} == {True, False}
        storm = Storm(plan, proxy, [], also={Kind.REDIS_STOP: stopping(server)})
        await storm.run(lambda: 1.0)
        assert storm.done == {Kind.REDIS_STOP: 4}
        assert redis.ask(server.port, "GET", "key") in ("value", b"value")
        assert server.output().count(" is starting") == 5
        stopped = sum(not fault.variant for fault in plan)
        assert server.output().count("Received SIGTERM") == stopped


def test_an_unknown_kind_of_fault_is_reported(proxy: Proxy) -> None:
    with pytest.raises(ValueError, match="failover"):
        storm_of(Kind.FAILOVER, proxy, [])


def test_a_suspended_process_can_be_stopped(node: Process) -> None:
    node.signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        who_is(node, SHORT)
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < STOP_SECONDS
    with pytest.raises(RuntimeError, match="isn't running"):
        node.signal(signal.SIGCONT)


def test_a_process_that_exits_while_starting_reports_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('a reason')"]
    process = Process("bad", command, port=free_port(), log=tmp_path / "log")
    with pytest.raises(RuntimeError, match="a reason"):
        process.start()
    process.stop()


def test_a_process_is_started_once(node: Process) -> None:
    with pytest.raises(RuntimeError, match="already running"):
        node.start()


# Timing


async def test_a_fault_has_pending_the_run_and_the_run_for_the_fault(proxy: Proxy) -> None:
    happened: list[float] = []
    may_end = asyncio.Event()
    progress = 0.0

    async def act(fault: Fault) -> None:
        happened.append(fault.at)
        await may_end.wait()

    plan = Plan.make(1, {"own": 3})
    first, second, third = (fault.at for fault in plan)
    storm = Storm(plan, proxy, [], also={"own": act})
    running = asyncio.ensure_future(storm.run(lambda: progress))
    await asyncio.sleep(0.05)
    assert happened == []
    assert storm.horizon == pytest.approx(first + SLACK)
    progress = second
    await eventually(lambda: happened == [first, second])
    assert storm.horizon == pytest.approx(first + SLACK)
    may_end.set()
    await eventually(lambda: storm.horizon == pytest.approx(third + SLACK))
    progress = 1.0
    await running
    assert happened == [first, second, third]
    assert storm.horizon == 1.0
    assert storm.done == {"own": 3}


async def test_a_fault_that_fails_ends_the_run(proxy: Proxy) -> None:
    async def act(fault: Fault) -> None:
        raise RuntimeError("no server to kill")

    plan = Plan.make(1, {"own": 2})
    storm = Storm(plan, proxy, [], also={"own": act})
    with pytest.raises(RuntimeError, match="no server to kill"):
        await storm.run(lambda: plan.faults[0].at)


async def test_a_storm_ends_in_time_with_unfinished_faults(proxy: Proxy) -> None:
    # There is no connection to cut.
    began = time.monotonic()
    await storm_of(Kind.CUT, proxy, [], 3).run_for(SHORT)
    assert SHORT <= time.monotonic() - began < SHORT + 60


async def test_a_storm_without_faults_lasts_the_whole_time(proxy: Proxy) -> None:
    began = time.monotonic()
    await Storm(Plan.make(1, {}), proxy, []).run_for(SHORT)
    assert SHORT <= time.monotonic() - began < SHORT + 60


async def test_a_cancelled_storm_continues_a_stopped_node(node: Process, proxy: Proxy) -> None:
    storm = Storm(Plan.make(1, {Kind.STALL: 1}), proxy, [node], stall_seconds=60)
    running = asyncio.ensure_future(storm.run(lambda: 1.0))
    await eventually(lambda: proxy.has_pending("join"))
    node.signal(signal.SIGSTOP)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
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
    async with run_server() as server, Proxy([server.port]) as proxy:
        storm = storm_of(kind, proxy, [], 4)
        running = asyncio.ensure_future(storm.run(lambda: 1.0))

        while storm.done != {kind: 4}:
            with suppress(WebSocketException, OSError, asyncio.TimeoutError):
                async with connect_client(proxy) as client:
                    await asyncio.wait_for(client.join(), SHORT)
                    while storm.done != {kind: 4}:
                        await client.send("2")
                        await asyncio.wait_for(client.receive(), SHORT)
        await running
