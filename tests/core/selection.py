"""Which storages a test of the core runs on, and in which of both ways they are called.

All storages in both ways prove little more than a few of them: the caches share one fenced step,
all storages but memory and Redis share the async variants, and an alias or Sentinels change nothing
but how Redis is connected to. So a test of every storage runs on those with a step of their own.
One that is marked with ``every_storage`` is called directly on all, too; ``make test-full`` runs
all in both ways.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.support import STORAGES, calls_of_async_variants
from tests.support.scale import IS_FULL

SYNC = {
    "memory",
    "sqlite",
    "postgresql",
    "mariadb",
    "cache-django_redis-pickle",
    "redis",
    "redis-cluster",
    "own",
    "migrating",
}
ASYNC = {"memory", "sqlite", "redis", "redis-cluster", "own", "migrating"}
NAMES = {param.values[0]: param.id for param in STORAGES}

assert set(NAMES.values()) >= SYNC | ASYNC


def is_selected(item: pytest.Item) -> bool:
    """Return whether a test is worth its time on the storage that it has as a parameter."""
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if IS_FULL or "any_storage" not in params:
        return True
    if any("any_storage" in mark.args[0] for mark in item.iter_markers("parametrize")):
        # The test itself names its storages.
        return True
    is_async = params.get("variant") == "async" or params.get("calls") is calls_of_async_variants
    if not is_async and item.get_closest_marker("every_storage"):
        return True
    return NAMES[params["any_storage"]] in (ASYNC if is_async else SYNC)
