"""Print what metrics and signals cost on the hot path, beside the same calls without them.

    python benchmarks/metrics.py [--quick] [--multiprocess]

"With" is what an application has: the metrics' observers, each call on the storage timed, and
signals sent. "Without" is the same manager on the same storage with none of it.
Both are measured in turns, in CPU time of this process: a round is `CALLS` calls of each, and
each figure the median of `ROUNDS`, the ratio that of the rounds' own. With ``--multiprocess``
the metrics are in files, as with several workers.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if "--multiprocess" in sys.argv:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="recovery-metrics-")

import django
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from recovery_app import RecoveryManager
from recovery_app._core.manager import asynchronous, sync
from recovery_app._core.notifier import Notifier
from recovery_app._core.telemetry import Watched
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.signals import observers
from recovery_app.storages import MemoryStorage, RedisStorage, Storage
from tests.support.processes import HOST
from tests.support.redis import make_redis

MANAGERS = (asynchronous, sync)
ROUNDS = 60
CALLS = 400
AT_ONCE = 100
JOINS_SHARE = 5
"""A join takes so much longer than a call that there are fewer in a round."""
AIM = 1.1
STATE = {"count": 7, "items": ["x" * 40] * 3, "note": "y" * 40}

Work = Callable[["Side"], Awaitable[None]]


class Silent(Notifier):
    """Tell nobody."""

    def recovered(self, *_: Any) -> None:
        pass

    async def arecovered(self, *_: Any) -> None:
        pass


UNWATCHED = nullcontext()


class Side:
    """A manager with or without all that listens, and the tokens of some pages."""

    def __init__(self, storage: Storage, *, is_heard: bool) -> None:
        self.is_heard = is_heard
        self.manager = RecoveryManager(
            secret=b"the secret of this benchmark, 32", storage=storage, cleanup_interval=None
        )
        if not is_heard:
            self.manager.announcer = Silent(RecoveryManager, self.manager._socket_ids)
        self.page: Page | None = None
        self.token: str | None = None
        name = "heard" if is_heard else "unheard"
        self.tokens = [self.manager.create_token(f"{name} {n}") for n in range(AT_ONCE)]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Have the observers listen inside the block, or nobody."""
        before = observers._observers
        if not self.is_heard:
            for observer in before:
                observers.remove(observer)
            for module in MANAGERS:
                vars(module)["Watched"] = lambda *_: UNWATCHED
        try:
            yield
        finally:
            for observer in before:
                observers.add(observer)
            for module in MANAGERS:
                vars(module)["Watched"] = Watched


class Live(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A page's consumer."""

    recovery_fields = ("count", "items")

    async def mount(self, topic: str, params: dict[str, Any]) -> None:
        """Start anew."""
        self.count, self.items = 0, STATE["items"]

    async def handle_event(self, event: str, payload: Any) -> None:
        """Change the state, so that it is saved."""
        self.count += 1


class Page:
    """A WebSocket that is open, over ASGI without a server."""

    def __init__(self, manager: RecoveryManager) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "websocket", "path": "/", "headers": [], "recovery": manager}
        self.task = asyncio.ensure_future(Live.as_asgi()(scope, self.said.get, self.heard.put))
        self.said.put_nowait({"type": "websocket.connect"})

    async def push(self, event: str, payload: dict[str, Any]) -> Any:
        """Send a frame and give the payload of the reply."""
        frame = json.dumps(["1", "1", "lv:bench", event, payload])
        self.said.put_nowait({"type": "websocket.receive", "text": frame})
        return json.loads((await self.heard.get())["text"])[4]

    async def leave(self) -> None:
        """Close the WebSocket."""
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self.task


async def event(side: Side) -> None:
    """Send events from a page, each of which is saved before its reply."""
    if side.page is None:
        side.page = Page(side.manager)
        await side.page.heard.get()
        await side.page.push("phx_join", {})
    for _ in range(CALLS):
        await side.page.push("count", {})


