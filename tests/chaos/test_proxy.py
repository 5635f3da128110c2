"""Each fault of the proxy, with a real server."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from recovery_app.chaos.processes import HOST
from recovery_app.chaos.proxy import Proxy
from tests.chaos.echo import EchoClient, EchoServer, connect_client, eventually, run_server
from tests.support.processes import free_port

SHORT, LONG = 0.1, 0.5
ABNORMAL = 1006


@pytest_asyncio.fixture
async def server() -> AsyncIterator[EchoServer]:
    """Return a server."""
    async with run_server() as server:
        yield server


@pytest_asyncio.fixture
async def proxy(server: EchoServer) -> AsyncIterator[Proxy]:
    """Return a proxy in front of the server."""
    async with Proxy([server.port], linger_seconds=LONG) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def client(proxy: Proxy) -> AsyncIterator[EchoClient]:
    """Return a client that has joined through the proxy."""
    async with connect_client(proxy) as client:
        await client.join()
        yield client


async def is_silent(client: EchoClient, seconds: float = SHORT) -> bool:
    """Return whether nothing arrives for some time on an open connection."""
    try:
        await asyncio.wait_for(client.socket.recv(), seconds)
    except asyncio.TimeoutError:
        return True
    return False


# Without a fault


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 150_000])
async def test_messages_of_any_size_pass_both_ways(
    client: EchoClient, server: EchoServer, size: int
) -> None:
    await client.send("2", payload={"text": "ü" * size})
    assert await client.receive() == "2"
    assert server.peers[0].received[-1][4] == ({"text": "ü" * size} if size else {"text": ""})


async def test_nothing_is_compressed(client: EchoClient, server: EchoServer) -> None:
    assert client.socket.protocol.extensions == []
    request = server.peers[0].socket.request
    assert request
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert request.headers["Host"]


async def test_pings_and_closes_pass(client: EchoClient, server: EchoServer) -> None:
    await (await client.socket.ping())
    await client.socket.close(4321)
    await eventually(lambda: server.peers[0].close_code == 4321)


async def test_a_page_passes(proxy: Proxy) -> None:
    with await asyncio.to_thread(urllib.request.urlopen, f"{proxy.url}/page") as reply:
        assert reply.read() == b"a page\n"
    assert proxy.links == []


async def test_a_refusal_passes(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with connect_client(proxy, "/forbidden"):
            pass


async def test_each_connection_goes_to_the_next_node(server: EchoServer) -> None:
    async with run_server() as other, Proxy([server.port, other.port]) as proxy:
        for _ in range(4):
            async with connect_client(proxy) as client:
                await client.join()
        assert (len(server.peers), len(other.peers)) == (2, 2)
        assert proxy.counts[f"connections to {server.port}"] == 2
        assert [peer.received[0][1] for peer in server.peers] == ["1", "1"]


async def test_a_node_that_is_down_looks_like_a_broken_connection() -> None:
    async with Proxy([free_port()]) as proxy:
        with pytest.raises(InvalidMessage):
            async with connect_client(proxy):
                pass
        assert proxy.counts["refused"] == 1


# Cut


async def test_a_cut_is_seen_by_both(client: EchoClient, server: EchoServer, proxy: Proxy) -> None:
    proxy.links[0].cut()
    with pytest.raises(ConnectionClosed):
        await client.receive()
    assert client.socket.close_code == ABNORMAL
    await eventually(lambda: server.peers[0].close_code == ABNORMAL)
    await eventually(lambda: proxy.links == [])


async def test_a_cut_is_a_reset(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    await eventually(lambda: bool(proxy.links))
    proxy.links[0].cut()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_only_a_breakable_connection_is_picked(client: EchoClient, proxy: Proxy) -> None:
    async with connect_client(proxy) as other:
        assert [proxy.pick(target) for target in (0, 0.99)] == [proxy.links[0]] * 2
        await other.join()
        assert [proxy.pick(target) for target in (0, 0.49, 0.5, 0.99)] == [
            *[proxy.links[0]] * 2,
            *[proxy.links[1]] * 2,
        ]
        proxy.links[0].half_open()
        assert proxy.pick(0) is proxy.links[1]
        proxy.links[1].cut()
        assert proxy.pick(0) is None


# Half open


async def test_a_half_open_connection_carries_nothing_and_stays_open(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    await client.send("2")
    await server.peers[0].socket.send("a message")
    assert await is_silent(client)
    assert len(server.peers[0].received) == 1
    assert server.peers[0].close_code is None


async def test_the_node_is_disconnected_later_than_the_client(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    client.socket.transport.abort()
    await asyncio.sleep(LONG / 2)
    assert server.peers[0].close_code is None
    await eventually(lambda: server.peers[0].close_code == ABNORMAL)
    await eventually(lambda: proxy.links == [])


async def test_the_client_of_a_half_open_connection_is_not_disconnected(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    server.peers[0].socket.transport.abort()
    assert await is_silent(client, LONG)


# Delay


async def test_delayed_messages_arrive_in_order(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    proxy.links[0].delay(LONG)
    for ref in ("2", "3"):
        await client.send(ref)
    await server.peers[0].socket.send("not a reply")
    assert await is_silent(client, LONG / 2)
    assert len(server.peers[0].received) == 1
    assert await client.socket.recv() == "not a reply"
    assert [await client.receive(), await client.receive()] == ["2", "3"]


# Swallowed replies


@pytest.mark.parametrize("path", ["/", "/pieces"])
async def test_the_reply_of_an_event_is_swallowed(
    proxy: Proxy, server: EchoServer, path: str
) -> None:
    async with connect_client(proxy, path) as client:
        await client.join()
        proxy.swallow("event")
        await client.send("2", "phx_leave")
        await client.send("3", "heartbeat", topic="phoenix")
        for ref in ("4", "5"):
            await client.send(ref)
        assert [await client.receive() for _ in range(3)] == ["2", "3", "5"]
        assert [frame[1] for frame in server.peers[0].received] == ["1", "2", "3", "4", "5"]
    assert proxy.counts["lost-reply"] == 1


async def test_the_reply_of_a_join_is_swallowed(client: EchoClient, proxy: Proxy) -> None:
    proxy.swallow("join")
    await client.send("2")
    assert await client.receive() == "2"
    assert proxy.has_pending("join")
    for ref in ("3", "4"):
        await client.send(ref, "phx_join")
    assert await client.receive() == "4"
    assert proxy.counts["lost-join"] == 1
    assert not proxy.has_pending("join")


async def test_a_swallowed_reply_may_be_the_last(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    proxy.swallow("event", then_cut=True)
    for ref in ("2", "3"):
        await client.send(ref)
    with pytest.raises(ConnectionClosed):
        await client.receive()
    await eventually(lambda: server.peers[0].close_code == ABNORMAL)


async def test_replies_of_version_1_are_attributed(proxy: Proxy) -> None:
    async with connect_client(proxy) as client:
        proxy.swallow("join")
        for event, ref in (("phx_join", "1"), ("add", "2")):
            frame = {"topic": "ledger", "event": event, "payload": {}, "ref": ref}
            await client.socket.send(json.dumps(frame))
        assert json.loads(await client.socket.recv())["ref"] == "2"


async def test_cleared_faults_do_not_happen(client: EchoClient, proxy: Proxy) -> None:
    proxy.swallow("event")
    proxy.before_next_join(lambda link: link.cut())
    proxy.clear_pending()
    await client.send("2")
    assert await client.receive() == "2"
    await client.join()


# Duplicates


async def test_a_connection_is_duplicated(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    await client.send("2")
    assert await client.receive() == "2"
    proxy.duplicate(proxy.links[0], SHORT)
    copy = await server.peer(1)
    await eventually(lambda: bool(copy.received))
    assert copy.received == server.peers[0].received[:1]
    assert copy.socket.request
    assert server.peers[0].socket.request
    assert copy.socket.request.headers == server.peers[0].socket.request.headers
    await eventually(lambda: copy.close_code == ABNORMAL)
    assert server.peers[0].close_code is None
    assert await is_silent(client)
    assert proxy.counts["duplicate"] == 1


async def test_a_duplicate_may_come_before_the_original(
    client: EchoClient, server: EchoServer, proxy: Proxy
) -> None:
    def duplicate_and_hold(link: object) -> None:
        proxy.links[0].delay(LONG)
        proxy.duplicate(proxy.links[0], SHORT)

    proxy.before_next_join(duplicate_and_hold)
    await client.send("7", "phx_join")
    copy = await server.peer(1)
    await eventually(lambda: bool(copy.received))
    assert copy.received[0][1] == "7"
    assert len(server.peers[0].received) == 1
    assert await client.receive() == "7"
    await client.join()
    assert len(server.peers) == 2


async def test_a_duplicate_looks_for_a_node_that_is_up(server: EchoServer) -> None:
    async with (
        Proxy([server.port, free_port(), free_port()]) as proxy,
        connect_client(proxy) as client,
    ):
        await client.join()
        proxy.duplicate(proxy.links[0], SHORT)
        copy = await server.peer(1)
        await eventually(lambda: bool(copy.received))


async def test_something_is_done_at_a_join_to_one_node(server: EchoServer) -> None:
    async with run_server() as other, Proxy([server.port, other.port]) as proxy:
        ports: list[int] = []
        proxy.before_next_join(lambda link: ports.append(link.port), port=other.port)
        for _ in range(4):
            async with connect_client(proxy) as client:
                await client.join()
        assert ports == [other.port]
