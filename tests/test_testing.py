"""What `recovery_app.testing` gives to the tests of applications, used as its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shop import make_shop, run, run_pytest

MORE_TESTS = (Path(__file__).parent / "support" / "shop_tests.py").read_text()


@pytest.mark.parametrize("name", ["test.sqlite3", None], ids=["file", "memory"])
def test_the_page_of_the_documentation(tmp_path: Path, name: str | None) -> None:
    blocks = make_shop(tmp_path, "testing")
    assert len(blocks) == 7
    (tmp_path / "tests" / "test_more.py").write_text(MORE_TESTS)
    with (tmp_path / "shop" / "settings.py").open("a") as file:
        file.write(f"DATABASES['default']['TEST']['NAME'] = {name!r}\n")
    # One of them is run twice.
    tests = 1 + "".join([*blocks.values(), MORE_TESTS]).count("def test_")
    run_pytest(tmp_path, tests=tests, settings="tests.settings")


def test_django_s_own_runner_needs_no_pytest(tmp_path: Path) -> None:
    make_shop(tmp_path, "testing")
    report = run(tmp_path, "django", "test", "tests.test_cases", "-v", "0")
    assert "OK" in report, report
