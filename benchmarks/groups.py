"""What durable groups cost on Redis: beside redis-py's XADD, and beside channels_redis' groups.

    python -m benchmarks.groups [--quick] [row ...]

Each ratio is of two things measured in turns, on a server of its own. The pages are consumers of
this process without sockets, the same on both sides. Each handles a message and sends a frame.
"""

# ruff: noqa: PLC0415 - Django is configured first

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.application import configure
from benchmarks.results import Row
from benchmarks.servers import directory
from benchmarks.subject import Options, parser_of, report
from benchmarks.timing import Pair, compare
from tests.support.processes import HOST
from tests.support.redis import make_redis

PAGES = 1000
GROUP = "room:1"
RATE = 1000
GROUPS = 100
PUBLISHED = 200
MESSAGE = {"type": "chat.message", "number": 1, "text": "x" * 100}
Work = Callable[[], Awaitable[Any]]


class Frames:
    """Counts the frames that pages get, and tells when there have been enough."""

    def __init__(self) -> None:
        self._left = 0
        self._are_there = asyncio.Event()

    def expect(self, number: int) -> None:
        """Count anew."""
        self._left = number
        self._are_there.clear()

    def count(self) -> None:
        """Count a frame."""
        self._left -= 1
        if self._left == 0:
            self._are_there.set()

    async def wait(self) -> None:
        """Wait until so many have come."""
        await asyncio.wait_for(self._are_there.wait(), 60)


class Page:
    """A WebSocket of an ASGI application, without a socket."""

    def __init__(self, application: Any, frames: Frames) -> None:
        self.is_joined = asyncio.Event()
        self._sent = frames
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._frames.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/ws/websocket", "query_string": b"", "headers": []}
        self._task = asyncio.ensure_future(application(scope, self._frames.get, self._take))

    async def join(self, group: str) -> None:
        """Join, and wait for the reply."""
        frame = json.dumps(["1", "1", "lv:room", "phx_join", {"group": group}])
        self._frames.put_nowait({"type": "websocket.receive", "text": frame})
        await asyncio.wait_for(self.is_joined.wait(), 60)

    async def close(self) -> None:
        """Disconnect."""
        self._frames.put_nowait({"type": "websocket.disconnect", "code": 1000})
        with contextlib.suppress(Exception):
            await self._task

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self._sent.count()
            self.is_joined.set()


