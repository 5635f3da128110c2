"""What the page on security says is proved by tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.support.processes import TOP

PAGE = (TOP / "docs" / "security.md").read_text()
TABLE = PAGE.partition("\n## Threats and defences\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (?!threat|-)(.*?) \| .* \| (.*?) \|$", TABLE, re.MULTILINE)


def test_each_threat_has_a_row() -> None:
    assert len(ROWS) == len(TABLE.strip().splitlines()) - 2 > 20


@pytest.mark.parametrize(("threat", "tests"), ROWS)
def test_the_tests_of_a_threat_exist(threat: str, tests: str) -> None:
    """Each test is a path with or without a name; a name alone is in the file before it."""
    file, found = "", re.findall(r"`([^`:]*)(?:::(\w+))?`", tests)
    assert found, threat
    for path, name in found:
        file = path or file
        assert (TOP / file).exists(), file
        if name:
            assert re.search(rf"def {name}\(", (TOP / file).read_text()), f"{file}::{name}"
