"""A client that does its worst to a real server: its memory and its time stay bounded."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.asgi import AsgiServer

APPLICATION = "tests.support.limited:application"
MEGABYTE = 2**20
MOST_GROWTH = 60 * MEGABYTE
WORK_SECONDS = 2


@pytest.fixture(params=["uvicorn", "daphne"])
def fresh_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AsgiServer]:
    """Return a server whose memory nobody has used yet."""
    with AsgiServer(request.param, data=tmp_path, application=APPLICATION) as server:
        yield server


@pytest.fixture(scope="module", params=["uvicorn", "daphne"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AsgiServer]:
    data = tmp_path_factory.mktemp(request.param)
    with AsgiServer(request.param, data=data, application=APPLICATION) as server:
        yield server


def open_page(server: AsgiServer, **options: Any) -> connect:
    return connect(f"{server.ws_url}/page", ping_interval=None, max_size=None, **options)


def memory_of(server: AsgiServer) -> int:
    """Return the bytes of memory that the server's process has now."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def fields_of(server: AsgiServer) -> list[str]:
    """Return what the kernel says of the server's process, from its state on."""
    return Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()


def is_running(server: AsgiServer) -> bool:
    """Return whether the server's process runs, or would if it were its turn."""
    return fields_of(server)[0] == "R"


def cpu_seconds_of(server: AsgiServer) -> float:
    """Return the time that the server's process has worked, however busy the machine is."""
    fields = fields_of(server)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def has_worked(server: AsgiServer) -> None:
    """Wait until the server has worked for long enough, or has nothing to do any more."""
    enough, before = cpu_seconds_of(server) + WORK_SECONDS, -1.0
    while cpu_seconds_of(server) < enough:
        if before == cpu_seconds_of(server) and not is_running(server):
            return
        before = cpu_seconds_of(server)
        await asyncio.sleep(0.3)


def frame(event: str, payload: object, *, topic: str = "lv:page") -> str:
    return json.dumps(["1", "1", topic, event, payload])


async def ask(wire: ClientConnection, event: str, payload: object) -> dict[str, object]:
    await wire.send(frame(event, payload))
    reply: dict[str, object] = json.loads(await wire.recv())[4]
    return reply


async def test_a_frame_that_is_too_large_closes_the_connection_unread(server: AsgiServer) -> None:
    # Deflated it has 16 KB; parsed, it would hold the event loop for seconds.
    large = '["1","1","lv:nobody","x",' + "[" * 8_000_000 + "]" * 8_000_000 + "]"
    async with open_page(server) as wire, open_page(server) as other:
        await ask(other, "phx_join", {})
        before = cpu_seconds_of(server)
        with suppress(ConnectionClosed):
            await wire.send(large)
        await ask(other, "add", {})
        assert cpu_seconds_of(server) - before < 1
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(wire.recv(), timeout=60)
        assert wire.close_code == 1009


async def test_a_large_reply_still_goes_out(server: AsgiServer) -> None:
    async with open_page(server) as wire:
        await ask(wire, "phx_join", {})
        reply = await ask(wire, "add", {"bytes": MEGABYTE})
        assert reply["status"] == "ok"


async def test_join_payloads_are_not_kept(fresh_server: AsgiServer) -> None:
    payload: dict[str, Any] = {"text": [[] for _ in range(60_000)]}
    async with open_page(fresh_server) as wire:
        await wire.send(frame("phx_join", {}))
        await wire.recv()
        before = memory_of(fresh_server)
        for number in range(60):
            await wire.send(frame("phx_join", payload, topic=f"lv:{number}"))
            await wire.recv()
        assert memory_of(fresh_server) - before < MOST_GROWTH


async def test_events_that_nobody_reads_the_replies_of_do_not_pile_up(
    fresh_server: AsgiServer,
) -> None:
    # Deflated, they would hardly fill the buffers between the two.
    async with open_page(fresh_server, compression=None) as wire:
        await ask(wire, "phx_join", {})
        before = memory_of(fresh_server)
        reply_size = {"bytes": 30_000}
        # Nothing is read, so that the client's own buffers fill up and stop its server.
        # All replies would be twice the growth that is allowed.
        sending = asyncio.create_task(flood(wire, frame("add", reply_size), 4_000))
        await has_worked(fresh_server)
        sending.cancel()
        assert memory_of(fresh_server) - before < MOST_GROWTH


async def test_repeats_do_not_amplify(server: AsgiServer) -> None:
    async with open_page(server) as wire:
        await ask(wire, "phx_join", {})
        await ask(wire, "add", {"bytes": 60_000, "_seq": 1})
        event = frame("add", {"_seq": 1})
        repeats = 400
        received = 0
        sending = asyncio.create_task(flood(wire, event, repeats))
        for _ in range(repeats):
            received += len(await wire.recv())
        await sending
        # They would be 24 MB.
        assert received < 3 * MEGABYTE
        assert (await ask(wire, "add", {"_seq": 2}))["status"] == "ok"


async def test_connections_that_come_and_go_leave_no_memory(fresh_server: AsgiServer) -> None:
    async def come_and_go(times: int) -> None:
        for _ in range(times):
            async with open_page(fresh_server) as wire:
                await ask(wire, "phx_join", {"text": "x" * 250_000})
                await ask(wire, "break", {"text": "x" * 250_000})

    await come_and_go(20)
    before = memory_of(fresh_server)
    await come_and_go(80)
    # All payloads are 40 MB.
    assert memory_of(fresh_server) - before < MOST_GROWTH / 2


async def flood(wire: ClientConnection, text: str, times: int) -> None:
    for _ in range(times):
        await wire.send(text)
