"""Let processes race for one socket in a real database: no older save ever wins.

``RACE_PROCESSES=16 RACE_TURNS=10000`` makes a long race of it.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from recovery_app import RecoveryManager
from recovery_app.storages import DatabaseStorage, MemoryStorage
from tests.core.racer import HASH, stored_in, token_of
from tests.core.support import make_manager
from tests.support import warm

PROCESSES = int(os.environ.get("RACE_PROCESSES", "2"))
TURNS = int(os.environ.get("RACE_TURNS", "60"))
TOTAL = PROCESSES * TURNS
START_US = 1_790_000_000_000_000
START_US -= START_US % PROCESSES


def racer() -> warm.Piped:
    """Start a process; as a context manager it ends it, whatever comes."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    return warm.Piped.start("tests.core.racer", env=env)


def tell(process: warm.Piped, line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def run(race: str, alias: str) -> list[list[int]]:
    """Let all processes start at once; give what each of them printed."""
    database: dict[str, Any] = connections[alias].settings_dict
    task = {
        "race": race,
        "alias": alias,
        "name": str(database["NAME"]),
        "port": database["PORT"],
        "start_us": START_US,
        "processes": PROCESSES,
        "turns": TURNS,
    }
    with ExitStack() as stack:
        racers = [stack.enter_context(racer()) for _ in range(PROCESSES)]
        for number, process in enumerate(racers):
            tell(process, json.dumps({**task, "number": number}))
        for process in racers:
            assert process.stdout.readline() == "ready\n", process.communicate()
        for process in racers:
            tell(process, "go")
        outputs = [process.communicate() for process in racers]
    for output, errors in outputs:
        assert output, errors
        assert not errors
    return [json.loads(output) for output, _ in outputs]


def manager_on(alias: str) -> RecoveryManager:
    return make_manager(storage=DatabaseStorage(database=alias), clock=lambda: START_US / 1_000_000)


def test_no_older_save_ever_wins(database_alias: str) -> None:
    won = run("save", database_alias)
    newest = START_US + TOTAL - 1
    assert max(timestamp for one in won for timestamp in one) == newest
    assert stored_in(manager_on(database_alias)) == (newest, newest)
    # It was a race: some were let in, and some came too late.
    assert PROCESSES <= sum(map(len, won)) < TOTAL


def test_no_two_takeovers_get_the_same_token(database_alias: str) -> None:
    manager = manager_on(database_alias)
    manager.save(token_of(START_US), {"by": START_US})
    fences = run("take over", database_alias)
    assert all(one == sorted(one) for one in fences)
    assert {fence for one in fences for fence in one} == {
        START_US + number for number in range(1, TOTAL + 1)
    }
    assert manager.storage.load(HASH.hex()) is not None
    assert stored_in(manager) == (START_US + TOTAL, START_US)


@pytest.mark.usefixtures("restless")
def test_no_two_threads_get_the_same_token_from_memory() -> None:
    manager = make_manager(storage=MemoryStorage(), clock=lambda: START_US / 1_000_000)
    token = token_of(START_US)
    manager.save(token, {"by": START_US})
    together = Barrier(4)

    def take_over(_number: int) -> list[int]:
        together.wait()
        return [manager.take_over(token).issued_us for _ in range(500)]

    with ThreadPoolExecutor(4) as threads:
        fences = list(threads.map(take_over, range(4)))
    assert all(one == sorted(one) for one in fences)
    assert len({fence for one in fences for fence in one}) == 2_000
