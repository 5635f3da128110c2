"""What the clean-up of a million expired snapshots costs beside a plain DELETE.

    python benchmarks/cleanup.py [--quick] [--rows N] [--batch-size N] [database ...]

Each database is a private one, filled anew for each way. While a way works, another
connection saves a snapshot each hundredth of a second: the longest of these saves is what
a person would have waited. Memory is the growth of this process's peak.
"""

# ruff: noqa: E402 - the path is set first

from __future__ import annotations

import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

# Instead of the directory of this file, where redis.py has the name of redis-py.
sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from benchmarks.results import Table
from benchmarks.subject import Options, parser_of, report
from recovery_app import RecoveryManager
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import DatabaseStorage, MemoryStorage
from tests.support.databases import SERVERS, running

DEFAULT_BATCH = 5000
DEFAULTS = ["sqlite", "postgresql"]
SECRET = b"the secret of this benchmark, 32 bytes"
LIVE_ROWS = 10_000
STATE_BYTES = 300
TABLE = "recovery_app_storedsnapshot"
COLUMNS = (
    "data, fence, floor, binding, revoked, version, created_us, saved_us, socket_id, view, "
    "topic, size_bytes"
)
VALUES = f"%s, 1, 1, '', {{false}}, 0, 1, 1, 'socket', '', '', {STATE_BYTES}"
NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, {rows})) ",
    "mysql": "WITH n(i) AS (SELECT seq FROM seq_1_to_{rows}) ",
}
KEYS = {"sqlite": "printf('%%016x', i)", "postgresql": "lpad(to_hex(i), 16, '0')"}
Way = Callable[[], None]


class Asked(NamedTuple):
    """How many rows, and how many are removed at a time."""

    rows: int
    batch_size: int


def snapshot_bytes() -> bytes:
    """Return a snapshot as it is stored."""
    storage = MemoryStorage()
    with RecoveryManager(secret=SECRET, storage=storage) as manager:
        manager.save(manager.create_token("socket"), {"note": "s" * STATE_BYTES})
    return storage.list_entries().entries[0].data


def fill(alias: str, rows: int) -> None:
    """Put expired rows into an empty table, each with a time of its own, and some live ones."""
    connection = connections[alias]
    vendor = connection.vendor
    key = KEYS.get(vendor, "lpad(hex(i), 16, '0')")
    now_us = int(time.time() * 1e6)
    false = "0" if vendor == "sqlite" else "false"
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE}")
        for count, expiry, mark in ((rows, now_us - 10**12, "e"), (LIVE_ROWS, now_us * 2, "l")):
            numbers = NUMBERS[vendor].format(rows=count)
            select = (
                f"SELECT '{mark}' || {key}, {expiry} + i * 997, {VALUES.format(false=false)} FROM n"
            )
            if vendor == "mysql":
                select = select.replace(f"'{mark}' || {key}", f"concat('{mark}', {key})")
                sql = f"INSERT INTO {TABLE} (`key`, expires_us, {COLUMNS}) {numbers}{select}"
            else:
                sql = f"{numbers}INSERT INTO {TABLE} (key, expires_us, {COLUMNS}) {select}"
            cursor.execute(sql, [snapshot_bytes()])
        if vendor == "postgresql":
            cursor.execute(f"VACUUM ANALYZE {TABLE}")


class Saver:
    """Another connection that saves all the while, and keeps the longest time that it took."""

    def __init__(self, alias: str) -> None:
        self.longest = 0.0
        self.failed = 0
        self._manager = RecoveryManager(
            secret=SECRET, storage=DatabaseStorage(database=alias), cleanup_interval=None
        )
        self._token = self._manager.create_token("the page")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._save)

    def __enter__(self) -> Saver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _save(self) -> None:
        number = 0
        while not self._stopping.wait(0.01):
            number += 1
            start = time.perf_counter()
            try:
                self._manager.save(self._token, {"number": number})
            except StorageUnavailable:
                self.failed += 1
            self.longest = max(self.longest, time.perf_counter() - start)
        connections.close_all()


