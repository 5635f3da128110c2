"""Print what the clean-up of a million expired snapshots costs beside a plain DELETE.

    python benchmarks/cleanup.py [--rows N] [--batch-size N] [sqlite] [postgresql] [mariadb]

Each database is a private one, filled anew for each way. While a way works, another
connection saves a snapshot each hundredth of a second: the longest of these saves is what
a person would have waited. Memory is the growth of this process's peak.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from recovery_app import RecoveryManager
from recovery_app._core.cleanup import CleanupThread
from recovery_app.exceptions import StorageUnavailable
from recovery_app.management.commands.cleanup_recovery import DEFAULT_BATCH
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage
from tests.core.support import snapshot_bytes
from tests.support.databases import SERVERS, running

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
            cursor.execute(sql, [snapshot_bytes(1, b"s" * STATE_BYTES)])
        if vendor == "postgresql":
            cursor.execute(f"VACUUM ANALYZE {TABLE}")


class Saver:
    """Another connection that saves all the while, and keeps the longest time that it took."""

    def __init__(self, alias: str) -> None:
        self.longest = 0.0
        self.failed = 0
        self._storage = DatabaseStorage(database=alias)
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
                self._storage.save_fenced("the page", snapshot_bytes(number), 300)
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


def measure(alias: str, title: str, way: Way, rows: int) -> float:
    """Print one row of the table, and give the seconds."""
    fill(alias, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Saver(alias) as saver:
        start = time.perf_counter()
        way()
        seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    left = DatabaseStorage(database=alias).count_expired()
    print(
        f"| {alias if alias != 'default' else 'sqlite'} | {title} | {seconds:.1f} s | "
        f"{saver.longest * 1000:.0f} ms | {saver.failed} | {grown:.1f} MB | {left} |",
        flush=True,
    )
    return seconds


def compare(alias: str, rows: int, size: int) -> None:
    """Print the ways of one database."""

    def delete() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE} WHERE expires_us <= {int(time.time() * 1e6)}")

    def command() -> None:
        storage = DatabaseStorage(database=alias)
        manager = RecoveryManager(secret="s" * 32, storage=storage, cleanup_interval=None)
        with manager, override_manager(manager):
            call_command("cleanup_recovery", batch_size=size, verbosity=0)

    def thread() -> None:
        cleaner = CleanupThread(DatabaseStorage(database=alias), 0.001)
        cleaner.start()
        while DatabaseStorage(database=alias).count_expired():
            time.sleep(0.5)
        cleaner.stop()

    plain = measure(alias, "plain `DELETE`", delete, rows)
    ours = measure(alias, f"`cleanup_recovery --batch-size {size}`", command, rows)
    measure(alias, "the automatic clean-up", thread, rows)
    print(f"| | ratio of the first two | {ours / plain:.2f} | | | | |")


def main() -> None:
    """Compare on each database that was asked for, or on SQLite and PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=DEFAULT_BATCH)
    parser.add_argument("names", nargs="*", metavar="database")
    options = parser.parse_args()
    django.setup()
    names = options.names or ["sqlite", "postgresql"]
    aliases = ["default" if name == "sqlite" else name for name in names]
    unknown = set(aliases) - {"default", *SERVERS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print("| database | way | time | longest save meanwhile | saves failed | memory | left |")
    print("|---|---|---|---|---|---|---|")
    with databases(aliases):
        for alias in aliases:
            compare(alias, options.rows, options.batch_size)


if __name__ == "__main__":
    main()
