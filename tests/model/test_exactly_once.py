"""Each event is applied exactly once, whatever happens between: see docs/exactly-once.md.

``MODEL_EXAMPLES=20000`` makes a long run of it, as `make model` does. A failure prints its steps
and a line with which it comes again; ``--hypothesis-seed=1`` makes the same run once more.
"""

from __future__ import annotations

import os

import pytest

from tests.model.browser import Browser, browser
from tests.model.machine import run
from tests.model.world import World

FEW_EXAMPLES = 100
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "500"))


def lose_a_save(pages: Browser) -> None:
    """Have a push handled whose save fails, and the node crash: Hypothesis seldom gets there."""
    world = World(pages, sends=True)
    world.flow()
    world.push(world.tabs[0])
    world.flow()
    world.cellar.is_up = False
    world.push(world.tabs[0])
    world.flow()
    for node in world.nodes:
        world.crash(node)
    world.cellar.is_up = True
    try:
        world.heal()
    finally:
        world.close()


def test_a_push_of_a_save_that_failed_is_told_once() -> None:
    with browser() as pages:
        lose_a_save(pages)


@pytest.mark.parametrize("examples", [FEW_EXAMPLES, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_exactly_once(examples: int) -> None:
    with browser() as pages:
        run(pages, max_examples=examples)
