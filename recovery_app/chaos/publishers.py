"""Publishers: processes that publish numbered messages to the groups of pages."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from recovery_app.chaos.messages import Message, MessageVerdict, PageMessages, judge
from recovery_app.chaos.scripts import fill_in

PROGRAM = "recovery_app.chaos.publisher"
GROUPS = "{groups}"
"""In the payload of a join: the names of the groups to join."""
GROUPS_PER_PAGE = 2
RETRY_SECONDS = 0.2
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What is published: ``messages`` by each of some publishers, to groups at random.

    ``module`` is that of the application. In the strings of ``group`` and ``message``,
    ``{number}`` and ``{id}`` are replaced. ``handled`` is the key of the join's response that
    lists the ids of the messages handled, with null for a call of ``missed_messages``.
    """

    module: str
    message: Mapping[str, Any]
    handled: str
    publishers: int = 4
    messages: int = 100
    groups: int = 10
    group: str = "chaos:{number}"
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Return the names of the groups."""
        return [self.group.replace("{number}", str(each)) for each in range(self.groups)]

    def groups_of(self, page: int) -> list[str]:
        """Return the groups that a page is in: two of them, if there are as many."""
        count = min(GROUPS_PER_PAGE, self.groups)
        return [self.names[(page + each) % self.groups] for each in range(count)]

    def params_of(self, page: int, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload of a page's joins."""
        groups = self.groups_of(page)
        return {key: groups if value == GROUPS else value for key, value in params.items()}


class Publisher:
    """One process, and what it has sent so far."""

    def __init__(
        self,
        publishing: Publishing,
        number: int,
        seed: int,
        *,
        program: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
    ) -> None:
        self.sent: list[Message] = []
        self.acknowledged = 0
        self._publishing = publishing
        self._number = number
        self._rng = random.Random(f"{seed} publisher {number}")
        self._program = program
        self._answers = answers

    @classmethod
    @asynccontextmanager
    async def start(
        cls, publishing: Publishing, number: int, seed: int
    ) -> AsyncIterator[Publisher]:
        """Start the process, and end it afterwards."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PROGRAM, publishing.module),
            env={**os.environ, **publishing.env},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        program = cast("asyncio.StreamWriter", process.stdin)
        answers = cast("asyncio.StreamReader", process.stdout)
        try:
            yield cls(publishing, number, seed, program=program, answers=answers)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def run(self, horizon: Callable[[], float]) -> None:
        """Publish the messages up to the horizon, a share of them, until all are published."""
        while self.acknowledged < self._publishing.messages:
            if self.acknowledged < math.ceil(horizon() * self._publishing.messages):
                await self._publish(self._rng.choice(self._publishing.names))
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def _publish(self, group: str) -> None:
        """Publish one message; after an error another one in its place, under an id of its own."""
        name = f"{self._number}-{self.acknowledged + 1}"
        for attempt in count(1):
            id_ = name if attempt == 1 else f"{name}-{attempt}"
            is_certain = await self._send(group, id_)
            self.sent.append(
                Message(id=id_, group=group, publisher=self._number, is_certain=is_certain)
            )
            if is_certain:
                break
            await asyncio.sleep(RETRY_SECONDS)
        self.acknowledged += 1

    async def _send(self, group: str, id_: str) -> bool:
        """Have the process publish a message; return whether that raised no error."""
        message = fill_in(dict(self._publishing.message), {"{id}": id_})
        self._program.write(json.dumps([group, message]).encode() + b"\n")
        answer = (await self._answers.readline()).decode().strip()
        if not answer:
            raise RuntimeError(f"publisher {self._number} has exited")
        return answer == "ok"


class Publishers:
    """All publishers of a run."""

    def __init__(self, publishing: Publishing, publishers: Sequence[Publisher]) -> None:
        self._publishing = publishing
        self.total = publishing.publishers * publishing.messages
        self._publishers = publishers

    @classmethod
    @asynccontextmanager
    async def start(cls, publishing: Publishing, seed: int) -> AsyncIterator[Publishers]:
        """Start the processes, and end them afterwards."""
        async with AsyncExitStack() as stack:
            numbers = range(publishing.publishers)
            starting = [Publisher.start(publishing, number, seed) for number in numbers]
            yield cls(publishing, [await stack.enter_async_context(each) for each in starting])

    @property
    def acknowledged(self) -> int:
        """Return how many messages are known to be published."""
        return sum(publisher.acknowledged for publisher in self._publishers)

    @property
    def is_done(self) -> bool:
        """Return whether all messages are published."""
        return self.acknowledged == self.total

    def judge(self, states: Iterable[Mapping[str, Any]]) -> MessageVerdict:
        """Return what became of the messages, by the states of all pages in order."""
        publishing = self._publishing
        pages = [
            PageMessages(groups=publishing.groups_of(page), handled=state[publishing.handled])
            for page, state in enumerate(states)
        ]
        sent = [message for publisher in self._publishers for message in publisher.sent]
        return judge(sent, pages)

    async def run(self, horizon: Callable[[], float] = lambda: 1.0) -> None:
        """Publish the messages up to the horizon until all are published."""
        await asyncio.gather(*(publisher.run(horizon) for publisher in self._publishers))
