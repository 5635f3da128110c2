"""A project made of the blocks of a page of the documentation, and its own test run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.pages import read_page
from tests.support.processes import TOP

_BLOCK = re.compile(r"^```python\n# (\w[\w/]*\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS = """
SECRET_KEY = "a secret of a shop, as long as a real one has to be"
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
    "channels", "recovery_app", "shop",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3", "TEST": {}}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
"""


def make_shop(directory: Path, page: str) -> dict[str, str]:
    """Write the blocks of a page into the files that they name, and return them."""
    blocks = dict(_BLOCK.findall(read_page(page)))
    files = {
        "conftest.py": 'pytest_plugins = ["recovery_app.testing.plugin"]\n',
        "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
        "shop/__init__.py": "",
        "shop/settings.py": _SETTINGS,
        "tests/__init__.py": "",
        **blocks,
    }
    for name, code in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(code)
    return blocks


def run(shop: Path, *command: str) -> str:
    """Run a Python module in the project, and return its output; it has to succeed."""
    has_own = (shop / "tests" / "settings.py").exists()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=shop,
        env={
            **os.environ,
            "PYTHONPATH": f"{shop}{os.pathsep}{TOP}",
            "DJANGO_SETTINGS_MODULE": "tests.settings" if has_own else "shop.settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_pytest(shop: Path, *options: str, tests: int) -> None:
    """Run the project's tests, of which so many have to pass."""
    report = run(shop, "pytest", "-q", "-p", "no:cacheprovider", *options)
    assert f"{tests} passed" in report, report
