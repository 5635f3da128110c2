"""A race of processes for the same keys: no older save ever wins.

``RECOVERY_RACE_PROCESSES`` and ``RECOVERY_RACE_SAVES`` make it longer, say 16 and 10000.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from recovery_app.snapshots import Header
from recovery_app.storages import RedisStorage
from tests.core.redis_storages import on_cluster, on_one
from tests.support.processes import TOP, Process
from tests.support.redis import Cluster, ask

PROCESSES = int(os.environ.get("RECOVERY_RACE_PROCESSES", "3"))
SAVES = int(os.environ.get("RECOVERY_RACE_SAVES", "200"))
KEYS = 4
SECONDS = 600

RACER = """
import asyncio, json, random, sys, time
import django
django.setup()
from recovery_app.fencing import Verdict
from recovery_app.storages import RedisStorage
from recovery_app.testing.contract.base import snapshot_bytes

options, number, processes, saves, keys = json.loads(sys.argv[1])
# Timestamps far ahead of the storage's clock would be refused.
storage = RedisStorage(**options, clock=lambda: 2**53 / 1_000_000)
won = {}

async def save(key, fence):
    verdict = await storage.asave_fenced(key, snapshot_bytes(fence, b"%d" % fence), 600)
    if verdict is Verdict.DONE:
        won[key] = max(won.get(key, 0), fence)
    else:
        assert verdict is Verdict.FENCED, verdict

async def main():
    fence = 2**53 + number
    for turn in range(saves // keys):
        # Each process has timestamps of its own, some late, beyond what a double tells apart.
        fence += processes * random.choice((1, 1, 2, 5))
        late = fence - processes * random.randrange(0, 40)
        await asyncio.gather(
            *(save(f"race{key}", max(late, 2**53 + number)) for key in range(keys))
        )
        if turn % 7 == 0:
            verdict = storage.save_fenced("race0", snapshot_bytes(fence, b"%d" % fence), 600)
            if verdict is Verdict.DONE:
                won["race0"] = max(won.get("race0", 0), fence)

asyncio.run(main())
storage.close()
print(json.dumps(won))
"""


def race(storage: RedisStorage, options: object) -> None:
    """Run the processes, and check that what is stored is the newest that any of them saved."""
    arguments = [json.dumps([options, n, PROCESSES, SAVES, KEYS]) for n in range(PROCESSES)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RACER, argument],
            cwd=TOP,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for argument in arguments
    ]
    newest: dict[str, int] = {}
    while any(racer.poll() is None for racer in racers):
        for key in (f"race{number}" for number in range(KEYS)):
            data = asyncio.run(storage.aload(key))
            fence = Header.read(data).fence if data is not None else 0
            assert fence >= newest.get(key, 0)
            newest[key] = fence
            assert data is None or data.endswith(b"%d" % fence)
    won: dict[str, int] = {}
    for racer in racers:
        output, errors = racer.communicate(timeout=SECONDS)
        assert racer.returncode == 0, errors
        for key, fence in json.loads(output).items():
            won[key] = max(won.get(key, 0), fence)
    for key, fence in won.items():
        assert Header.read(storage.load(key) or b"").fence == fence


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
