"""The frame: layers, documentation, packaging, and the commands of the Makefile."""

from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

import recovery_app
from recovery_app.conf import Settings
from tests.support.processes import TOP, Process, free_port

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
PAGES = sorted((TOP / "docs").glob("*.md"))

EMPTY_ENVIRONMENT = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="0123456789" * 5,
    USE_TZ=True,
    STATIC_URL="/static/",
    INSTALLED_APPS=["django.contrib.staticfiles", "channels", "recovery_app"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    RECOVERY={"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}},
)
django.setup()

from django.contrib.staticfiles import finders
from django.core.management import call_command

import recovery_app.consumers, recovery_app.middleware
from recovery_app import get_manager

call_command("check", fail_level="WARNING")
call_command("makemigrations", "--check", verbosity=0)
call_command("migrate", verbosity=0)
manager = get_manager()
token = manager.create_token("socket")
manager.save(token, {"count": 1})
print(manager.recover(token), bool(finders.find("recovery_app/recovery.js")))
"""


def run(*command: str | Path, cwd: Path = TOP) -> str:
    """Run a command and give what it prints; fail with its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def name_of(requirement: str) -> str:
    """Return the name out of a requirement."""
    match = re.match(r"[\w-]+", requirement)
    assert match
    return match[0]


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
    extras = PROJECT["optional-dependencies"].values()
    requirements = {name_of(line) for lines in extras for line in lines}
    requirements |= {name_of(line) for line in PROJECT["dependencies"]}
    requirements |= json.loads((TOP / "package.json").read_text())["devDependencies"].keys()
    assert sorted(name for name in requirements if name not in reasons) == []


# The matrix, and what is installed for it


def test_the_matrix_is_the_same_everywhere():
    classifier = r"(?:Programming Language|Framework) :: (Python|Django) :: (\d\.\d+)"
    found = (re.fullmatch(classifier, line) for line in PROJECT["classifiers"])
    promised = {(match[1], match[2]) for match in found if match}
    cells = re.search(r"^matrix=\((.+)\)", (TOP / ".ci/run").read_text(), re.MULTILINE)
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


# Packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory)
    assert list(directory.glob("*.tar.gz"))
    (path,) = directory.glob("*.whl")
    return path


def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    package = TOP / "recovery_app"
    files = (path for path in package.rglob("*") if path.is_file())
    expected = {str(path.relative_to(TOP)) for path in files if "__pycache__" not in path.parts}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"recovery_app/py.typed", "recovery_app/static/recovery_app/recovery.js"} <= names
    assert "recovery_app/migrations/0001_initial.py" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_works_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    printed = run(python, "-W", "error", "-c", EMPTY_ENVIRONMENT, cwd=tmp_path)
    assert "{'count': 1} True" in printed


# The commands


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
