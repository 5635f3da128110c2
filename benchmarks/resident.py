"""What one open page takes of the server's memory, beside a plain consumer's connection.

    python -m benchmarks.resident [--quick]

Each is measured on a uvicorn of its own: its resident memory before so many pages have joined, and
after. A few pages come first, so that what a process needs once isn't counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.application import LIVE, PLAIN
from benchmarks.load import Load
from benchmarks.results import Row
from benchmarks.servers import directory, redis_url, uvicorn, wait_quiet
from benchmarks.subject import Options, main
from benchmarks.timing import compare, resident_bytes

FIRST = 50
SETTLE_SECONDS = 0.3
AIM = 1.25


def bytes_of_page(load: Load, path: str, clients: int, redis: str) -> float:
    """Return the bytes that each page adds to a new server."""
    with directory() as home, uvicorn(home, redis=redis) as server:
        before = 0
        for crowd, size in (("first", FIRST), ("many", clients)):
            before = resident_bytes(server.pid)
            load.make(crowd, port=server.port, path=path, dialect="phoenix", clients=size)
            load(crowd, "open")
            if load(crowd, "join")["failures"]:
                raise RuntimeError("Not all pages could join.")
            wait_quiet(server.pid)
            time.sleep(SETTLE_SECONDS)
        grown = resident_bytes(server.pid) - before
        for crowd in ("first", "many"):
            load(crowd, "close")
    return grown / clients


def run(options: Options) -> Iterator[Row]:
    """Yield a row for each storage."""
    clients, rounds = options.pick(2000, 1000), options.pick(3, 1)
    with Load() as load, redis_url() as url:
        for storage, redis, aim in (("memory", "", AIM), ("Redis", url, None)):
            pair = compare(
                [
                    (
                        bytes_of_page(load, LIVE, clients, redis),
                        bytes_of_page(load, PLAIN, clients, redis),
                    )
                    for _ in range(rounds)
                ]
            )
            yield Row(
                what=f"resident memory for one joined page, {storage}, uvicorn "
                "/ the plain consumer's connection",
                measured=f"{pair.ours / 1024:.1f} / {pair.theirs / 1024:.1f} KiB",
                ratio=pair.ratio,
                aim=aim,
            )


if __name__ == "__main__":
    main(__doc__, run)
