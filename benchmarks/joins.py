"""How many joins a second a real server does, with recovery from Redis and without any.

    python benchmarks/joins.py [--quick] [--layer] [clients ...]

One uvicorn serves two consumers: one with recovery from a Redis of its own, and a plain one of
Channels that replies and keeps nothing. Pages open their WebSockets, then all join at once;
those of the first show the token of their last visit. Measured in turns: by the clock from the
first join that is sent to the last reply, the same with the opening of the WebSockets, and the CPU
time of the server (Redis and the pages have their own). The aims are for joins a second by the
clock. ``--layer`` gives the server Channels' in-memory layer; a new project has none.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.application import LIVE, PLAIN
from benchmarks.load import Load
from benchmarks.results import Row, Table
from benchmarks.servers import directory, uvicorn, wait_quiet
from benchmarks.subject import Options, parser_of, report
from benchmarks.timing import compare, cpu_seconds
from tests.support.processes import HOST
from tests.support.redis import connections_of, make_redis

AIM = 1.2
MOST_CONNECTIONS = 100
CROWDS = {"recovery": LIVE, "plain": PLAIN}
COLUMNS = ["consumer", "clients", "joins/s", "with opening", "CPU of the server for one", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What so many pages did once: seconds for one, and how many of them failed."""

    join: float
    with_opening: float
    cpu: float
    failures: int
    redis_connections: int


def visit(load: Load, name: str, clients: int, pid: int, redis_port: int) -> Visit:
    """Have a crowd open, join and leave."""
    wait_quiet(pid)
    opened = load(name, "open")
    cpu = cpu_seconds(pid)
    joined = load(name, "join")
    cpu = cpu_seconds(pid) - cpu
    connections = connections_of(redis_port)
    load(name, "close")
    return Visit(
        join=joined["seconds"] / clients,
        with_opening=(opened["seconds"] + joined["seconds"]) / clients,
        cpu=cpu / clients,
        failures=int(joined["failures"]),
        redis_connections=connections,
    )


def measure(clients: int, rounds: int, *, layer: bool) -> dict[str, list[Visit]]:
    """Have so many clients come to both consumers in turns."""
    visits: dict[str, list[Visit]] = {name: [] for name in CROWDS}
    with directory() as home, make_redis(home) as redis, Load() as load:
        url = f"redis://{HOST}:{redis.port}/0"
        with uvicorn(home, redis=url, layer=layer) as server:
            for name, path in CROWDS.items():
                port, dialect = server.port, "phoenix"
                load.make(name, port=port, path=path, dialect=dialect, clients=clients)
            for turn in range(rounds + 1):
                for name, kept in visits.items():
                    found = visit(load, name, clients, server.pid, redis.port)
                    if turn:
                        kept.append(found)
    return visits


def rows_of(clients: int, visits: dict[str, list[Visit]]) -> Iterator[Row]:
    """Yield the rows of one number of clients."""
    pairs = list(zip(visits["recovery"], visits["plain"], strict=True))
    pair = compare((1 / ours.join, 1 / theirs.join) for ours, theirs in pairs)
    yield Row(
        what=f"joins a second, {clients:,} at once: recovery from Redis / plain consumer",
        measured=f"{pair.ours:,.0f} / {pair.theirs:,.0f} a second",
        ratio=pair.ratio,
        aim=AIM,
        at_least=True,
    )
    failures = sum(each.failures for each in visits["recovery"])
    connections = max(each.redis_connections for each in visits["recovery"])
    yield Row(
        what=f"{clients:,} joins at once: connections to Redis (none of the joins failed)",
        measured=f"{failures} failed",
        ratio=connections if not failures else float("inf"),
        aim=MOST_CONNECTIONS,
    )


def lines_of(clients: int, visits: dict[str, list[Visit]]) -> Iterator[list[str]]:
    """Yield the lines of the table."""
    for name, found in visits.items():
        yield [
            name,
            f"{clients:,}",
            f"{1 / median(each.join for each in found):,.0f}",
            f"{1 / median(each.with_opening for each in found):,.0f}",
            f"{median(each.cpu for each in found) * 1e6:.0f} µs",
            str(sum(each.failures for each in found)),
        ]


def run(
    options: Options, clients: list[int] | None = None, *, layer: bool = False
) -> Iterator[Row | Table]:
    """Yield the rows, then what is behind them."""
    lines: list[list[str]] = []
    for number in clients or options.pick([1000, 5000], [1000]):
        visits = measure(number, options.pick(7, 2), layer=layer)
        yield from rows_of(number, visits)
        lines += lines_of(number, visits)
    yield Table(title="Joins with Redis, by consumer", columns=COLUMNS, lines=lines)


def main() -> int:
    """Run the numbers of clients that were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("--layer", action="store_true", help="with an in-memory channel layer")
    parser.add_argument("clients", nargs="*", type=int)
    asked = parser.parse_args()
    results = run(Options(quick=asked.quick), asked.clients, layer=asked.layer)
    return report(results, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
