"""Fixtures for Redis servers; each is started when the first test asks for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from recovery_app import RecoveryManager
from recovery_app.storages import RedisStorage
from tests.core.redis_storages import SERVERS
from tests.core.support import make_manager
from tests.support import redis
from tests.support.needs import require
from tests.support.processes import HOST, Process

TIMEOUT_SECONDS = 0.5
Manage = Callable[..., RecoveryManager]


@pytest.fixture(scope="session")
def redis_directory() -> Iterator[Path]:
    """Yield a directory for the servers, if a Redis or Valkey is there."""
    require("redis-server", redis.find_redis_server())
    with tempfile.TemporaryDirectory(prefix="recovery-redis-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def redis_server(redis_directory: Path) -> Iterator[Process]:
    """Run one server, also as the cache ``recovery`` of django-redis."""
    with redis.make_redis(redis_directory) as server:
        settings.CACHES["recovery"] = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{HOST}:{server.port}/0",
        }
        SERVERS["redis_server"] = server
        yield server


@pytest.fixture(scope="session")
def redis_sentinels(redis_directory: Path) -> Iterator[redis.SentinelTrio]:
    """Run a master, its replica and three Sentinels."""
    with redis.sentinels(redis_directory) as trio:
        SERVERS["redis_sentinels"] = trio
        yield trio


@pytest.fixture(scope="session")
def redis_cluster(redis_directory: Path) -> Iterator[redis.Cluster]:
    """Run a Cluster of three masters."""
    with redis.cluster(redis_directory) as nodes:
        SERVERS["redis_cluster"] = nodes
        yield nodes


@pytest.fixture
def manage() -> Iterator[Manage]:
    """Yield a function that builds a manager on Redis."""
    with ExitStack() as stack:

        def make(**options: Any) -> RecoveryManager:
            storage = RedisStorage(**{"timeout": TIMEOUT_SECONDS, **options})
            return stack.enter_context(make_manager(storage=storage))

        yield make
