"""Break a storage in one way after the other: the contract finds each of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recovery_app import testing
from recovery_app.storages import Storage
from recovery_app.testing import ManualClock, StorageContract
from recovery_app.testing.contract.base import calling_async
from tests.core.broken_storages import BROKEN, Listing
from tests.core.support import OwnStorage, run_script
from tests.support.processes import TOP

TESTS = [name for name in dir(StorageContract) if name.startswith("test_")]


def failures(kind: type[Storage], names: list[str]) -> list[str]:
    """Run contract tests on fresh storages of a class; return the names of those that fail."""
    return [name for name in names for is_async in (False, True) if fails(kind, name, is_async)]


def fails(kind: type[Any], name: str, is_async: bool) -> bool:
    clock = ManualClock()
    storage = kind(clock)
    test = getattr(StorageContract(), name)
    with calling_async(storage) as variant:
        own = variant if is_async else storage
        given = {"clock": clock, "storage": storage}
        given |= dict.fromkeys(("variant", "journal", "reports", "logs"), own)
        given["listed"] = storage
        arguments = inspect.signature(test).parameters
        if "journal" in arguments and not storage.supports_journal:
            return False
        if "reports" in arguments and not storage.supports_reports:
            return False
        if "logs" in arguments and not storage.supports_groups:
            return False
        if "listed" in arguments and not storage.supports_group_listing:
            return False
        try:
            test(**{argument: given[argument] for argument in arguments})
        except pytest.skip.Exception:
            return False
        except Exception:
            return True
        finally:
            storage.close()
    return False


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_contract_finds_what_is_broken(kind: type[Storage]) -> None:
    names = [name for name in TESTS if name.startswith(f"test_{BROKEN[kind]}")]
    assert len(names) == 1
    assert failures(kind, names)


@pytest.mark.parametrize("kind", [OwnStorage, Listing])
def test_the_contract_finds_nothing_in_what_is_right(kind: type[Storage]) -> None:
    assert failures(kind, TESTS) == []


RUN_BY_A_USER = """
import pytest
from recovery_app.storages import Storage
from recovery_app.testing import StorageContract

class DictStorage(Storage):
    def __init__(self, clock):
        self.clock = clock
        self.kept = {}

    def save(self, key, data, ttl):
        self.kept[key] = data, self.clock() + ttl

    def load(self, key):
        data, expires_at = self.kept.get(key, (None, 0))
        return data if expires_at > self.clock() else None

    def delete(self, key):
        there = self.load(key) is not None
        self.kept.pop(key, None)
        return there

class KeepsForEver(DictStorage):
    def load(self, key):
        return self.kept.get(key, (None, 0))[0]

class TestRight(StorageContract):
    def make_storage(self, clock):
        return DictStorage(clock)

class TestByFixture(StorageContract):
    @pytest.fixture
    def storage(self, clock):
        return DictStorage(clock)

class TestWrong(StorageContract):
    def make_storage(self, clock):
        return KeepsForEver(clock)

class TestUnfinished(StorageContract):
    pass
"""


RUNS = ("Right", "ByFixture", "Wrong", "Unfinished")


def test_users_run_the_contract_without_any_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(RUN_BY_A_USER)
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "test_it.py"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(TOP),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PATH": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    of = {name: [line for line in lines if f"::Test{name}::" in line] for name in RUNS}
    assert of["Right"] == of["ByFixture"] == []
    assert any("test_values_expire_after_their_ttl[async]" in line for line in of["Wrong"])
    assert "TestUnfinished needs a make_storage(clock)" in done.stdout
    # What was compared is shown, as pytest does for a test's own assertions.
    assert "where" in done.stdout


def test_the_package_itself_imports_no_tests() -> None:
    code = """
import sys, django
django.setup()
import recovery_app.consumers, recovery_app.middleware
from recovery_app import get_manager
get_manager()
print([name for name in sys.modules if name.startswith("recovery_app.testing")])
"""
    assert run_script(code, fresh=True) == "[]\n"


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        testing.nothing  # noqa: B018
