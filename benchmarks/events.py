"""Events a second of one server process, beside other servers and the same pages.

    python -m benchmarks.events [--quick]

A hundred pages have one event under way each. The servers: one uvicorn with the mixin, which saves
the state with each event (in memory, in Redis); one with a bare ASGI function that echoes the
frames; one with a consumer of Channels that replies and keeps nothing; and Socket.IO's server
with connection state recovery on, which acknowledges each event and stores nothing for it. They
take turns, and each ratio is the median over the turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from benchmarks.application import LIVE, PLAIN
from benchmarks.load import Load
from benchmarks.results import Row, Table
from benchmarks.servers import directory, has_socketio, redis_url, socketio, uvicorn
from benchmarks.subject import Options, main
from benchmarks.timing import compare, cpu_seconds

CLIENTS = 100
SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"


class Comparison(NamedTuple):
    """One row: which server beside which, and the least ratio that is aimed at."""

    what: str
    ours: str
    theirs: str
    aim: float | None


ROWS = (
    Comparison("mixin, memory / bare ASGI echo", "memory", "bare", 0.60),
    Comparison("mixin, Redis / bare ASGI echo", "redis", "bare", 0.55),
    Comparison("mixin, memory / plain Channels consumer", "memory", "plain", 1.9),
    Comparison("mixin, Redis / plain Channels consumer", "redis", "plain", None),
    Comparison("mixin, memory / Socket.IO", "memory", "socket.io", 0.5),
)


class Turn(NamedTuple):
    """What one server did in one turn: events a second, its CPU for one, the load's CPU share."""

    rate: float
    cpu: float
    busy: float


class Servers:
    """All servers, each with a hundred pages that have joined."""

    def __init__(self, stack: ExitStack, load: Load) -> None:
        self.pids: dict[str, int] = {}
        self._load = load
        home = stack.enter_context(directory())
        redis = stack.enter_context(redis_url())
        for name, server, path in (
            ("bare", uvicorn(home, "make_bare"), "/"),
            ("memory", uvicorn(home), LIVE),
            ("plain", uvicorn(home), PLAIN),
            ("redis", uvicorn(home, redis=redis), LIVE),
        ):
            stack.enter_context(server)
            self._join(name, server.pid, server.port, path, "phoenix")
        if has_socketio():
            node = stack.enter_context(socketio(home))
            self._join("socket.io", node.pid, node.port, SOCKETIO_PATH, "socket.io")

    def turn(self, name: str, seconds: float) -> Turn:
        """Let the pages of one server send events."""
        cpu = cpu_seconds(self.pids[name])
        found = self._load(name, "events", seconds=seconds)
        cpu = cpu_seconds(self.pids[name]) - cpu
        return Turn(found["events"] / found["seconds"], cpu / found["events"], found["busy"])

    def _join(self, name: str, pid: int, port: int, path: str, dialect: str) -> None:
        self.pids[name] = pid
        self._load.make(name, port=port, path=path, dialect=dialect, clients=CLIENTS)
        self._load(name, "open")
        if self._load(name, "join")["failures"]:
            raise RuntimeError(f"Not all pages could join: {name}.")


def measure(servers: Servers, rounds: int, seconds: float) -> dict[str, list[Turn]]:
    """Return the turns of each server; a first round is for nothing."""
    turns: dict[str, list[Turn]] = {name: [] for name in servers.pids}
    for number in range(rounds + 1):
        for name in turns if number % 2 else reversed(turns):
            turn = servers.turn(name, seconds)
            if number:
                turns[name].append(turn)
    return turns


def row_of(row: Comparison, turns: dict[str, list[Turn]]) -> Row:
    """Return one row."""
    pairs = list(zip(turns[row.ours], turns[row.theirs], strict=True))
    pair = compare((ours.rate, theirs.rate) for ours, theirs in pairs)
    cpu = compare((theirs.cpu, ours.cpu) for ours, theirs in pairs)
    rates = f"{pair.ours:,.0f} / {pair.theirs:,.0f} a second"
    return Row(
        what=f"events a second, {CLIENTS} clients: {row.what}",
        measured=f"{rates}; by the servers' CPU {cpu.ratio:.2f}",
        ratio=pair.ratio,
        aim=row.aim,
        at_least=True,
    )


def table_of(turns: dict[str, list[Turn]]) -> Table:
    """Return what each server did, and how busy the load generator was with it."""
    lines = []
    for name, found in turns.items():
        rate, cpu, busy = (median(each) for each in zip(*found, strict=True))
        lines.append([name, f"{rate:,.0f}", f"{cpu * 1e6:.0f} µs", f"{busy:.0%}"])
    columns = ["server", "events a second", "CPU of the server for one", "load generator's core"]
    return Table(title="Events, by server", columns=columns, lines=lines)


def run(options: Options) -> Iterator[Row | Table]:
    """Yield the rows, then a table of the servers."""
    with ExitStack() as stack:
        load = stack.enter_context(Load())
        servers = Servers(stack, load)
        turns = measure(servers, options.pick(9, 3), options.pick(1.5, 0.6))
    for row in ROWS:
        if row.theirs in turns:
            yield row_of(row, turns)
    yield table_of(turns)


if __name__ == "__main__":
    main(__doc__, run)