async def join(side: Side) -> None:
    """Come back with the token that was given the last time."""
    for _ in range(CALLS // JOINS_SHARE):
        page = Page(side.manager)
        await page.heard.get()
        reply = await page.push("phx_join", {"_recovery": side.token} if side.token else {})
        side.token = reply["response"]["_recovery"]["token"]
        await page.leave()


async def save(side: Side) -> None:
    """Save, for sync code."""
    for _ in range(CALLS):
        side.manager.save(side.tokens[0], STATE)


async def recover(side: Side) -> None:
    """Recover, for sync code."""
    for _ in range(CALLS):
        side.manager.recover(side.tokens[0])


async def asave(side: Side) -> None:
    """Save with each event."""
    for _ in range(CALLS):
        await side.manager.asave(side.tokens[0], STATE)


async def arecover(side: Side) -> None:
    """Give a state back."""
    for _ in range(CALLS):
        await side.manager.arecover(side.tokens[0])


async def atake_over(side: Side) -> None:
    """Take over, and show the new token the next time."""
    for _ in range(CALLS):
        side.tokens[0] = (await side.manager.atake_over(side.tokens[0])).token


async def atouch(side: Side) -> None:
    """Show that a connection lives."""
    for _ in range(CALLS):
        await side.manager.atouch(side.tokens[0])


async def create_token(side: Side) -> None:
    """Issue tokens."""
    for _ in range(CALLS):
        side.manager.create_token("socket")


async def asave_at_once(side: Side) -> None:
    """Save for a hundred pages at once."""
    for _ in range(CALLS // AT_ONCE):
        await asyncio.gather(*(side.manager.asave(token, STATE) for token in side.tokens))


async def atake_over_at_once(side: Side) -> None:
    """Take over for a hundred pages at once."""
    for _ in range(CALLS // AT_ONCE):
        taken = await asyncio.gather(*(side.manager.atake_over(token) for token in side.tokens))
        side.tokens = [each.token for each in taken]


async def measure(work: Work, sides: list[Side], rounds: int) -> tuple[float, float, float]:
    """Give the median CPU seconds of one call with and without, and of the rounds' ratios."""
    found = []
    for turn in range(rounds + 1):
        seconds = {}
        # Who comes first changes: a machine that slows down is no side's.
        for side in sides if turn % 2 else reversed(sides):
            with side.listening():
                start = time.process_time()
                await work(side)
                seconds[side.is_heard] = (time.process_time() - start) / CALLS
        if turn:
            found.append((seconds[True], seconds[False], seconds[True] / seconds[False]))
    heard, unheard, ratio = map(statistics.median, zip(*found, strict=True))
    return heard, unheard, ratio


async def compare(
    title: str, storages: list[Storage], works: list[Work], rounds: int, aim: float | None
) -> bool:
    """Print the rows of one kind of storage; say whether the aim is met in each."""
    sides = [Side(storages[0], is_heard=True), Side(storages[1], is_heard=False)]
    for side in sides:
        for token in side.tokens:
            await side.manager.asave(token, STATE)
    is_met = True
    for work in works:
        heard, unheard, ratio = await measure(work, sides, rounds)
        verdict = "| - | - |" if aim is None else f"| < {aim} | {'yes' if ratio < aim else 'NO'} |"
        is_met = is_met and (aim is None or ratio < aim)
        print(
            f"| {title} | {work.__name__} | {heard * 1e6:.1f} / {unheard * 1e6:.1f} us "
            f"| {ratio:.3f} {verdict}",
            flush=True,
        )
    for side in sides:
        if side.page is not None:
            await side.page.leave()
        side.manager.close()
    return is_met


async def run(rounds: int, aim: float) -> bool:
    """Print all rows; the bare calls in memory have no aim, as there nothing else is done."""
    calls: list[Work] = [save, recover, asave, arecover, atake_over, atouch, create_token]
    pages: list[Work] = [event, join]
    await compare("memory", [MemoryStorage(), MemoryStorage()], calls, rounds, None)
    is_met = await compare("memory", [MemoryStorage(), MemoryStorage()], pages, rounds, aim)
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-bench-"))
        server = stack.enter_context(make_redis(Path(name)))
        redis: list[Storage] = [
            RedisStorage(url=f"redis://{HOST}:{server.port}/{number}") for number in (0, 1)
        ]
        many: list[Work] = [asave, atake_over, asave_at_once, atake_over_at_once, *pages]
        return await compare("Redis", redis, many, rounds, aim) and is_met


def main() -> int:
    """Compare all calls; 1 if one costs a tenth or more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--multiprocess", action="store_true", help="metrics in files")
    options = parser.parse_args()
    django.setup()
    print("| storage | call | with / without | ratio | aim | met |")
    print("|---|---|---|---|---|---|")
    return 0 if asyncio.run(run(8 if options.quick else ROUNDS, AIM)) else 1


if __name__ == "__main__":
    sys.exit(main())
