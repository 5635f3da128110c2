"""Own the storm: the faults of a plan, let loose on a proxy and on nodes as a run goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from recovery_app.chaos.links import Link
from recovery_app.chaos.plan import Fault, Kind, Plan
from recovery_app.chaos.processes import Process
from recovery_app.chaos.proxy import Proxy

Act = Callable[[Fault], Awaitable[None]]

STALL_SECONDS = 15.0
"""Longer than the 10 s after which the npm client leaves, and joins again."""
DELAY_SECONDS = 2.0
DOWN_SECONDS = 1.0
DUPLICATE_SECONDS = 3.0
HOLD_SECONDS = 0.3
JOIN_SECONDS = 1.0
SLACK = 0.1
POLL_SECONDS = 0.01
SEEN_BY_PROXY = (Kind.LOST_JOIN, Kind.LOST_REPLY, Kind.DUPLICATE)


class Storm:
    """The faults of one run.

    ``also`` has what an application of yours can suffer besides: a kind that the plan counts,
    and what to do for it.
    """

    def __init__(
        self,
        plan: Plan,
        proxy: Proxy,
        nodes: Sequence[Process],
        *,
        stall_seconds: float = STALL_SECONDS,
        also: Mapping[str, Act] | None = None,
    ) -> None:
        self.plan = plan
        self._proxy = proxy
        self._nodes = nodes
        self._done: Counter[str] = Counter()
        self._locks = [asyncio.Lock() for _ in nodes]
        self._stall_seconds = stall_seconds
        self._open = {number: fault.at for number, fault in enumerate(plan)}
        self._acts: dict[str, Act] = {
            Kind.CUT: self._cut,
            Kind.HALF_OPEN: self._half_open,
            Kind.DELAY: self._delay,
            Kind.LOST_JOIN: self._lose_join,
            Kind.LOST_REPLY: self._lose_reply,
            Kind.DUPLICATE: self._duplicate,
            Kind.KILL: self._kill,
            Kind.TERM: self._term,
            Kind.STALL: self._stall,
            **(also or {}),
        }
        if unknown := plan.counts.keys() - self._acts.keys():
            raise ValueError(f"nobody says what to do for {', '.join(sorted(unknown))}: see also=")

    @property
    def horizon(self) -> float:
        """Give how far clients should go for now, as a share of the run.

        A little past the oldest fault that isn't over: so each one falls into a run that is
        going on, however fast the clients are and however slowly a server starts.
        """
        return min(1.0, min(self._open.values(), default=1.0) + SLACK)

    @property
    def done(self) -> dict[str, int]:
        """Give how many faults of each kind have happened; of the proxy, what it has seen."""
        seen: dict[str, int] = {kind: self._proxy.counts[kind] for kind in SEEN_BY_PROXY}
        planned = self.plan.counts
        return {kind: seen.get(kind, self._done[kind]) for kind in self._acts if planned[kind]}

    async def blow(self, progress: Callable[[], float]) -> None:
        """Let each fault happen when the run has come so far; return when all are over."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for number, fault in enumerate(self.plan):
                while progress() < fault.at:
                    await asyncio.sleep(POLL_SECONDS)
                    _raise_errors(tasks)
                tasks.append(asyncio.ensure_future(self._happen(number, fault)))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._proxy.calm()

    async def blow_for(self, seconds: float) -> None:
        """Let each fault happen when its share of so many seconds has gone; end with them."""
        began = time.monotonic()
        blowing = asyncio.ensure_future(self.blow(lambda: (time.monotonic() - began) / seconds))
        try:
            await asyncio.wait_for(asyncio.shield(blowing), seconds)
            await asyncio.sleep(began + seconds - time.monotonic())
        except asyncio.TimeoutError:
            pass  # A fault was late, and none may outlast the run.
        finally:
            blowing.cancel()
            await asyncio.gather(blowing, return_exceptions=True)

    async def _happen(self, number: int, fault: Fault) -> None:
        if fault.kind == Kind.LOST_REPLY:
            # It waits for an event, so no event may wait for it.
            del self._open[number]
        await self._acts[fault.kind](fault)
        self._done[fault.kind] += 1
        self._open.pop(number, None)

    # What happens to a connection

    async def _pick(self, fault: Fault) -> Link:
        while True:
            if link := self._proxy.pick(fault.whom):
                return link
            await asyncio.sleep(POLL_SECONDS)

    async def _cut(self, fault: Fault) -> None:
        (await self._pick(fault)).cut()

    async def _half_open(self, fault: Fault) -> None:
        (await self._pick(fault)).half_open()

    async def _delay(self, fault: Fault) -> None:
        seconds = fault.amount * DELAY_SECONDS
        (await self._pick(fault)).delay(seconds)
        await asyncio.sleep(seconds)

    async def _lose_join(self, fault: Fault) -> None:
        link = await self._pick(fault)
        self._proxy.swallow("join", then_cut=fault.coin)
        await self._join_again(link)

    async def _lose_reply(self, fault: Fault) -> None:
        self._proxy.swallow("event", then_cut=fault.coin)
        await self._had("event")

    async def _duplicate(self, fault: Fault) -> None:
        link = await self._pick(fault)
        seconds = fault.amount * DUPLICATE_SECONDS
        if fault.whom < 0.5:
            await self._proxy.duplicate(link, seconds).wait()
            return
        made: list[asyncio.Event] = []

        def duplicate(joining: Link) -> None:
            joining.delay(HOLD_SECONDS if fault.coin else 0)
            made.append(self._proxy.duplicate(joining, seconds))

        self._proxy.at_next_join(duplicate)
        await self._join_again(link)
        await made[0].wait()

    async def _join_again(self, link: Link) -> None:
        """Make a client join, and wait until what was to happen to a join has happened."""
        link.cut()
        await self._had("join")

    async def _had(self, kind: str) -> None:
        while self._proxy.waits_for(kind):  # noqa: ASYNC110 - so seldom that a look will do
            await asyncio.sleep(POLL_SECONDS)

    # What happens to a node

    @asynccontextmanager
    async def _node(self, fault: Fault) -> AsyncIterator[Process]:
        """Give a node that nothing else is happening to."""
        place = int(fault.whom * len(self._nodes))
        async with self._locks[place]:
            yield self._nodes[place]

    async def _kill(self, fault: Fault) -> None:
        async with self._node(fault) as node:
            await asyncio.to_thread(node.kill)
            await asyncio.sleep(fault.amount * DOWN_SECONDS)
            await asyncio.to_thread(node.start)

    async def _term(self, fault: Fault) -> None:
        async with self._node(fault) as node:
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)

    async def _stall(self, fault: Fault) -> None:
        """Stop a node just before a join reaches it, and let it go on later."""
        async with self._node(fault) as node:
            is_stopped = asyncio.Event()

            def stop(_: Link) -> None:
                node.signal(signal.SIGSTOP)
                is_stopped.set()

            self._proxy.at_next_join(stop, port=node.port)
            try:
                while not is_stopped.is_set():
                    (await self._pick(fault)).cut()
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(is_stopped.wait(), JOIN_SECONDS)
                await asyncio.sleep(self._stall_seconds)
            finally:
                node.signal(signal.SIGCONT)


def _raise_errors(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


def told(counts: Mapping[str, int]) -> str:
    """Write how many there were of each."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
