"""The frame: layers, documentation, packaging, and the commands of the Makefile."""

from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import recovery_app
from recovery_app.conf import Settings
from tests.support.distribution import PROJECT, for_developers, for_users, parsed, run
from tests.support.processes import TOP, Process, free_port

PAGES = sorted((TOP / "docs").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def expand(names: str) -> list[str]:
    """Write out each ``{a,b}`` of tox's names."""
    head, brace, rest = names.partition("{")
    if not brace:
        return [names]
    choices, _, tail = rest.partition("}")
    return [name for choice in choices.split(",") for name in expand(f"{head}{choice}{tail}")]


# Layers


def test_layers_import_downward_only():
    program = Path(sys.executable).with_name("lint-imports")
    assert "0 broken" in run(program, "--no-cache")


# Documentation


@pytest.mark.slow
def test_documentation_builds_without_warnings(tmp_path):
    run(sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", "docs", tmp_path)
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_in_the_documentation_compiles(page):
    for code in blocks(page, "python"):
        compile(code, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for code in blocks(page, "json"):
        json.loads(code)


def test_each_setting_is_documented():
    rows = re.findall(r"^\| `([A-Z_]+)` \|", (TOP / "docs/settings.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(name.upper() for name in Settings.__dataclass_fields__)


def test_each_dependency_has_its_reason():
    reasons = (TOP / "docs/dependencies.md").read_text()
    requirements = {parsed(line)["name"] for line in [*for_users(), *for_developers()]}
    requirements |= json.loads((TOP / "package.json").read_text())["devDependencies"].keys()
    assert sorted(name for name in requirements if name not in reasons) == []


# The matrix, and what is installed for it


def test_the_matrix_is_the_same_everywhere():
    classifier = r"(?:Programming Language|Framework) :: (Python|Django) :: (\d\.\d+)"
    found = (re.fullmatch(classifier, line) for line in PROJECT["classifiers"])
    promised = {(match[1], match[2]) for match in found if match}
    cells = re.search(r"^matrix=\(([^)]+)\)", (TOP / ".ci/run").read_text(), re.MULTILINE)
    assert cells
    in_ci = [cell.split(":") for cell in cells[1].split()]
    assert {("Python", python) for python, _ in in_ci} | {
        ("Django", django) for _, django in in_ci
    } == promised
    in_tox = [
        f"py{python.replace('.', '')}-django{django.replace('.', '')}" for python, django in in_ci
    ]
    env_list = re.findall(r"^    py\{.+", (TOP / "tox.ini").read_text(), re.MULTILINE)
    assert sorted(in_tox) == sorted(name for line in env_list for name in expand(line.strip()))


def test_npm_package_has_the_version_and_the_license_of_the_wheel():
    package = json.loads((TOP / "js/package.json").read_text())
    assert package["version"] == recovery_app.__version__
    assert package["license"] == PROJECT["license"]
    assert (TOP / "js/LICENSE").read_text() == (TOP / "LICENSE").read_text()


def test_npm_lock_names_no_registry():
    assert "resolved" not in (TOP / "package-lock.json").read_text()


# The commands


@pytest.mark.slow
def test_demo_starts_and_starts_again_after_a_crash(tmp_path):
    # First what is installed once, which takes as long as the network does.
    environment = ".venv/demo-py{}.{}/.installed".format(*sys.version_info)
    run("make", environment, f"PYTHON={sys.executable}")
    port = free_port()
    demo = Process(
        "make demo",
        ["make", "demo", f"PYTHON={sys.executable}", f"PORT={port}"],
        port=port,
        log=tmp_path / "log",
        env={"DEMO_DATA": str(tmp_path)},
    )
    url = f"http://127.0.0.1:{port}/"
    with demo:
        urllib.request.urlopen(url).close()
        demo.kill()
        demo.start()
        urllib.request.urlopen(url).close()
    printed = demo.output()
    assert printed.index(url) < printed.index("Application startup complete")


def test_demo_says_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        done = subprocess.run(
            ["make", "demo", f"PYTHON={sys.executable}", f"PORT={taken}"],
            cwd=TOP,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert f"Port {taken} of 127.0.0.1 is taken" in done.stdout
