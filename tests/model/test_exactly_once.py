"""Each event is applied exactly once, whatever the transport does: see docs/exactly-once.md.

``MODEL_EXAMPLES=5000`` makes a long run of it, ``MODEL_SEED=1`` another one of the same length.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import channels.consumer
import channels.generic.websocket
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from recovery_app.consumers import care
from tests.model.browser import RECOVERY_JS, Browser, browser
from tests.model.machine import Machine
from tests.support.node import require_node

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "100"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))


async def nothing() -> None:
    """There is no database to take care of, and no thread in this world."""


@pytest.fixture(scope="module")
def pages() -> Iterator[Browser]:
    require_node()
    with browser(os.environ.get("RECOVERY_JS", RECOVERY_JS)) as one:
        yield one


@pytest.fixture(autouse=True)
def still_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (care, channels.consumer, channels.generic.websocket):
        monkeypatch.setattr(module, "aclose_old_connections", nothing)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("gathers", [False, True], ids=["each", "gathered"])
def test_exactly_once(pages: Browser, gathers: bool) -> None:
    def machine() -> Machine:
        return type("Machine", (Machine,), {"browser": pages, "gathers": gathers})()

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
