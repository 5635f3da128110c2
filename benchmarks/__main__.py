"""Run the benchmarks, all or some, and write what they found.

    python -m benchmarks [--quick] [--strict] [subject ...]

Each subject runs in a process of its own, one after the other. A full run of all of them writes
the tables and plots of the documentation; any other writes to ``build/benchmarks``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.output import Places
from benchmarks.results import Result, Section, loads
from benchmarks.subject import MISSED, Printer, parser_of

TOP = Path(__file__).resolve().parents[1]
DOCS = Places(data=TOP / "docs" / "benchmarks", images=TOP / "docs" / "images" / "benchmarks")
BUILD = TOP / "build" / "benchmarks"
SUBJECTS = {
    "calls": "The calls of the manager",
    "events": "Events a second",
    "rejoins": "Rejoins a second",
    "resident": "Memory of a page",
    "redis": "RedisStorage beside redis-py",
    "groups": "Durable groups on Redis",
    "memory": "MemoryStorage at a million",
    "stalls": "Stalls and start",
    "sealing": "What seals and encryption cost",
    "source": "Source code",
    "growth": "Growth",
}
OLDER = {
    "metrics": "What metrics and signals cost",
    "joins": "Joins with Redis",
    "restart": "A restart of the server",
    "deploys": "Rolling deploys",
    "serializers": "Serializers beside the bare libraries",
    "admin": "Pages of the admin",
    "cleanup": "Clean-up of a database",
}


def results_of(name: str, *, quick: bool) -> Iterator[Result]:
    """Yield what a subject finds, as it finds it."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    if quick:
        command.append("--quick")
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is not None:
            yield from map(loads, process.stdout)
    if process.returncode not in (0, MISSED):
        raise RuntimeError(f"The benchmark {name} ended with {process.returncode}.")


def measure(name: str, *, quick: bool) -> Section:
    """Run one subject and print its results."""
    section = Section(name=name, title={**SUBJECTS, **OLDER}[name], is_older=name in OLDER)
    print(f"\n## {section.title}\n", flush=True)
    start, printer = time.monotonic(), Printer()
    for result in results_of(name, quick=quick):
        section.results.append(result)
        printer.show(result)
    print(f"\n({name}: {time.monotonic() - start:.0f} s)", flush=True)
    return section


def main() -> int:
    """Run what was asked for, or all."""
    parser = parser_of(__doc__)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if an aim is missed")
    names = [*SUBJECTS, *OLDER]
    parser.add_argument("subjects", nargs="*", choices=[[], *names], metavar="subject")
    asked = parser.parse_args()
    sections = [measure(name, quick=asked.quick) for name in asked.subjects or names]
    is_whole = not asked.subjects and not asked.quick
    places = DOCS if is_whole else Places(data=BUILD, images=BUILD)
    places.write(sections, quick=asked.quick)
    rows = [row for section in sections for row in section.rows if row.aim is not None]
    missed = [row for row in rows if not row.is_met]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} aims are met. See {places.data}.")
    return 1 if missed and asked.strict else 0


if __name__ == "__main__":
    sys.exit(main())
