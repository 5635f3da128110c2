"""How many pages a second come back at once, beside other servers.

    python -m benchmarks.rejoins [--quick]

A thousand WebSockets are open; then all join at once, with what their last visit gave them: joins
a second, from the first that is sent to the last reply. For information the same from the first
connection on. The servers: uvicorn with the mixin and `MemoryStorage`, which takes each state over;
the same with a consumer of Channels that replies and keeps nothing; and Socket.IO's server, which
restores the session. There each page is sent one event when it connects: only who has heard one
can be recovered, and Socket.IO searches those of the last minutes. ``joins.py`` has Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.application import LIVE, PLAIN
from benchmarks.events import SOCKETIO_PATH
from benchmarks.load import Load
from benchmarks.results import Row
from benchmarks.servers import directory, has_socketio, socketio, uvicorn, wait_quiet
from benchmarks.subject import Options, main
from benchmarks.timing import compare

CLIENTS = 1000
AIMS = {"plain": ("a plain consumer's joins", 1.6), "socket.io": ("Socket.IO's recoveries", 1.7)}


class Storms:
    """Servers, and for each a crowd that comes again and again."""

    def __init__(self, stack: ExitStack, clients: int) -> None:
        self._clients = clients
        self._load = stack.enter_context(Load())
        self.pids: dict[str, int] = {}
        home = stack.enter_context(directory())
        server = stack.enter_context(uvicorn(home))
        self._add("mixin", server.pid, server.port, LIVE, "phoenix")
        self._add("plain", server.pid, server.port, PLAIN, "phoenix")
        if has_socketio():
            node = stack.enter_context(socketio(home))
            self._add("socket.io", node.pid, node.port, SOCKETIO_PATH, "socket.io")

    def visit(self, name: str, *, opening: bool) -> float:
        """Have a crowd come, join and leave, and return how many joined in a second."""
        wait_quiet(self.pids[name])
        if not opening:
            self._load(name, "open")
        found = self._load(name, "rejoin" if opening else "join")
        self._load(name, "close")
        if found["failures"]:
            raise RuntimeError(f"{found['failures']} of {self._clients} pages failed: {name}.")
        return self._clients / found["seconds"]

    def measure(self, rounds: int, *, opening: bool) -> dict[str, list[float]]:
        """Return joins a second of the crowds that come in turns; a first visit is for nothing."""
        rates: dict[str, list[float]] = {name: [] for name in self.pids}
        for turn in range(rounds + 1):
            for name in rates if turn % 2 else reversed(rates):
                rate = self.visit(name, opening=opening)
                if turn:
                    rates[name].append(rate)
        return rates

    def _add(self, name: str, pid: int, port: int, path: str, dialect: str) -> None:
        self.pids[name] = pid
        self._load.make(name, port=port, path=path, dialect=dialect, clients=self._clients)
        # The first visit gives all something to come back with.
        self.visit(name, opening=False)


def rows_of(rates: dict[str, list[float]], *, opening: bool) -> Iterator[Row]:
    """Yield a row for each other server."""
    for name, (theirs, aim) in AIMS.items():
        if name in rates:
            pair = compare(zip(rates["mixin"], rates[name], strict=True))
            yield Row(
                what=f"rejoins a second, {CLIENTS:,} clients at once, memory / {theirs}"
                + (", with opening" if opening else ""),
                measured=f"{pair.ours:,.0f} / {pair.theirs:,.0f} a second",
                ratio=pair.ratio,
                aim=None if opening else aim,
                at_least=True,
            )


def run(options: Options) -> Iterator[Row]:
    """Yield the rows with aims, and those for information."""
    with ExitStack() as stack:
        storms = Storms(stack, CLIENTS)
        for opening in (False, True):
            rates = storms.measure(options.pick(9, 1 if opening else 3), opening=opening)
            yield from rows_of(rates, opening=opening)


if __name__ == "__main__":
    main(__doc__, run)
