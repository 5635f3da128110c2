"""Own batches: what is asked of one server in the same turn of an event loop goes at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from recovery_app.storages.redis.connections import Lane
from recovery_app.storages.redis.errors import BROKEN, FAILURES
from recovery_app.storages.redis.requests import Call, Manner, Packet

MAX_CALLS = 256
"""So many steps keep the server's only thread for about a millisecond."""
MAX_BYTES = 1_048_576

Reply = Any


async def exchange(lane: Lane, calls: list[Call], manner: Manner, *, asking: bool) -> None:
    """Have calls made: then each has its result, a reply or the exception that is its own."""
    if await _send(lane, calls, manner, by_hash=True, asking=asking):
        # The server was restarted, or its scripts flushed; this also makes it keep the script.
        again = [call for call in calls if is_unknown(call.result)]
        await _send(lane, again, manner, by_hash=False, asking=asking)


def is_unknown(result: object) -> bool:
    """Say whether the server doesn't have the script."""
    return type(result).__name__ == "NoScriptError"


async def _send(
    lane: Lane, calls: list[Call], manner: Manner, *, by_hash: bool, asking: bool
) -> bool:
    """Send calls once; say whether the server didn't have the script."""
    packet = Packet(calls, manner, by_hash=by_hash, asking=asking)
    repeatable = all(call.kind.repeatable for call in calls)
    replies = await lane.ask(packet.commands, repeatable=repeatable)
    packet.settle(replies)
    return any(map(is_unknown, replies))


class Batcher:
    """Gather calls to one server and send them on the first lane that is free.

    The first caller of a turn waits for the end of it. If nobody else came, it goes by
    itself, which saves a lone call a task and two turns of the loop; otherwise all of them
    travel in a task of its own, so that a caller that is cancelled takes nothing with it.
    While all lanes are on their way the calls wait, and so the batches grow with the load.
    """

    def __init__(self, lanes: list[Lane], manner: Manner, lost: Callable[[], None]) -> None:
        self._lanes = lanes
        self._free = list(lanes)
        self._manner = manner
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Call] = []
        self._turns: deque[asyncio.Future[Lane]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_led = False

    def call(self, call: Call) -> Awaitable[Reply]:
        """Give what is to be awaited at once; the result may be an exception of the server's."""
        future = call.future = self._loop.create_future()
        self._waiting.append(call)
        if self._is_led or not self._free:
            return future
        return self._lead(future)

    async def ask(self, commands: list[Any]) -> list[Reply]:
        """Send commands as they are, on the next lane that is free: before calls that wait."""
        lane = self._free.pop() if self._free else await self._next_lane()
        task = asyncio.ensure_future(lane.ask(commands, repeatable=True))
        self._track(task, lane)
        try:
            return await asyncio.shield(task)
        except FAILURES as error:
            self._fail(error)
            raise

    async def close(self) -> None:
        """Let go of the connections, those on their way when they are back."""
        for lane in self._lanes:
            await lane.retire()

    async def _lead(self, future: asyncio.Future[Reply]) -> Reply:
        self._is_led = True
        try:
            await asyncio.sleep(0)
        except BaseException:
            future.cancel()
            self._flush()
            raise
        # A time-out may have answered this call meanwhile: the one that waits is another's then.
        if len(self._waiting) == 1 and self._free and not future.done():
            return await self._go_alone(self._waiting.pop())
        self._flush()
        return await future

    async def _go_alone(self, call: Call) -> Reply:
        self._is_led = False
        lane = self._free.pop()
        try:
            await exchange(lane, [call], self._manner, asking=False)
        except FAILURES as error:
            self._fail(error)
            return error
        else:
            return call.result
        finally:
            self._give_back(lane)

    def _flush(self) -> None:
        self._is_led = False
        while self._waiting and self._free:
            batch = self._take()
            if batch:
                lane = self._free.pop()
                self._track(asyncio.ensure_future(self._run(lane, batch)), lane)

    async def _next_lane(self) -> Lane:
        turn: asyncio.Future[Lane] = self._loop.create_future()
        self._turns.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back(turn.result())
            raise

    def _give_back(self, lane: Lane) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(lane)
                return
        self._free.append(lane)
        if self._waiting and not self._is_led:
            self._flush()

    def _take(self) -> list[Call]:
        """Take as many calls as may travel together, without those given up by now."""
        batch: list[Call] = []
        size = taken = 0
        for call in self._waiting:
            size += call.size_bytes
            if batch and (size > MAX_BYTES or len(batch) == MAX_CALLS):
                break
            taken += 1
            if not call.future.done():
                batch.append(call)
        del self._waiting[:taken]
        return batch

    def _track(self, task: asyncio.Task[Any], lane: Lane) -> None:
        self._tasks.add(task)

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            self._give_back(lane)

        task.add_done_callback(done)

    async def _run(self, lane: Lane, calls: list[Call]) -> None:
        try:
            await exchange(lane, calls, self._manner, asking=False)
        except Exception as error:
            # Whatever it is: those who wait would otherwise wait for ever.
            self._fail(error)
            for call in calls:
                call.result = error
        except asyncio.CancelledError:
            for call in calls:
                call.future.cancel()
            raise
        for call in calls:
            if not call.future.done():
                call.future.set_result(call.result)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, BROKEN):
            self._lost()
        if isinstance(error, TimeoutError):
            # Those who waited for a lane have waited as long as the server was silent.
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                if not call.future.done():
                    call.future.set_result(error)
