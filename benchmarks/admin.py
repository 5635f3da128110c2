"""The admin's pages on 100,000 snapshots in a Redis of its own.

    python benchmarks/admin.py [--quick] [--snapshots 100000]

For each page the median and the best of `ROUNDS` by the clock, which depends on what else the
machine does; the median in CPU time of this process; and how long Redis worked for one.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from benchmarks.results import Table
from benchmarks.servers import directory
from benchmarks.subject import Options, parser_of, report
from recovery_app import RecoveryManager, get_manager
from tests.support.processes import HOST
from tests.support.redis import client, make_redis

ROUNDS = 15
BATCH = 500
TTL = 3600
LIST = "/admin/recovery_app/snapshot/"
STATE = {"fields": {"customer": "Alder & Finch", "notes": "x" * 400}, "items": [1, 2, 3]}


async def fill(manager: RecoveryManager, number: int) -> None:
    """Store snapshots as an application does, many at once."""

    async def save(place: int) -> None:
        token = manager.create_token(f"socket-{place:06}")
        view, topic = f"view-{place % 7}", f"lv:{place % 977}"
        await manager.asave(token, STATE, view=view, topic=topic)

    for start in range(0, number, BATCH):
        await asyncio.gather(*(save(place) for place in range(start, min(start + BATCH, number))))


def busy_ms(port: int) -> float:
    """Return how long Redis has worked on commands."""
    with client(port) as connection:
        stats: dict[str, Any] = connection.info("commandstats")
    return sum(each["usec"] for each in stats.values()) / 1000


def measure(browser: Client, port: int, address: str) -> list[float]:
    """Return milliseconds: the median and the best of a page, of CPU for it, of Redis for it."""
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


def table_of(port: int, number: int) -> Table:
    """Return the table."""
    # Only now: the apps are there.
    from django.contrib.auth.models import User  # noqa: PLC0415

    browser = Client(headers={"host": "localhost"})
    browser.force_login(User.objects.create_superuser("admin"))
    last = f"socket-{number - 1:06}"
    (found,) = get_manager().snapshots(prefix=last).items
    pages = {
        "the list": LIST,
        "search by a whole socket id": f"{LIST}?q={last}",
        "search by how ids start": f"{LIST}?q=socket-0999",
        "filter by view": f"{LIST}?view=view-3",
        "one snapshot": f"{LIST}{found.socket_hash}/change/",
    }
    lines = [
        [title, *(f"{figure:.0f} ms" for figure in measure(browser, port, address))]
        for title, address in pages.items()
    ]
    columns = ["page", "median", "best", "CPU", "Redis"]
    return Table(title=f"The admin at {number:,} snapshots", columns=columns, lines=lines)


def run(options: Options, number: int | None = None) -> Iterator[Table]:
    """Start Redis, fill it, and yield the table."""
    with directory() as home, make_redis(home) as server:
        url = f"redis://{HOST}:{server.port}/0"
        settings.RECOVERY = {
            "TTL": TTL,
            "STORAGE": {
                "BACKEND": "recovery_app.storages.RedisStorage",
                "OPTIONS": {"url": url},
            },
        }
        settings.ROOT_URLCONF = "tests.admin.urls"
        settings.DATABASES = {"default": {**settings.DATABASES["default"], "NAME": ":memory:"}}
        django.setup()
        call_command("migrate", verbosity=0)
        snapshots = number or options.pick(100_000, 5000)
        asyncio.run(fill(get_manager(), snapshots))
        yield table_of(server.port, snapshots)


def main() -> int:
    """Run with as many snapshots as were asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("--snapshots", type=int)
    asked = parser.parse_args()
    return report(run(Options(quick=asked.quick), asked.snapshots), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
