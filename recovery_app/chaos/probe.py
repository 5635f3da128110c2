"""What makes a storage look like one that matters to somebody.

``python -m recovery_app.chaos.probe MODULE`` imports the module of an ASGI application, as a
server does, and prints a list of reasons as JSON. It changes nothing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.db import connections

from recovery_app.conf import get_manager
from recovery_app.storages import (
    CacheStorage,
    DatabaseStorage,
    MemoryStorage,
    RedisStorage,
    Storage,
)
from recovery_app.storages.redis.options import SYNC_CLASSES

PREFIX = "recovery_app.chaos.probe:"
_DRIVERS_OPTIONS = {"host", "hostaddr", "read_default_file", "service", "unix_socket"}
"""Options of database drivers that name another server than ``HOST`` does."""


def find_reasons(storage: Storage) -> list[str]:
    """Return why a storage may not be one for tests alone: where it is, and what it holds."""
    if isinstance(storage, MemoryStorage):
        return []
    name = type(storage).__name__
    hosts = _hosts_of(storage)
    if hosts is None:
        return [f"the kit can't tell where {name} keeps snapshots"]
    remote = sorted({host for host in hosts if not is_local(host)})
    if remote:
        # What a server of somebody else's holds isn't looked at.
        return [f"{name} is on {', '.join(remote)}"]
    return list(_contents_of(storage, name))


def is_local(host: str) -> bool:
    """Return whether a host is this machine: loopback, a path, or none."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hosts_of(storage: Storage) -> Iterable[str] | None:
    if isinstance(storage, RedisStorage):
        return [host for host, _ in storage._topology.seeds]
    if isinstance(storage, DatabaseStorage):
        connection = connections[storage.database]
        if connection.vendor == "sqlite":
            return []
        if _DRIVERS_OPTIONS & set(connection.settings_dict.get("OPTIONS", ())):
            return None
        return [str(connection.settings_dict["HOST"] or os.environ.get("PGHOST", ""))]
    if isinstance(storage, CacheStorage):
        location = settings.CACHES[storage.cache].get("LOCATION", "")
        backend = settings.CACHES[storage.cache]["BACKEND"]
        if backend.endswith((".LocMemCache", ".FileBasedCache", ".DummyCache")):
            return []
        if backend.endswith(".DatabaseCache"):
            return None
        several = location if isinstance(location, (list, tuple)) else str(location).split(",")
        return [_host_of(str(each)) for each in several]
    return None


def _host_of(location: str) -> str:
    if location.startswith("unix:"):
        return ""
    return urlsplit(location if "://" in location else f"//{location}").hostname or ""


def _contents_of(storage: Storage, name: str) -> Iterator[str]:
    try:
        if isinstance(storage, DatabaseStorage) and not _has_table(storage):
            return
        snapshots, keys = storage.count(), _count_keys(storage)
    except Exception as error:  # A storage, or a driver, may raise anything.
        yield f"the kit can't see what {name} holds ({type(error).__name__})"
        return
    if snapshots:
        yield f"{name} already holds {snapshots} snapshots"
    elif keys:
        yield f"the Redis of {name} already holds {keys} keys"


def _has_table(storage: DatabaseStorage) -> bool:
    table = apps.get_model("recovery_app", "StoredSnapshot")._meta.db_table
    return table in connections[storage.database].introspection.table_names()


def _count_keys(storage: Storage) -> int:
    """Return how many keys a single Redis holds, of whatever application."""
    if not isinstance(storage, RedisStorage):
        return 0
    topology = storage._topology
    if topology.question is not None:
        return 0
    host, port = topology.seeds[0]
    where = {"path": host} if topology.kind == "unix" else {"host": host, "port": port}
    connection: Any = SYNC_CLASSES[topology.kind](**where, **topology.arguments)
    try:
        connection.send_command("DBSIZE")
        return int(connection.read_response())
    finally:
        connection.disconnect()


def main(module: str) -> None:
    """Import the module and print the reasons after a prefix, as the module may print too."""
    import_module(module)
    reasons = find_reasons(get_manager().storage)
    sys.stdout.write(f"\n{PREFIX}{json.dumps(reasons)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
