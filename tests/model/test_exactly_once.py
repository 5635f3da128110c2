"""Each event is applied exactly once, whatever the transport does: see docs/exactly-once.md.

``MODEL_EXAMPLES=5000`` makes a long run of it. ``MODEL_MUTANTS=1`` breaks one rule after the
other on either side, and sees that each is found: `make model` does both.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import channels.consumer
import channels.generic.websocket
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from recovery_app.consumers import care
from tests.model import mutants
from tests.model.browser import RECOVERY_JS, Browser, browser
from tests.model.machine import Machine
from tests.support.node import require_node

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "100"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))
long = pytest.mark.skipif("MODEL_MUTANTS" not in os.environ, reason="MODEL_MUTANTS=1 runs these.")


async def nothing() -> None:
    """There is no database to take care of, and no thread in this world."""


def run(pages: Browser, *, gathers: bool = False, **options: Any) -> None:
    """Run the model until an example fails, or all went well."""

    kind: type[Machine] = type("Machine", (Machine,), {"browser": pages, "gathers": gathers})
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(kind, settings=settings(chosen, **options))


@pytest.fixture(autouse=True)
def still_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    require_node()
    for module in (care, channels.consumer, channels.generic.websocket):
        monkeypatch.setattr(module, "aclose_old_connections", nothing)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("gathers", [False, True], ids=["each", "gathered"])
def test_exactly_once(gathers: bool) -> None:
    with browser() as pages:
        run(pages, gathers=gathers)


UNTIL_FOUND: dict[str, Any] = {
    "max_examples": max(EXAMPLES, 500),
    "database": None,
    "phases": [Phase.generate],
    "report_multiple_bugs": False,
}


@long
@pytest.mark.parametrize("gathers", [False, True], ids=["each", "gathered"])
@pytest.mark.parametrize("break_rule", mutants.SERVER, ids=lambda mutant: mutant.__name__)
def test_a_broken_server_is_found(
    monkeypatch: pytest.MonkeyPatch, break_rule: mutants.Patch, gathers: bool
) -> None:
    break_rule(monkeypatch)
    with browser() as pages, pytest.raises(AssertionError):
        run(pages, gathers=gathers, **UNTIL_FOUND)


@long
@pytest.mark.parametrize("gathers", [False, True], ids=["each", "gathered"])
@pytest.mark.parametrize("rule", mutants.CLIENT)
def test_a_broken_client_is_found(tmp_path: Path, rule: str, gathers: bool) -> None:
    right, wrong = mutants.CLIENT[rule]
    source = RECOVERY_JS.read_text()
    assert source.count(right) == 1
    broken = tmp_path / "recovery.js"
    broken.write_text(source.replace(right, wrong))
    with browser(broken) as pages, pytest.raises(AssertionError):
        run(pages, gathers=gathers, **UNTIL_FOUND)
