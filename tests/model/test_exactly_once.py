"""Each event is applied exactly once, whatever happens between: see docs/exactly-once.md.

``MODEL_EXAMPLES=20000`` makes a long run of it, as `make model` does. A failure prints its steps
and a line with which it comes again; ``--hypothesis-seed=1`` makes the same run once more.
"""

from __future__ import annotations

import os

import pytest

from tests.model.browser import browser
from tests.model.examples import EXAMPLES, Example, follow
from tests.model.machine import run

FEW = 100
MANY = int(os.environ.get("MODEL_EXAMPLES", "500"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_exactly_once_in_an_example(example: Example) -> None:
    with browser() as pages:
        follow(pages, example)


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_exactly_once(count: int) -> None:
    with browser() as pages:
        run(pages, max_examples=count)