def make_consumers() -> tuple[Any, Any]:
    """Return a page in a durable group, and one in a group of Channels."""
    from channels.generic.websocket import AsyncJsonWebsocketConsumer

    from recovery_app.consumers import RecoveryConsumerMixin

    class Durable(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        recovery_fields = ("count",)
        delays: list[float] = []

        async def mount(self, topic: str, params: dict[str, Any]) -> None:
            self.count = 0
            await self.join_group(params["group"])

        async def chat_message(self, message: dict[str, Any]) -> None:
            self.count += 1
            if "sent_at" in message:
                self.delays.append(time.time() - message["sent_at"])
            await self.push("message", {"number": message["number"]})

    class Plain(AsyncJsonWebsocketConsumer):
        async def receive_json(self, content: Any, **_: Any) -> None:
            self.count = 0
            await self.channel_layer.group_add(
                content[4]["group"].replace(":", "."), self.channel_name
            )
            await self.send_json({})

        async def chat_message(self, message: dict[str, Any]) -> None:
            self.count += 1
            await self.send_json(["1", None, "lv:room", "message", {"number": message["number"]}])

    return Durable, Plain


@asynccontextmanager
async def opened(application: Any, groups: list[str]) -> AsyncIterator[Frames]:
    """Have a page in each of these groups."""
    frames = Frames()
    pages = [Page(application, frames) for _ in groups]
    for start in range(0, len(pages), 50):
        joins = zip(pages[start : start + 50], groups[start : start + 50], strict=True)
        await asyncio.gather(*(page.join(group) for page, group in joins))
    # What is saved and read behind a join isn't part of what is measured.
    await quiet()
    yield frames
    await asyncio.gather(*(page.close() for page in pages))


async def quiet() -> None:
    """Wait until this process has nothing to do: saves that are on their way belong to it."""
    calm = 0
    while calm < 3:
        before = time.process_time()
        await asyncio.sleep(0.1)
        calm = calm + 1 if time.process_time() - before < 0.002 else 0


class Bench:
    """What the rows share."""

    def __init__(self, port: int, options: Options) -> None:
        from redis import Redis
        from redis import asyncio as aioredis

        self.port = port
        self.rounds = options.pick(15, 5)
        self.seconds = options.pick(10, 4)
        self.pages = PAGES
        self.one = aioredis.Redis(host=HOST, port=port)
        self.sync = Redis(host=HOST, port=port)
        self.durable, self.plain = make_consumers()
        self.data = json.dumps(MESSAGE, separators=(",", ":")).encode()
        self.stream = "bench:{xadd}"

    async def close(self) -> None:
        """Let go of all connections."""
        await self.one.aclose()
        self.sync.close()

    async def publish(self) -> None:
        """Publish as an application does."""
        from recovery_app import groups

        await groups.apublish("bench", MESSAGE)

    async def add(self) -> None:
        """Add the same bytes to a stream of the same length."""
        await self.one.xadd(self.stream, {"m": self.data}, maxlen=10_000, approximate=True)

    async def add_at_once(self) -> Pair:
        """A hundred publishes at once, beside as many XADDs in a pipeline of redis-py's."""

        async def ours() -> None:
            await asyncio.gather(*(self.publish() for _ in range(100)))

        async def theirs() -> None:
            pipeline = self.one.pipeline(transaction=False)
            for _ in range(100):
                pipeline.xadd(self.stream, {"m": self.data}, maxlen=10_000, approximate=True)
            await pipeline.execute()

        return await self._compare(ours, theirs, PUBLISHED // 20, time.process_time)

    async def lone_publish(self) -> Pair:
        """A publish, beside an XADD."""
        return await self._compare(self.publish, self.add, PUBLISHED, time.process_time)

    async def lone_publish_wall(self) -> Pair:
        """The same by the clock on the wall."""
        return await self._compare(self.publish, self.add, PUBLISHED, time.perf_counter)

    async def sync_publish(self) -> Pair:
        """A publish of a thread that blocks, beside an XADD."""
        from recovery_app import groups

        def measure(work: Callable[[], Any]) -> float:
            start = time.perf_counter()
            for _ in range(PUBLISHED):
                work()
            return (time.perf_counter() - start) / PUBLISHED

        def add() -> None:
            self.sync.xadd(self.stream, {"m": self.data}, maxlen=10_000, approximate=True)

        def publish() -> None:
            groups.publish("bench", MESSAGE)

        return compare([(measure(publish), measure(add)) for _ in range(self.rounds + 1)][1:])

    async def fan_out(self, save_interval: float = 0) -> Pair:
        """A message to 1,000 pages, beside a group_send of channels_redis to as many."""
        from channels.layers import get_channel_layer

        from recovery_app import groups

        layer: Any = get_channel_layer()
        consumer = type("Paced", (self.durable,), {"recovery_save_interval": save_interval or None})
        rooms = [GROUP] * self.pages
        async with (
            opened(consumer.as_asgi(), rooms) as ours,
            opened(self.plain.as_asgi(), rooms) as theirs,
        ):
            rounds = [
                (
                    await self._all_have(ours, lambda: groups.apublish(GROUP, MESSAGE)),
                    await self._all_have(theirs, lambda: layer.group_send("room.1", MESSAGE)),
                )
                for _ in range(self.rounds + 2)
            ]
        return compare(rounds[2:])

    async def _all_have(self, frames: Frames, send: Work) -> float:
        """Return the CPU seconds until all pages have handled a message, and saved their states."""
        frames.expect(self.pages)
        start = time.process_time()
        await send()
        await frames.wait()
        await quiet()
        return time.process_time() - start

    async def _compare(
        self, ours: Work, theirs: Work, times: int, clock: Callable[[], float]
    ) -> Pair:
        async def measure(work: Work) -> float:
            start = clock()
            for _ in range(times):
                await work()
            return (clock() - start) / times

        return compare(
            [(await measure(ours), await measure(theirs)) for _ in range(self.rounds + 1)][1:]
        )

    async def delivery(self) -> list[float]:
        """Return the seconds from a publish in another process to its handler."""
        delays: list[float] = []
        consumer = type("Timed", (self.durable,), {"delays": delays})
        names = [f"room:{number}" for number in range(GROUPS)]
        async with opened(consumer.as_asgi(), names):
            command = [sys.executable, "-m", "benchmarks.groups", "--publish", str(self.seconds)]
            publisher = await asyncio.create_subprocess_exec(*command)
            await publisher.wait()
            # What is late is handled before the pages leave.
            await asyncio.sleep(1)
        if len(delays) != RATE * self.seconds:
            raise RuntimeError(f"{len(delays)} messages were handled.")
        # The first second is for nothing.
        return sorted(delays[RATE:])


def publish_for(seconds: int) -> None:
    """Publish 1,000 messages a second, evenly: the other process of `Bench.delivery`."""
    from recovery_app import groups

    async def run() -> None:
        start = time.monotonic()
        for number in range(RATE * seconds):
            await asyncio.sleep(max(start + number / RATE - time.monotonic(), 0))
            message = {**MESSAGE, "number": number, "sent_at": time.time()}
            await groups.apublish(f"room:{number % GROUPS}", message)

    asyncio.run(run())


def microseconds(pair: Pair) -> str:
    return f"{pair.ours * 1e6:.0f} / {pair.theirs * 1e6:.0f} µs"


def milliseconds(pair: Pair) -> str:
    return f"{pair.ours * 1e3:.0f} / {pair.theirs * 1e3:.0f} ms"


async def rows(bench: Bench, names: list[str]) -> AsyncIterator[Row]:
    """Yield the rows that were asked for."""
    for name, (what, aim, text) in ROWS.items():
        if name not in names:
            continue
        if name == "delivery":
            delays = await bench.delivery()
            p99, median = delays[len(delays) * 99 // 100], statistics.median(delays)
            measured = f"median {median * 1e3:.1f} ms, worst {delays[-1] * 1e3:.0f} ms"
            yield Row(what=what, measured=measured, ratio=p99 * 1e3, unit=" ms")
            continue
        pair = await (bench.fan_out(600) if name == "fan_out_gathered" else getattr(bench, name)())
        yield Row(what=what, measured=text(pair), ratio=pair.ratio, aim=aim)


ROWS: dict[str, tuple[str, float | None, Callable[[Pair], str]]] = {
    "lone_publish": ("publish / `XADD` of redis-py, CPU", 1.3, microseconds),
    "lone_publish_wall": ("the same, by the clock on the wall", 1.3, microseconds),
    "sync_publish": (
        "blocking publish / `XADD` of redis-py, by the clock on the wall",
        1.3,
        microseconds,
    ),
    "add_at_once": (
        "100 publishes at once / `XADD`s in a pipeline of redis-py, CPU",
        1.3,
        milliseconds,
    ),
    "fan_out": (
        "a message to 1,000 pages, each saved / `group_send` of channels_redis, CPU",
        0.5,
        milliseconds,
    ),
    "fan_out_gathered": (
        "the same without the saves, which `recovery_save_interval` gathers",
        0.5,
        milliseconds,
    ),
    "delivery": (
        "delivery from another process at 1,000 messages a second, each saved, p99",
        None,
        milliseconds,
    ),
}


def run(options: Options, names: list[str] | None = None) -> Iterator[Row]:
    """Yield the rows that were asked for, or all."""
    with directory() as home, make_redis(home) as server:
        os.environ["BENCH_REDIS_URL"] = f"redis://{HOST}:{server.port}/0"
        os.environ["BENCH_LAYER_URL"] = os.environ["BENCH_REDIS_URL"]
        configure()
        loop = asyncio.new_event_loop()
        bench = Bench(server.port, options)
        found = rows(bench, names or list(ROWS))
        with contextlib.closing(loop), contextlib.suppress(StopAsyncIteration):
            while True:
                yield loop.run_until_complete(anext(found))


def main() -> int:
    """Run the rows that were asked for, or all."""
    parser = parser_of(__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="row")
    parser.add_argument("--publish", type=int, help="only publish for some seconds")
    asked = parser.parse_args()
    if asked.publish:
        configure()
        publish_for(asked.publish)
        return 0
    return report(run(Options(quick=asked.quick), asked.rows), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
