"""The JavaScript client, tested in Node.js by Node's own test runner and in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import find_chromium
from tests.support.needs import require
from tests.support.node import require_node, run_node
from tests.support.processes import TOP

FILES = sorted((TOP / "tests" / "js").glob("*.test.js"))
INSTALLS = {"package"}


def parameter(file: Path) -> Any:
    """Return a file as the parameter of a test."""
    name = file.name.removesuffix(".test.js")
    return pytest.param(file, id=name, marks=[pytest.mark.slow] if name in INSTALLS else [])


@pytest.mark.parametrize("file", list(map(parameter, FILES)))
def test_recovery_js(file: Path) -> None:
    require_node(
        "esbuild", "terser", "phoenix", "phoenix_live_view", "jsdom", "typescript", "vue", "ws"
    )
    require("Chromium", find_chromium())
    # Else it would wait for the timers of the clients.
    report = run_node("--test", "--test-force-exit", "--test-reporter=tap", file)
    assert "# pass 0" not in report, report
    assert "# fail 0\n# cancelled 0\n# skipped 0" in report, report
