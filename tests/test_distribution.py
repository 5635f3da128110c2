"""What others get: the wheel, the types, the versions that are allowed, the lock file."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.distribution import (
    EXTRAS,
    GROUPS,
    PROJECT,
    for_developers,
    for_users,
    parsed,
    run,
    tomllib,
)
from tests.support.needs import require
from tests.support.processes import TOP

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
print(manager.recover(token), bool(finders.find("recovery_app/recovery.js")), recovery_app.__file__)
"""

PYRIGHT = TOP / "node_modules/.bin/pyright"


# The wheel


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


def test_an_index_would_take_it(wheel):
    tool = [sys.executable, "-m", "twine", "check", "--strict"]
    assert run(*tool, *wheel.parent.iterdir()).count("PASSED") == 2


def test_wheel_passes_the_usual_check(wheel):
    assert "OK" in run(sys.executable, "-m", "check_wheel_contents", wheel)


def test_wheel_is_all_that_it_needs_of_this_tree(wheel, tmp_path):
    # What it needs from the index is proved by the first hour, in an environment of its own.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "--no-compile", "--target", tmp_path, wheel)
    command = [sys.executable, "-W", "error", "-c", EMPTY_ENVIRONMENT]
    printed = run(*command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert f"{{'count': 1}} True {tmp_path}" in printed


# Requirements


def test_the_lowest_versions_are_those_of_the_requirements():
    matches = map(parsed, for_users())
    lowest = {match["name"]: match["lowest"] for match in matches}
    text = (TOP / "requirements/lowest.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [f"{name}=={lowest[name]}" for name in sorted(lowest, key=str.lower)]


def test_users_are_offered_nothing_that_only_developers_need():
    assert GROUPS.keys().isdisjoint(EXTRAS)


def test_django_redis_comes_only_with_its_own_extra():
    with_it = {
        extra
        for extra, lines in EXTRAS.items()
        if "django-redis" in (parsed(line)["name"] for line in lines)
    }
    assert with_it == {"django-redis"}


# The lock file


@pytest.fixture(scope="module")
def lock() -> str:
    """Return the text of the lock file."""
    return (TOP / "uv.lock").read_text()


def test_the_lock_file_names_only_the_public_index(lock):
    hosts = set(re.findall(r"https?://[^/\"]+", lock))
    assert hosts == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_the_lock_file_is_for_these_requirements(lock):
    packages = tomllib.loads(lock)["package"]
    (ours,) = [package for package in packages if package["name"] == PROJECT["name"]]
    metadata = ours["metadata"]
    locked = [*metadata["requires-dist"]]
    locked += [line for lines in metadata["requires-dev"].values() for line in lines]
    # A group that includes others repeats their lines.
    asked = {_normalised(parsed(line)) for line in [*for_users(), *for_developers()]}
    assert {(each["name"], each.get("specifier", "")) for each in locked} == asked, "make lock"


def _normalised(requirement: re.Match[str]) -> tuple[str, str]:
    return requirement["name"].lower().replace("_", "-"), requirement["versions"] or ""


# Types


def test_the_public_names_have_types_that_a_strict_checker_accepts():
    require("pyright from npm", PYRIGHT.exists())
    assert "0 errors" in run(PYRIGHT, "--pythonpath", sys.executable)
