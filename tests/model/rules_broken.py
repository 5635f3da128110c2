"""One rule of either side broken at a time: the model must find it. `make model` runs these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase

from tests.model import mutants
from tests.model.browser import RECOVERY_JS, browser
from tests.model.machine import run

UNTIL_FOUND: dict[str, Any] = {
    "max_examples": 3_000,
    "database": None,
    "phases": [Phase.generate],
    "report_multiple_bugs": False,
}


@pytest.mark.parametrize("break_rule", mutants.SERVER, ids=lambda mutant: mutant.__name__)
def test_a_broken_server_is_found(
    monkeypatch: pytest.MonkeyPatch, break_rule: mutants.Patch
) -> None:
    break_rule(monkeypatch)
    with browser() as pages, pytest.raises(AssertionError):
        run(pages, **UNTIL_FOUND)


@pytest.mark.parametrize("rule", mutants.CLIENT)
def test_a_broken_client_is_found(tmp_path: Path, rule: str) -> None:
    right, wrong = mutants.CLIENT[rule]
    source = RECOVERY_JS.read_text()
    assert source.count(right) == 1
    broken = tmp_path / "recovery.js"
    broken.write_text(source.replace(right, wrong))
    with browser(broken) as pages, pytest.raises(AssertionError):
        run(pages, **UNTIL_FOUND)
