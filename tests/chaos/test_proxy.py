"""Each fault of the proxy by itself, on a real server."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from recovery_app.chaos.processes import HOST, free_port
from recovery_app.chaos.proxy import Proxy
from tests.chaos.far import Far, Near, eventually, far_end, near_end

SHORT, WHILE = 0.1, 0.5
ABNORMAL = 1006


@pytest_asyncio.fixture
async def far() -> AsyncIterator[Far]:
    """Give a server."""
    async with far_end() as far:
        yield far


@pytest_asyncio.fixture
async def proxy(far: Far) -> AsyncIterator[Proxy]:
    """Give a proxy before it."""
    async with Proxy([far.port], linger_seconds=WHILE) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def near(proxy: Proxy) -> AsyncIterator[Near]:
    """Give a client that has joined through the proxy."""
    async with near_end(proxy) as near:
        await near.join()
        yield near


async def is_silent(near: Near, seconds: float = SHORT) -> bool:
    """Say whether nothing comes in for a moment, and the connection stays."""
    try:
        await asyncio.wait_for(near.socket.recv(), seconds)
    except asyncio.TimeoutError:
        return True
    return False


# Without a fault


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 150_000])
async def test_messages_of_any_size_pass_both_ways(near: Near, far: Far, size: int) -> None:
    await near.send("2", payload={"text": "ü" * size})
    assert await near.hear() == "2"
    assert far.guests[0].heard[-1][4] == ({"text": "ü" * size} if size else {"text": ""})


async def test_nothing_is_compressed(near: Near, far: Far) -> None:
    assert near.socket.protocol.extensions == []
    request = far.guests[0].socket.request
    assert request
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert request.headers["Host"]


async def test_pings_and_closes_pass(near: Near, far: Far) -> None:
    await (await near.socket.ping())
    await near.socket.close(4321)
    await eventually(lambda: far.guests[0].close_code == 4321)


async def test_a_page_passes(proxy: Proxy) -> None:
    with await asyncio.to_thread(urllib.request.urlopen, f"{proxy.url}/page") as reply:
        assert reply.read() == b"a page\n"
    assert proxy.links == []


async def test_a_refusal_passes(proxy: Proxy) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with near_end(proxy, "/forbidden"):
            pass


async def test_each_connection_goes_to_the_next_node(far: Far) -> None:
    async with far_end() as other, Proxy([far.port, other.port]) as proxy:
        for _ in range(4):
            async with near_end(proxy) as near:
                await near.join()
        assert (len(far.guests), len(other.guests)) == (2, 2)
        assert proxy.counts[f"connections to {far.port}"] == 2
        assert [guest.heard[0][1] for guest in far.guests] == ["1", "1"]


async def test_a_node_that_is_down_looks_like_a_broken_connection() -> None:
    async with Proxy([free_port()]) as proxy:
        with pytest.raises(InvalidMessage):
            async with near_end(proxy):
                pass
        assert proxy.counts["refused"] == 1


# Cut


async def test_a_cut_is_seen_by_both(near: Near, far: Far, proxy: Proxy) -> None:
    proxy.links[0].cut()
    with pytest.raises(ConnectionClosed):
        await near.hear()
    assert near.socket.close_code == ABNORMAL
    await eventually(lambda: far.guests[0].close_code == ABNORMAL)
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


async def test_only_a_whole_connection_is_picked(near: Near, proxy: Proxy) -> None:
    async with near_end(proxy) as other:
        assert [proxy.pick(whom) for whom in (0, 0.99)] == [proxy.links[0]] * 2
        await other.join()
        assert [proxy.pick(whom) for whom in (0, 0.49, 0.5, 0.99)] == [
            *[proxy.links[0]] * 2,
            *[proxy.links[1]] * 2,
        ]
        proxy.links[0].half_open()
        assert proxy.pick(0) is proxy.links[1]
        proxy.links[1].cut()
        assert proxy.pick(0) is None


# Half open


async def test_half_open_carries_nothing_and_closes_nothing(
    near: Near, far: Far, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    await near.send("2")
    await far.guests[0].socket.send("a message")
    assert await is_silent(near)
    assert len(far.guests[0].heard) == 1
    assert far.guests[0].close_code is None


async def test_when_the_client_gives_up_the_node_learns_it_later(
    near: Near, far: Far, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    near.socket.transport.abort()
    await asyncio.sleep(WHILE / 2)
    assert far.guests[0].close_code is None
    await eventually(lambda: far.guests[0].close_code == ABNORMAL)
    await eventually(lambda: proxy.links == [])


async def test_when_the_node_dies_the_client_is_not_told(
    near: Near, far: Far, proxy: Proxy
) -> None:
    proxy.links[0].half_open()
    far.guests[0].socket.transport.abort()
    assert await is_silent(near, WHILE)


# Delay


async def test_what_is_delayed_arrives_later_in_order(near: Near, far: Far, proxy: Proxy) -> None:
    proxy.links[0].delay(WHILE)
    for ref in ("2", "3"):
        await near.send(ref)
    await far.guests[0].socket.send("not a reply")
    assert await is_silent(near, WHILE / 2)
    assert len(far.guests[0].heard) == 1
    assert await near.socket.recv() == "not a reply"
    assert [await near.hear(), await near.hear()] == ["2", "3"]


# Swallowed replies


@pytest.mark.parametrize("path", ["/", "/pieces"])
async def test_the_reply_of_an_event_is_swallowed(proxy: Proxy, far: Far, path: str) -> None:
    async with near_end(proxy, path) as near:
        await near.join()
        proxy.swallow("event")
        await near.send("2", "phx_leave")
        await near.send("3", "heartbeat", topic="phoenix")
        for ref in ("4", "5"):
            await near.send(ref)
        assert [await near.hear() for _ in range(3)] == ["2", "3", "5"]
        assert [frame[1] for frame in far.guests[0].heard] == ["1", "2", "3", "4", "5"]
    assert proxy.counts["lost-reply"] == 1


async def test_the_reply_of_a_join_is_swallowed(near: Near, proxy: Proxy) -> None:
    proxy.swallow("join")
    await near.send("2")
    assert await near.hear() == "2"
    assert proxy.waits_for("join")
    for ref in ("3", "4"):
        await near.send(ref, "phx_join")
    assert await near.hear() == "4"
    assert proxy.counts["lost-join"] == 1
    assert not proxy.waits_for("join")


async def test_a_swallowed_reply_may_be_the_last(near: Near, far: Far, proxy: Proxy) -> None:
    proxy.swallow("event", then_cut=True)
    for ref in ("2", "3"):
        await near.send(ref)
    with pytest.raises(ConnectionClosed):
        await near.hear()
    await eventually(lambda: far.guests[0].close_code == ABNORMAL)


async def test_replies_of_version_1_are_told_apart_too(proxy: Proxy) -> None:
    async with near_end(proxy) as near:
        proxy.swallow("join")
        for event, ref in (("phx_join", "1"), ("add", "2")):
            frame = {"topic": "ledger", "event": event, "payload": {}, "ref": ref}
            await near.socket.send(json.dumps(frame))
        assert json.loads(await near.socket.recv())["ref"] == "2"


async def test_what_is_calmed_does_nothing_more(near: Near, proxy: Proxy) -> None:
    proxy.swallow("event")
    proxy.at_next_join(lambda link: link.cut())
    proxy.calm()
    await near.send("2")
    assert await near.hear() == "2"
    await near.join()


# Duplicates


async def test_a_connection_is_duplicated(near: Near, far: Far, proxy: Proxy) -> None:
    await near.send("2")
    assert await near.hear() == "2"
    proxy.duplicate(proxy.links[0], SHORT)
    copy = await far.guest(1)
    await eventually(lambda: bool(copy.heard))
    assert copy.heard == far.guests[0].heard[:1]
    assert copy.socket.request
    assert far.guests[0].socket.request
    assert copy.socket.request.headers == far.guests[0].socket.request.headers
    await eventually(lambda: copy.close_code == ABNORMAL)
    assert far.guests[0].close_code is None
    assert await is_silent(near)
    assert proxy.counts["duplicate"] == 1


async def test_a_duplicate_may_come_before_the_original(near: Near, far: Far, proxy: Proxy) -> None:
    def duplicate_and_hold(link: object) -> None:
        proxy.links[0].delay(WHILE)
        proxy.duplicate(proxy.links[0], SHORT)

    proxy.at_next_join(duplicate_and_hold)
    await near.send("7", "phx_join")
    copy = await far.guest(1)
    await eventually(lambda: bool(copy.heard))
    assert copy.heard[0][1] == "7"
    assert len(far.guests[0].heard) == 1
    assert await near.hear() == "7"
    await near.join()
    assert len(far.guests) == 2


async def test_a_duplicate_looks_for_a_node_that_is_up(far: Far) -> None:
    async with Proxy([far.port, free_port(), free_port()]) as proxy, near_end(proxy) as near:
        await near.join()
        proxy.duplicate(proxy.links[0], SHORT)
        copy = await far.guest(1)
        await eventually(lambda: bool(copy.heard))


async def test_something_is_done_at_a_join_to_one_node(far: Far) -> None:
    async with far_end() as other, Proxy([far.port, other.port]) as proxy:
        ports: list[int] = []
        proxy.at_next_join(lambda link: ports.append(link.port), port=other.port)
        for _ in range(4):
            async with near_end(proxy) as near:
                await near.join()
        assert ports == [other.port]
