"""Plans depend only on their seed and counts."""

from __future__ import annotations

import subprocess
import sys

from recovery_app.chaos.plan import FIRST, LAST, Kind, Plan
from tests.support.processes import TOP

COUNTS: dict[str, int] = {kind: 5 + place for place, kind in enumerate(Kind)}
PRINT_PLAN = (
    "from recovery_app.chaos.plan import Kind, Plan;"
    "print(Plan.make(7, {kind: 5 + place for place, kind in enumerate(Kind)}))"
)


def test_the_same_seed_gives_the_same_plan() -> None:
    plan = Plan.make(7, COUNTS)
    assert Plan.make(7, COUNTS) == plan
    assert Plan.make(7, dict(reversed(COUNTS.items()))) == plan
    assert Plan.make(8, COUNTS).faults != plan.faults


def test_another_process_draws_the_same_plan() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_PLAN], cwd=TOP, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(Plan.make(7, COUNTS))


def test_a_plan_has_the_requested_faults_in_order() -> None:
    plan = Plan.make(7, COUNTS)
    assert plan.counts == COUNTS
    shares = [fault.at for fault in plan]
    assert shares == sorted(shares)
    assert shares[0] >= FIRST
    assert shares[-1] <= LAST
    assert len({fault.target for fault in plan}) == len(plan.faults)
    assert {fault.variant for fault in plan} == {True, False}


def test_a_plan_as_text() -> None:
    first, *lines = str(Plan.make(7, {Kind.CUT: 2, "redis-kill": 1})).splitlines()
    assert first == "seed 7"
    assert sorted(line.split()[1] for line in lines) == ["cut", "cut", "redis-kill"]
