"""Providers of credentials, which may raise any exception."""

from __future__ import annotations

import asyncio

import pytest
from redis.credentials import CredentialProvider

from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import RedisStorage
from tests.core.redis_storages import on_one
from tests.support.processes import Process
from tests.support.redis import ask

KEY = "0123456789abcdef"
PATIENCE_SECONDS = 120


class Moody(CredentialProvider):
    """A provider that works, or raises an error that isn't redis-py's."""

    fails = True

    def get_credentials(self) -> tuple[str, str]:
        if self.fails:
            raise KeyError("no token")
        return "default", "any"

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


async def test_who_has_no_credentials_is_told_so(redis_server: Process) -> None:
    ask(redis_server.port, "FLUSHALL")
    provider = Moody()
    storage = RedisStorage(**on_one(redis_server), credential_provider=provider)
    for calls in (1, 5):
        asked = [storage.aload(KEY) for _ in range(calls)]
        done = await asyncio.wait_for(
            asyncio.gather(*asked, return_exceptions=True), PATIENCE_SECONDS
        )
        assert {type(each) for each in done} == {StorageUnavailable}
    with pytest.raises(StorageUnavailable):
        storage.load(KEY)
    provider.fails = False
    assert await storage.aload(KEY) is None
    assert storage.load(KEY) is None
    storage.close()
