"""Storms: the faults of a plan, applied to a proxy and its nodes during a run."""

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

FaultAction = Callable[[Fault], Awaitable[None]]

STALL_SECONDS = 15.0
"""Longer than the 10 s after which the npm client leaves and joins again."""
DELAY_SECONDS = 2.0
DOWN_SECONDS = 1.0
DUPLICATE_SECONDS = 3.0
HOLD_SECONDS = 0.3
JOIN_SECONDS = 1.0
SLACK = 0.1
POLL_SECONDS = 0.01
COUNTED_BY_PROXY = (Kind.LOST_JOIN, Kind.LOST_REPLY, Kind.DUPLICATE)


class Storm:
    """The faults of a run.

    ``also`` adds kinds of faults: it maps the name of a kind in the plan to a coroutine function.
    """

    def __init__(
        self,
        plan: Plan,
        proxy: Proxy,
        nodes: Sequence[Process],
        *,
        stall_seconds: float = STALL_SECONDS,
        also: Mapping[str, FaultAction] | None = None,
    ) -> None:
        self.plan = plan
        self._proxy = proxy
        self._nodes = nodes
        self._counts: Counter[str] = Counter()
        self._locks = [asyncio.Lock() for _ in nodes]
        self._stall_seconds = stall_seconds
        self._pending = {number: fault.at for number, fault in enumerate(plan)}
        self._actions: dict[str, FaultAction] = {
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
        if unknown := plan.counts.keys() - self._actions.keys():
            raise ValueError(f"unknown kinds of fault, not in also=: {', '.join(sorted(unknown))}")

    @property
    def horizon(self) -> float:
        """Return how far clients should go for now, as a share of the run.

        This is a little beyond the oldest unfinished fault, so that all faults happen during the
        run, however fast the clients are and however slowly a server starts.
        """
        return min(1.0, min(self._pending.values(), default=1.0) + SLACK)

    @property
    def done(self) -> dict[str, int]:
        """Return how many faults of each kind have happened."""
        by_proxy: dict[str, int] = {kind: self._proxy.counts[kind] for kind in COUNTED_BY_PROXY}
        planned = self.plan.counts
        return {
            kind: by_proxy.get(kind, self._counts[kind]) for kind in self._actions if planned[kind]
        }

    async def run(self, progress: Callable[[], float]) -> None:
        """Start each fault when the run has reached its share; return when all are over."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for number, fault in enumerate(self.plan):
                while progress() < fault.at:
                    await asyncio.sleep(POLL_SECONDS)
                    _raise_errors(tasks)
                tasks.append(asyncio.ensure_future(self._apply(number, fault)))
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._proxy.clear_pending()

    async def run_for(self, seconds: float) -> None:
        """Spread the faults over some seconds; return when these are over."""
        started_at = time.monotonic()
        task = asyncio.ensure_future(self.run(lambda: (time.monotonic() - started_at) / seconds))
        try:
            await asyncio.wait_for(asyncio.shield(task), seconds)
            await asyncio.sleep(started_at + seconds - time.monotonic())
        except asyncio.TimeoutError:
            pass  # Faults that are still waiting or running are cancelled.
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    blow_for = run_for
    """An older name."""

    async def _apply(self, number: int, fault: Fault) -> None:
        if fault.kind == Kind.LOST_REPLY:
            # It needs an event to happen, so it must not hold clients back.
            del self._pending[number]
        await self._actions[fault.kind](fault)
        self._counts[fault.kind] += 1
        self._pending.pop(number, None)

    # Connections

    async def _pick(self, fault: Fault) -> Link:
        while True:
            if link := self._proxy.pick(fault.target):
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
        self._proxy.swallow("join", then_cut=fault.variant)
        await self._rejoin(link)

    async def _lose_reply(self, fault: Fault) -> None:
        self._proxy.swallow("event", then_cut=fault.variant)
        await self._happened("event")

    async def _duplicate(self, fault: Fault) -> None:
        link = await self._pick(fault)
        seconds = fault.amount * DUPLICATE_SECONDS
        if fault.target < 0.5:
            await self._proxy.duplicate(link, seconds).wait()
            return
        sent: list[asyncio.Event] = []

        def duplicate(joining: Link) -> None:
            joining.delay(HOLD_SECONDS if fault.variant else 0)
            sent.append(self._proxy.duplicate(joining, seconds))

        self._proxy.before_next_join(duplicate)
        await self._rejoin(link)
        await sent[0].wait()

    async def _rejoin(self, link: Link) -> None:
        """Make a client join again, and wait until the pending fault has happened."""
        link.cut()
        await self._happened("join")

    async def _happened(self, kind: str) -> None:
        while self._proxy.has_pending(kind):  # noqa: ASYNC110 - rare, so polling is enough
            await asyncio.sleep(POLL_SECONDS)

    # Nodes

    @asynccontextmanager
    async def _node(self, fault: Fault) -> AsyncIterator[Process]:
        """Return a node, locked against other faults."""
        index = int(fault.target * len(self._nodes))
        async with self._locks[index]:
            yield self._nodes[index]

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
        """Stop a node just before a join reaches it, and continue it later."""
        async with self._node(fault) as node:
            is_stopped = asyncio.Event()

            def stop(_: Link) -> None:
                node.signal(signal.SIGSTOP)
                is_stopped.set()

            self._proxy.before_next_join(stop, port=node.port)
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


def format_counts(counts: Mapping[str, int]) -> str:
    """Return the counts as text."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
