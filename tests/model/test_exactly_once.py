"""Each event is applied exactly once, whatever happens between: see docs/exactly-once.md.

``MODEL_EXAMPLES=20000`` makes a long run of it, as `make model` does. A failure prints its steps
and a line with which it comes again; ``--hypothesis-seed=1`` makes the same run once more.
"""

from __future__ import annotations

import os

from tests.model.browser import browser
from tests.model.machine import run

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "250"))


def test_exactly_once() -> None:
    with browser() as pages:
        run(pages, max_examples=EXAMPLES)
