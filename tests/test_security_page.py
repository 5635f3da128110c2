"""What the page on security says is proved by tests that exist."""

from __future__ import annotations

import pytest

from tests.support.pages import missing_tests, read_page, rows_with_tests

TABLE = read_page("security").partition("\n## Threats and defences\n")[2].partition("\n## ")[0]
ROWS = rows_with_tests(TABLE)


def test_each_threat_has_a_row() -> None:
    assert len(ROWS) == len(TABLE.strip().splitlines()) - 2 > 20


@pytest.mark.parametrize(("threat", "tests"), ROWS)
def test_the_tests_of_a_threat_exist(threat: str, tests: str) -> None:
    assert list(missing_tests(tests)) == [], threat