@contextmanager
def databases(names: list[str]) -> Iterator[None]:
    """Make the private databases with the app's table in them."""
    with tempfile.TemporaryDirectory(prefix="recovery-bench-") as directory:
        settings.DATABASES["default"]["NAME"] = f"{directory}/bench.sqlite3"
        settings.DATABASES["default"]["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        with running(names, settings.DATABASES):
            for alias in names:
                create(alias)
            yield
            connections.close_all()


def create(alias: str) -> None:
    """Make the database and its table."""
    settings.DATABASES[alias].setdefault("OPTIONS", {})
    if alias != "default":
        name = settings.DATABASES[alias]["NAME"]
        with connections[alias]._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"CREATE DATABASE {name}")
    call_command("migrate", "recovery_app", database=alias, verbosity=0)


def measure(alias: str, title: str, way: Way, rows: int) -> tuple[float, list[str]]:
    """Return the seconds of one way, and its line of the table."""
    fill(alias, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Saver(alias) as saver:
        start = time.perf_counter()
        way()
        seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    left = DatabaseStorage(database=alias).count_expired()
    return seconds, [
        alias if alias != "default" else "sqlite",
        title,
        f"{seconds:.1f} s",
        f"{saver.longest * 1000:.0f} ms",
        str(saver.failed),
        f"{grown:.1f} MB",
        str(left),
    ]


def delete(alias: str) -> None:
    """Delete what has expired, as one would by hand."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE} WHERE expires_us <= {int(time.time() * 1e6)}")


def run_command(alias: str, size: int) -> None:
    """Run the command."""
    backend = "recovery_app.storages.DatabaseStorage"
    storage = {"BACKEND": backend, "OPTIONS": {"database": alias}}
    with override_settings(RECOVERY={"STORAGE": storage, "CLEANUP_INTERVAL": None}):
        call_command("cleanup_recovery", batch_size=size, verbosity=0)


def clean_by_itself(alias: str) -> None:
    """Let a manager do it, which begins at its first save."""
    storage = DatabaseStorage(database=alias)
    with RecoveryManager(secret=SECRET, storage=storage, cleanup_interval=0.001) as manager:
        manager.save(manager.create_token("somebody else's page"), {})
        while storage.count_expired():
            time.sleep(0.1)


def compare(alias: str, asked: Asked) -> Iterator[list[str]]:
    """Yield the lines of one database."""
    rows, size = asked
    command = f"`cleanup_recovery --batch-size {size}`"
    plain, line = measure(alias, "plain `DELETE`", lambda: delete(alias), rows)
    yield line
    ours, line = measure(alias, command, lambda: run_command(alias, size), rows)
    yield line
    _, line = measure(alias, "the automatic clean-up", lambda: clean_by_itself(alias), rows)
    yield line
    yield ["", "ratio of the first two", f"{ours / plain:.2f}", "", "", "", ""]


HEADS = ["database", "way", "time", "longest save meanwhile", "saves failed", "memory", "left"]


def run(
    options: Options, names: list[str] | None = None, asked: Asked | None = None
) -> Iterator[Table]:
    """Yield the table of the databases that were asked for, or of `DEFAULTS`."""
    django.setup()
    aliases = [
        "default" if name == "sqlite" else name
        for name in names or options.pick(DEFAULTS, DEFAULTS[:1])
    ]
    size = asked or Asked(options.pick(1_000_000, 20_000), DEFAULT_BATCH)
    with databases(aliases):
        lines = [line for alias in aliases for line in compare(alias, size)]
    yield Table(title=f"Clean-up of {size.rows:,} rows", columns=HEADS, lines=lines)


def main() -> int:
    """Compare on each database that was asked for."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=DEFAULT_BATCH)
    choices = [[], "sqlite", *SERVERS]
    parser.add_argument("names", nargs="*", choices=choices, metavar="database")
    given = parser.parse_args()
    asked = None if given.quick else Asked(given.rows, given.batch_size)
    results = run(Options(quick=given.quick), given.names, asked)
    return report(results, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
