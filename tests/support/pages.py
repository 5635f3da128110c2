"""The pages of the documentation, for tests of what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.processes import TOP

_BLOCK = re.compile(r"^```python\n# (\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (.*?) \| .* \| (.*?) \|$", re.MULTILINE)
_TEST = re.compile(r"`([^`:]*)(?:::(\w+))?`")


def read_page(name: str) -> str:
    """Return the text of a page."""
    return (TOP / "docs" / f"{name}.md").read_text()


def python_blocks(name: str) -> dict[str, str]:
    """Return the blocks of a page whose first line names a module, by that name."""
    return dict(_BLOCK.findall(read_page(name)))


def rows_with_tests(table: str) -> list[tuple[str, str]]:
    """Return the first and the last column of a table, without its head."""
    return [(first, last) for first, last in _ROW.findall(table) if not first.startswith("-")][1:]


def missing_tests(column: str) -> Iterator[str]:
    """Yield each test in a column that doesn't exist, and a note if there is none at all.

    A test is a path with or without a name; a name alone is in the file before it.
    """
    found = _TEST.findall(column)
    if not found:
        yield "no test"
    path = ""
    for file, name in found:
        path = file or path
        if not (TOP / path).exists():
            yield path
        elif name and not re.search(rf"def {name}\(", (TOP / path).read_text()):
            yield f"{path}::{name}"
