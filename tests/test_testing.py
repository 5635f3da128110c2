"""What `recovery_app.testing` gives to the tests of applications, used as its page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import TOP

PAGE = (TOP / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
SETTINGS = """
SECRET_KEY = "a secret of a shop, as long as a real one has to be"
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
    "channels", "recovery_app",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "shop.sqlite3",
        "TEST": {},
    }
}
USE_TZ = True
RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
"""
OWN_TESTS = (Path(__file__).parent / "support" / "shop_tests.py").read_text()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the project of the page, its blocks in the files that they name."""
    for name, code in BLOCKS:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    for package in ("shop", "tests"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "shop" / "settings.py").write_text(SETTINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    return tmp_path


def run(shop: Path, *command: str, settings: str = "tests.settings") -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=shop,
        env={
            **os.environ,
            "PYTHONPATH": f"{shop}{os.pathsep}{TOP}",
            "DJANGO_SETTINGS_MODULE": settings,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", ["test.sqlite3", None], ids=["file", "memory"])
def test_the_page_of_the_documentation(shop: Path, name: str | None) -> None:
    assert len(BLOCKS) == 7
    (shop / "tests" / "test_more.py").write_text(OWN_TESTS)
    with (shop / "shop" / "settings.py").open("a") as file:
        file.write(f"DATABASES['default']['TEST']['NAME'] = {name!r}\n")
    report = run(shop, "pytest", "-q", "-p", "no:cacheprovider")
    # One of them is run twice.
    tests = 1 + PAGE.count("def test_") + OWN_TESTS.count("def test_")
    assert f"{tests} passed" in report, report


def test_django_s_own_runner_needs_no_pytest(shop: Path) -> None:
    report = run(shop, "django", "test", "tests.test_cases", "-v", "0")
    assert "OK" in report, report
