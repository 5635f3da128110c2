"""A race of processes for the same keys: no older save ever wins.

``RECOVERY_RACE_PROCESSES`` and ``RECOVERY_RACE_SAVES`` make it longer, say 16 and 10000.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack

import pytest

from recovery_app.snapshots import Header
from recovery_app.storages import RedisStorage
from tests.core.redis_storages import on_cluster, on_one
from tests.support import warm
from tests.support.processes import Process
from tests.support.redis import Cluster, ask

PROCESSES = int(os.environ.get("RECOVERY_RACE_PROCESSES", "3"))
SAVES = int(os.environ.get("RECOVERY_RACE_SAVES", "200"))
KEYS = 4
SECONDS = 600


def race(storage: RedisStorage, options: object) -> None:
    """Run the processes, and check that what is stored is the newest that any of them saved."""
    arguments = [json.dumps([options, n, PROCESSES, SAVES, KEYS]) for n in range(PROCESSES)]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with ExitStack() as stack:
        racers = [
            stack.enter_context(warm.Piped.start("tests.support.redis_racer", argument, env=env))
            for argument in arguments
        ]
        watch(storage, racers)
        outputs = [racer.communicate() for racer in racers]
        statuses = [racer.wait(SECONDS) for racer in racers]
    won: dict[str, int] = {}
    for (output, errors), status in zip(outputs, statuses, strict=True):
        assert status == 0, errors
        for key, fence in json.loads(output).items():
            won[key] = max(won.get(key, 0), fence)
    for key, fence in won.items():
        assert Header.read(storage.load(key) or b"").fence == fence


def watch(storage: RedisStorage, racers: list[warm.Piped]) -> None:
    """Check, as long as the race goes on, that no fence goes back and each has its own state."""
    newest: dict[str, int] = {}
    while any(racer.poll() is None for racer in racers):
        for key in (f"race{number}" for number in range(KEYS)):
            data = asyncio.run(storage.aload(key))
            fence = Header.read(data).fence if data is not None else 0
            assert fence >= newest.get(key, 0)
            newest[key] = fence
            assert data is None or data.endswith(b"%d" % fence)


@pytest.mark.parametrize("topology", ["one", "cluster"])
def test_no_older_save_wins(
    redis_server: Process, request: pytest.FixtureRequest, topology: str
) -> None:
    options = on_one(redis_server)
    ports = [redis_server.port]
    if topology == "cluster":
        nodes: Cluster = request.getfixturevalue("redis_cluster")
        options = on_cluster(nodes)
        ports = [node.port for node in nodes.nodes]
    for port in ports:
        ask(port, "FLUSHALL")
    # Of many processes on few cores each may have to wait for its turn.
    options["timeout"] = SECONDS
    storage = RedisStorage(**options)
    race(storage, options)
    storage.close()
