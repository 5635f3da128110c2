"""The README's text; `tests.test_first_hour` does what it says."""

from __future__ import annotations

import re

from tests.support.processes import TOP
from tests.support.readme import BLOCKS, FILE, TEXT

DOCS = "https://django-recovery-app.readthedocs.io/en/latest/"
REPOSITORY = "https://github.com/django-recovery-app/django-recovery-app"
FILES = (
    f"{REPOSITORY}/blob/main/",
    "https://raw.githubusercontent.com/django-recovery-app/django-recovery-app/main/",
)
ELSEWHERE = (
    "https://img.shields.io/",
    "https://pypi.org/project/django-recovery-app/",
    "https://docs.djangoproject.com/en/stable/",
)
FILES_OF_BLOCKS = ["settings.py", "consumers.py", "asgi.py", "templates/counter.html", "urls.py"]
TOO_LONG_WORDS = 1_500


def test_each_block_is_one_that_is_run() -> None:
    named = [found[1] for _, code in BLOCKS if (found := FILE.match(code))]
    assert named == [f"mysite/{name}" for name in FILES_OF_BLOCKS]
    # The rest: make demo; install; migrate and start; the npm client.
    others = [kind for kind, code in BLOCKS if not FILE.match(code)]
    assert others == ["console", "console", "console", "js"]
    assert ("console", "make demo\n") in BLOCKS
    assert "`make test`" in TEXT


def test_each_link_works_on_the_package_index_too_and_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert targets
    for target in targets:
        if target.startswith(DOCS):
            page, _, _ = target.removeprefix(DOCS).partition("#")
            assert (TOP / "docs" / page).with_suffix(".md").is_file(), target
        elif target.startswith(FILES):
            (start,) = [start for start in FILES if target.startswith(start)]
            assert (TOP / target.removeprefix(start)).is_file(), target
        else:
            assert target.startswith(ELSEWHERE), target


def test_the_time_limit_stands_beside_the_promise() -> None:
    promise, _, rest = TEXT.partition("nothing lost, nothing applied twice")
    assert promise
    assert "`TTL`" in rest.partition("![")[0]
    assert any('"TTL": ' in code for _, code in BLOCKS)


def test_it_is_read_in_ten_minutes() -> None:
    assert 500 <= len(TEXT.split()) <= TOO_LONG_WORDS
