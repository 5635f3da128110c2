"""What metrics cost on the hot path, beside the same calls without them.

    python benchmarks/metrics.py [--quick] [--multiprocess]

"With" is a process with `recovery_app` among its apps, so that all is counted and timed; "without"
is one in which it is only imported. Both are told what to do in turns, in CPU time of their
own: a round is `CALLS` calls of each, each figure the median of all rounds, and the ratio that
of the rounds' own. With ``--multiprocess`` the metrics are in files, as with several workers.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.results import Row
from benchmarks.servers import directory, redis_url
from benchmarks.subject import Options, parser_of, report
from benchmarks.timing import compare, in_turns
from tests.support.processes import TOP

AIM = 1.1
CALLS = ("save", "recover", "asave", "arecover", "atake_over", "atouch", "create_token")
PAGES = ("event", "join")
AT_ONCE = ("asave_at_once", "atake_over_at_once")
REDIS_CALLS = ("asave", "atake_over", *AT_ONCE, *PAGES)


class Side:
    """A process with or without metrics, which works when it is told to."""

    def __init__(self, stack: ExitStack, env: dict[str, str], *, is_counted: bool) -> None:
        arguments = ["--counted"] if is_counted else []
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.metrics_side", *arguments],
            cwd=TOP,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.communicate)
        self._process = process

    def work(self, name: str) -> float:
        """Have it do one kind of work, and return the CPU seconds of one call."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the process isn't running")
        stdin.write(f"{name}\n")
        stdin.flush()
        return float(stdout.readline())


def rows_of(
    storage: str, env: dict[str, str], names: tuple[str, ...], rounds: int
) -> Iterator[Row]:
    """Yield the rows of one storage; bare calls in memory have no aim: nothing else is done."""
    with ExitStack() as stack:
        counted, bare = (Side(stack, env, is_counted=flag) for flag in (True, False))
        for name in names:
            found = in_turns(
                {
                    "with": lambda name=name: counted.work(name),  # type: ignore[misc]
                    "without": lambda name=name: bare.work(name),  # type: ignore[misc]
                },
                rounds,
            )
            pair = compare(zip(found["with"], found["without"], strict=True))
            yield Row(
                what=f"{storage}, {name}: with metrics / without (CPU)",
                measured=f"{pair.ours * 1e6:.1f} / {pair.theirs * 1e6:.1f} µs",
                ratio=pair.ratio,
                aim=AIM if storage == "Redis" or name in PAGES else None,
            )


def run(options: Options, *, multiprocess: bool = False) -> Iterator[Row]:
    """Yield all rows."""
    rounds = options.pick(60, 7)
    with directory() as home, redis_url() as url:
        env = {"PROMETHEUS_MULTIPROC_DIR": str(home)} if multiprocess else {}
        yield from rows_of("memory", env, (*CALLS, *PAGES), rounds)
        yield from rows_of("Redis", {**env, "BENCH_REDIS_URL": url}, REDIS_CALLS, rounds)


def main() -> int:
    """Compare all calls."""
    parser = parser_of(__doc__)
    parser.add_argument("--multiprocess", action="store_true", help="metrics in files")
    asked = parser.parse_args()
    results = run(Options(quick=asked.quick), multiprocess=asked.multiprocess)
    return report(results, as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
