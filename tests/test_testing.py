"""What `recovery_app.testing` gives to the tests of applications, used as its page says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Claim
from recovery_app.testing import FailingStorage
from recovery_app.values import IncidentQuery, JournalLimits, Query
from tests.support.shop import make_shop, run, run_pytest

MORE_TESTS = (Path(__file__).parent / "support" / "shop_tests.py").read_text()
ON_DISK = "test_a_user_in_a_real_database"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the project of the page, with further tests."""
    make_shop(tmp_path, "testing")
    (tmp_path / "tests" / "test_more.py").write_text(MORE_TESTS)
    return tmp_path


def test_the_page_of_the_documentation(shop: Path) -> None:
    """All but one test, with a test database in memory as Django makes it."""
    texts = [path.read_text() for path in (shop / "tests").glob("test_*.py")]
    assert len(texts) == 6
    # One of them is run twice.
    run_pytest(shop, "-k", f"not {ON_DISK}", tests="".join(texts).count("def test_"))


def test_the_storage_of_a_database_in_a_file(shop: Path) -> None:
    with (shop / "shop" / "settings.py").open("a") as file:
        file.write("DATABASES['default']['TEST']['NAME'] = 'test.sqlite3'\n")
    run_pytest(shop, "-k", ON_DISK, tests=1)


def test_django_s_own_runner_needs_no_pytest(shop: Path) -> None:
    report = run(shop, "django", "test", "tests.test_cases", "-v", "0")
    assert "OK" in report, report


KEY = "a" * 16
CLAIM = Claim(1, b"b" * 16)
LIMITS = JournalLimits(max_entries=1, max_age_seconds=1, oldest_us=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.save(KEY, b"other", 60),
        lambda storage: storage.load(KEY),
        lambda storage: storage.delete(KEY),
        lambda storage: storage.save_fenced(KEY, b"other", 60),
        lambda storage: storage.touch_fenced(KEY, CLAIM, 60),
        lambda storage: storage.take_over(KEY, CLAIM, 60, now_us=1, newest_version=None),
        lambda storage: storage.renew(KEY, CLAIM, 60, now_us=1, binding=b"b" * 16),
        lambda storage: storage.revoke(KEY, CLAIM, 60, now_us=1),
        lambda storage: storage.look_up(KEY),
        lambda storage: storage.browse(Query()),
        lambda storage: storage.sample(),
        lambda storage: storage.list_entries(),
        lambda storage: storage.count(),
        lambda storage: storage.estimate_count(),
        lambda storage: storage.count_expired(),
        lambda storage: storage.cleanup_expired(),
        lambda storage: storage.add_incidents([], LIMITS),
        lambda storage: storage.list_incidents(IncidentQuery()),
        lambda storage: storage.prune_incidents(LIMITS),
        lambda storage: storage.append_message("room", b"{}", lambda: None),
        lambda storage: storage.newest_position("room"),
        lambda storage: storage.read_messages("room", "1", 1),
    ],
)
def test_each_call_of_a_storage_that_is_down_fails(call: Callable[[FailingStorage], Any]) -> None:
    storage = FailingStorage()
    storage.save(KEY, b"stored", 60)
    with storage.failing(), pytest.raises(StorageUnavailable):
        call(storage)
    assert storage.load(KEY) == b"stored"
