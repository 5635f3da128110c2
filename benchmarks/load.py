"""The load generator: a process of its own, which is told by lines of JSON what to do.

Crowds of pages open, join at once, have one event under way each, and close.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.dialects import DIALECTS, Phoenix, SocketIO
from benchmarks.wire import Page, connect
from tests.support.processes import TOP

# As many as a server's backlog takes.
OPENING_AT_ONCE = 200
WAIT_SECONDS = 120


@dataclass
class Crowd:
    """Pages that come again and again; each keeps what its last visit gave it."""

    port: int
    path: str
    dialect: Phoenix | SocketIO
    kept: list[Any]
    pages: list[Page] = field(default_factory=list)

    async def open(self) -> dict[str, float]:
        """Open all WebSockets."""
        turn = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one() -> Page:
            async with turn:
                return await connect(self.port, lambda: Page(self.path), self.dialect.opening)

        start = time.perf_counter()
        self.pages = await asyncio.gather(*(open_one() for _ in self.kept))
        return {"seconds": time.perf_counter() - start}

    async def join(self) -> dict[str, float]:
        """Have all join at once, from the first that is sent to the last reply."""
        frames = [self.dialect.join(kept) for kept in self.kept]
        start = time.perf_counter()
        for page, frame in zip(self.pages, frames, strict=True):
            page.send(frame, self.dialect.joined)
        answers = await self._answers()
        seconds = time.perf_counter() - start
        failures = sum(not self._keep(place, answer) for place, answer in enumerate(answers))
        await self._hear_offsets()
        return {"seconds": seconds, "failures": failures}

    async def rejoin(self) -> dict[str, float]:
        """Have all come at once, each open a WebSocket and join: to the last reply."""
        turn = asyncio.Semaphore(OPENING_AT_ONCE)

        async def come(kept: Any) -> tuple[Page, bytes]:
            async with turn:
                page = await connect(self.port, lambda: Page(self.path), self.dialect.opening)
                page.send(self.dialect.join(kept), self.dialect.joined)
                return page, await page.answer()

        start = time.perf_counter()
        found = await asyncio.gather(*map(come, self.kept))
        seconds = time.perf_counter() - start
        self.pages = [page for page, _ in found]
        failures = sum(not self._keep(place, answer) for place, (_, answer) in enumerate(found))
        await self._hear_offsets()
        return {"seconds": seconds, "failures": failures}

    async def events(self, seconds: float) -> dict[str, float]:
        """Keep one event of each page under way for so long."""
        before, cpu = sum(page.answers for page in self.pages), time.process_time()
        start = time.perf_counter()
        for page in self.pages:
            page.repeat(self.dialect.event)
        await asyncio.sleep(seconds)
        taken = time.perf_counter() - start
        answers = sum(page.answers for page in self.pages) - before
        cpu = time.process_time() - cpu
        for page in self.pages:
            page.rest()
        await self._answers()
        return {"events": answers, "seconds": taken, "busy": cpu / taken}

    async def close(self) -> dict[str, float]:
        """Drop all connections."""
        for page in self.pages:
            page.close()
        self.pages = []
        return {}

    async def _answers(self) -> list[bytes | BaseException]:
        waiting = asyncio.gather(*(page.answer() for page in self.pages), return_exceptions=True)
        return await asyncio.wait_for(waiting, WAIT_SECONDS)

    async def _hear_offsets(self) -> None:
        """Wait until each page has heard an event: only then can it go on later."""
        if isinstance(self.dialect, SocketIO):
            for place, page in enumerate(self.pages):
                self.kept[place] = self.dialect.note(await page.event(), self.kept[place])

    def _keep(self, place: int, answer: bytes | BaseException) -> bool:
        if not isinstance(answer, bytes):
            return False
        self.kept[place], is_good = self.dialect.keep(answer, self.kept[place])
        return is_good


async def serve() -> None:
    """Do what the lines say, until there are no more."""
    crowds: dict[str, Crowd] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        call = json.loads(line)
        name, what = call.pop("crowd"), call.pop("do")
        if what == "make":
            dialect = DIALECTS[call["dialect"]]()
            kept: list[Any] = [None] * call["clients"]
            crowds[name] = Crowd(call["port"], call["path"], dialect, kept)
            print("{}", flush=True)
        else:
            print(json.dumps(await getattr(crowds[name], what)(**call)), flush=True)


class Load:
    """The other end: starts the process, and tells it what to do."""

    def __enter__(self) -> Load:
        raise_limit()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=TOP,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def make(self, crowd: str, *, port: int, path: str, dialect: str, clients: int) -> None:
        """Prepare a crowd, whose pages aren't open yet."""
        self(crowd, "make", port=port, path=path, dialect=dialect, clients=clients)

    def __call__(self, crowd: str, do: str, **options: Any) -> dict[str, float]:
        """Have a crowd do something, and return what was measured."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the load generator isn't running")
        stdin.write(json.dumps({"crowd": crowd, "do": do, **options}) + "\n")
        stdin.flush()
        found: dict[str, float] = json.loads(stdout.readline())
        return found


def raise_limit() -> None:
    """Allow as many open files as the machine lets this process have, and its children."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def main() -> None:
    """Run on uvloop where it is installed."""
    raise_limit()
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
