"""One rule of either side broken at a time: the model must find it, or the client's own tests.

`make model` runs these.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase

from tests.model import mutants, mutants_sent
from tests.model.browser import RECOVERY_JS, Browser, browser
from tests.model.examples import EXAMPLES, follow
from tests.model.machine import run
from tests.model.sources import SOURCES, file_of
from tests.support.processes import TOP

SERVER = (*mutants.SERVER, *mutants_sent.SERVER)
CLIENT = mutants.CLIENT
UNTIL_FOUND: dict[str, Any] = {
    "max_examples": 3_000,
    "database": None,
    "phases": [Phase.generate],
    "report_multiple_bugs": False,
}


@pytest.mark.parametrize("break_rule", SERVER, ids=lambda mutant: mutant.__name__)
def test_a_broken_server_is_found(
    monkeypatch: pytest.MonkeyPatch, break_rule: mutants.Patch
) -> None:
    break_rule(monkeypatch)
    with browser() as pages, pytest.raises(AssertionError):
        search(pages)


@pytest.mark.parametrize("rule", CLIENT)
def test_a_broken_client_is_found(tmp_path: Path, rule: str) -> None:
    broken = build_broken(tmp_path, *CLIENT[rule])
    with browser(broken) as pages, pytest.raises(AssertionError):
        search(pages)


def search(pages: Browser) -> None:
    """Run the examples that are written down, and then others, until one fails."""
    for example in EXAMPLES:
        follow(pages, example)
    run(pages, **UNTIL_FOUND)


def test_examples_find_nothing_where_nothing_is_broken(tmp_path: Path) -> None:
    assert examples_of(RECOVERY_JS, tmp_path) == 0


@pytest.mark.parametrize("rule", mutants.CLIENT_BY_EXAMPLE)
def test_a_broken_client_is_found_by_example(tmp_path: Path, rule: str) -> None:
    broken = build_broken(tmp_path / "broken", *mutants.CLIENT_BY_EXAMPLE[rule])
    assert examples_of(broken, tmp_path) == 1


def examples_of(script: Path, directory: Path) -> int:
    """Run the client's own tests of events with this recovery.js, and give their exit status."""
    for part in ("tests/js", "recovery_app/static"):
        shutil.copytree(TOP / part, directory / part)
    shutil.copy(TOP / "package.json", directory)
    (directory / "node_modules").symlink_to(TOP / "node_modules")
    client = directory / RECOVERY_JS.relative_to(TOP)
    shutil.copy(script, client)
    # What can't be read is no rule that is broken.
    load = ["node", "--input-type=module", "--eval", f"await import({str(client)!r})"]
    subprocess.run(load, cwd=directory, check=True)
    # Else it would wait for the timers of the clients.
    options = ["--test", "--test-force-exit", "--test-timeout=120000"]
    examples = ["node", *options, "tests/js/events.test.js"]
    return subprocess.run(examples, cwd=directory, check=False).returncode


def build_broken(directory: Path, right: str, wrong: str) -> Path:
    """Build recovery.js from sources in which one text is another, and return its path."""
    sources = directory / "js/src"
    shutil.copytree(SOURCES, sources)
    path = sources / file_of(right).relative_to(SOURCES)
    path.write_text(path.read_text().replace(right, wrong))
    build = ["node", str(TOP / "js/build.mjs"), "--scripts"]
    subprocess.run([*build, "--sources", sources, "--out", directory], check=True)
    return directory / "recovery.js"
