"""How much code there is.

python -m benchmarks.source
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.results import Row
from benchmarks.subject import Options, main
from tests.support.processes import TOP

BEFORE = 12_650
LEFT_OUT = {"chaos", "migrations"}


def run(_: Options) -> Iterator[Row]:
    """Yield the row."""
    package = TOP / "recovery_app"
    files = [
        path
        for path in package.rglob("*.py")
        if not LEFT_OUT.intersection(path.relative_to(package).parts)
    ]
    lines = sum(path.read_text().count("\n") for path in files)
    yield Row(
        what="lines of `recovery_app/**/*.py` without chaos and migrations",
        measured=f"{len(files)} files",
        ratio=lines,
        aim=BEFORE - 1,
    )


if __name__ == "__main__":
    main(__doc__, run)
