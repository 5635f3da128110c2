"""The JavaScript client, tested in Node.js by Node's own test runner and in Chromium."""

from __future__ import annotations

from tests.support.browser import find_chromium
from tests.support.needs import require
from tests.support.node import require_node, run_node
from tests.support.processes import TOP

RUN_SECONDS = 300


def test_recovery_js() -> None:
    require_node("phoenix", "phoenix_live_view", "jsdom", "typescript", "ws")
    require("Chromium", find_chromium())
    files = sorted((TOP / "tests" / "js").glob("*.test.js"))
    report = run_node("--test", "--test-reporter=tap", *files, timeout=RUN_SECONDS)
    assert "# fail 0\n# cancelled 0\n# skipped 0" in report, report
