"""Time the admin's pages on 100,000 snapshots in a Redis of its own.

    python benchmarks/admin.py [--snapshots 100000]

For each page the median and the best of `ROUNDS` by the clock, which depends on what else the
machine does; the median in CPU time of this process; and how long Redis worked for one.
"""

# ruff: noqa: E402, PLC0415

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from recovery_app import RecoveryManager
from recovery_app._core.tokens import hash_socket_id
from recovery_app.middleware import override_manager
from recovery_app.snapshots import Header, Snapshot, digest_binding
from recovery_app.storages import RedisStorage
from tests.support.processes import HOST
from tests.support.redis import client, make_redis

ROUNDS = 15
BATCH = 5000
TTL = 3600
SECRET = b"the secret of the benchmark of admin"
LIST = "/admin/recovery_app/snapshot/"
STATE = {"fields": {"customer": "Alder & Finch", "notes": "x" * 400}, "items": [1, 2, 3]}


def fill(manager: RecoveryManager, port: int, number: int) -> None:
    """Store snapshots as an application would, in pipelines."""
    state = manager.codec.encode(STATE)
    now_us = int(time.time() * 1_000_000)
    header = Header(
        fence=now_us, floor=now_us, binding=digest_binding(b""), created_us=now_us, saved_us=now_us
    )
    with client(port) as connection, connection.pipeline(transaction=False) as pipeline:
        for place in range(number):
            socket_id = f"socket-{place:06}"
            data = Snapshot(
                header=header,
                socket_id=socket_id,
                view=f"view-{place % 7}",
                topic=f"lv:{place % 977}",
                serializer="json",
                state=state,
            ).to_bytes()
            key = hash_socket_id(socket_id).hex()
            pipeline.set(f"golivekit:recovery:{{{key}}}", data, ex=TTL)
            if place % BATCH == BATCH - 1:
                pipeline.execute()
        pipeline.execute()


def busy_ms(port: int) -> float:
    """Give how long Redis has worked on commands."""
    with client(port) as connection:
        stats: dict[str, Any] = connection.info("commandstats")
    return sum(each["usec"] for each in stats.values()) / 1000


def measure(browser: Client, port: int, address: str) -> list[float]:
    """Give milliseconds: the median and the best of a page, of CPU for it, of Redis for it."""
    seconds, cpu_seconds = [], []
    before = busy_ms(port)
    for turn in range(ROUNDS + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        response = browser.get(address)
        if response.status_code != 200:
            raise RuntimeError(f"{address} is a {response.status_code}.")
        if turn:
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
    found = (statistics.median(seconds), min(seconds), statistics.median(cpu_seconds))
    spent = (busy_ms(port) - before) / (ROUNDS + 1)
    return [*(each * 1000 for each in found), spent]


def report(port: int, number: int) -> None:
    """Print the table."""
    from django.contrib.auth.models import User

    browser = Client(headers={"host": "localhost"})
    browser.force_login(User.objects.create_superuser("admin"))
    last = f"socket-{number - 1:06}"
    pages = {
        "the list": LIST,
        "search by a whole socket id": f"{LIST}?q={last}",
        "search by how ids start": f"{LIST}?q=socket-0999",
        "filter by view": f"{LIST}?view=view-3",
        "one snapshot": f"{LIST}{hash_socket_id(last).hex()}/change/",
    }
    print("| page | median | best | CPU | Redis |\n|---|---|---|---|---|")
    for title, address in pages.items():
        row = " | ".join(f"{figure:.0f} ms" for figure in measure(browser, port, address))
        print(f"| {title} | {row} |", flush=True)


def main() -> None:
    """Start Redis, fill it, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--snapshots", type=int, default=100_000)
    number = parser.parse_args().snapshots
    settings.ROOT_URLCONF = "tests.admin.urls"
    settings.DATABASES = {"default": {**settings.DATABASES["default"], "NAME": ":memory:"}}
    django.setup()
    call_command("migrate", verbosity=0)
    with tempfile.TemporaryDirectory() as directory, make_redis(Path(directory)) as server:
        storage = RedisStorage(url=f"redis://{HOST}:{server.port}/0")
        with (
            RecoveryManager(secret=SECRET, storage=storage) as manager,
            override_manager(manager),
        ):
            fill(manager, server.port, number)
            report(server.port, number)


if __name__ == "__main__":
    main()
