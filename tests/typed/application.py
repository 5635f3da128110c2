"""An application's code in a strict type checker: what each public name takes and returns."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from django.http import HttpRequest, HttpResponse
from typing_extensions import assert_type

from recovery_app import RecoveryManager, get_manager
from recovery_app.consumers import (
    JoinRefused,
    RecoveryConsumerMixin,
    SyncRecoveryConsumerMixin,
)
from recovery_app.drain import RecoveryDrain
from recovery_app.exceptions import RecoveryError, StorageUnavailable, TokenError, TokenExpired
from recovery_app.health import StorageHealth, acheck_storage
from recovery_app.middleware import (
    RecoveryMiddleware,
    RecoveryMiddlewareStack,
    current_manager,
    ensure_visitor,
    override_manager,
)
from recovery_app.serializers import JSONSerializer, MsgPackSerializer
from recovery_app.signals import recovery_failed, state_recovered
from recovery_app.storages import (
    CacheStorage,
    Claim,
    DatabaseStorage,
    Decision,
    MemoryStorage,
    RedisStorage,
    Storage,
    Verdict,
)
from recovery_app.values import Page, Takeover


class Counter(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_topics = ("lv:counter", "lv:counter:*")
    recovery_fields = ("count",)
    recovery_version = 2
    recovery_save_interval = 0.5
    count = 0

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if not params.get("allowed"):
            raise JoinRefused("not_allowed")

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any] | None:
        return {"topic": assert_type(self.recovery_topic, str)}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        self.count += 1
        await self.push("changed", {"count": self.count})
        await self.save_recovery()
        return {"count": self.count}

    async def migrate_state(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {**state, "count": 0}

    async def after_recover(self, takeover: Takeover) -> dict[str, Any] | None:
        return {"version": assert_type(takeover.version, int)}

    async def get_recovery_view(self, topic: str) -> str:
        return topic


class SyncCounter(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_fields = ("count",)
    count = 0

    def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        self.push("changed", {"count": self.count})
        return None


class Shelf(Storage):
    """The least that a storage of one's own has."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self.kept[key] = data

    def load(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def delete(self, key: str) -> bool:
        return self.kept.pop(key, None) is not None


def use_managers(request: HttpRequest) -> None:
    storages: list[Storage] = [
        MemoryStorage(max_entries=10),
        DatabaseStorage(database="default"),
        CacheStorage(cache="default"),
        RedisStorage(url="redis://localhost"),
        Shelf(),
    ]
    assert_type(get_manager(), RecoveryManager)
    assert_type(current_manager(), RecoveryManager)
    with (
        RecoveryManager(secret="s" * 32, ttl=60, storage=storages[0]) as manager,
        override_manager(manager),
    ):
        token = assert_type(manager.create_token("socket", binding=b"me"), str)
        manager.save(token, {"count": 1}, binding=b"me", applied_seq=3, view="v", topic="t")
        assert_type(manager.recover(token, binding=b"me"), dict[str, Any])
        assert_type(manager.take_over(token, binding=b"me").token, str)
        assert_type(manager.touch(token), bool)
        assert_type(manager.cleanup_expired(), int)
        assert_type(manager.snapshots(prefix="a", limit=10), Page)
        manager.revoke(token)
    ensure_visitor(request)


async def use_manager_without_blocking(manager: RecoveryManager, token: str) -> int:
    try:
        assert_type(await manager.arecover(token), dict[str, Any])
        assert_type(await manager.atake_over(token), Takeover)
        await manager.asave(token, {"count": 1})
    except TokenExpired as error:
        assert_type(error.age_seconds, float)
    except TokenError as error:
        assert_type(error.socket_hash, str | None)
    except StorageUnavailable as error:
        assert_type(error.cause, str)
    assert_type(await acheck_storage(manager, timeout=1), StorageHealth)
    return await manager.acleanup_expired()


def use_edges(get_response: Any, application: Any) -> None:
    middleware = RecoveryMiddleware(get_response)
    assert isinstance(middleware(HttpRequest()), HttpResponse)
    RecoveryDrain(RecoveryMiddlewareStack(application, allowed_origins=["example.org"]), seconds=5)
    state_recovered.connect(use_values)
    recovery_failed.connect(use_values)


def use_values(claim: Claim, error: RecoveryError) -> None:
    assert_type(claim.issued_us, int)
    assert_type(Decision(Verdict.NOT_FOUND).data, bytes | None)
    assert_type(JSONSerializer().dumps({"count": 1}), bytes)
    assert_type(MsgPackSerializer().loads(b""), dict[str, Any])
