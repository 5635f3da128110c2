"""What `recovery_app.testing` gives to the tests of applications, used as its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert len(texts) == 5
    # One of them is run twice.
    run_pytest(shop, "-k", f"not {ON_DISK}", tests="".join(texts).count("def test_"))


def test_the_storage_of_a_database_in_a_file(shop: Path) -> None:
    with (shop / "shop" / "settings.py").open("a") as file:
        file.write("DATABASES['default']['TEST']['NAME'] = 'test.sqlite3'\n")
    run_pytest(shop, "-k", ON_DISK, tests=1)


def test_django_s_own_runner_needs_no_pytest(shop: Path) -> None:
    report = run(shop, "django", "test", "tests.test_cases", "-v", "0")
    assert "OK" in report, report
