"""The consumers that the tests talk to, async and sync, with the same behaviour."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer

from recovery_app.consumers import (
    JoinRefused,
    RecoveryConsumerMixin,
    SyncRecoveryConsumerMixin,
)


class Counter(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    recovery_topics = ("lv:counter", "room:*")
    recovery_fields = ("count", "items")

    async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.count = params.get("start", 0)
        self.items: list[Any] = []
        if "group" in params:
            await self.join_group(params["group"])
        await self.channel_layer.group_add("everyone", self.channel_name)
        return {"mounted": topic, "params": params}

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if params.get("refuse"):
            raise JoinRefused("not today")

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        await self.channel_layer.group_add("everyone", self.channel_name)
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        if event == "add":
            self.count += payload.get("by", 1)
        elif event == "keep":
            self.items.append(payload["item"])
        elif event == "put":
            self.items = payload["items"]
        elif event == "break":
            self.count += 1000
            raise RuntimeError("a handler that fails")
        elif event == "odd":
            self.count += 1000
            self.items = [object()]
        elif event == "bytes":
            self.items.append(payload)
        elif event == "wrong":
            self.count += 1000
            return ["not a dictionary"]  # type: ignore[return-value]
        elif event == "push":
            await self.push("pushed", {"count": self.count})
        elif event == "quiet":
            return None
        elif event == "renew":
            await self.renew_recovery()
        elif event == "tell":
            await self.channel_layer.group_send("everyone", payload)
        return {"count": self.count, "items": len(self.items), "payload": str(payload)}

    async def someone_added(self, message: dict[str, Any]) -> None:
        self.count += message["by"]
        await self.push("added", {"count": self.count})

    async def someone_failed(self, message: dict[str, Any]) -> None:
        self.count += 1000
        raise RuntimeError("a group handler that fails")

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if content == "fail":
            raise RuntimeError("a receiver that fails")
        await self.send_json({"own": content})


class SyncCounter(SyncRecoveryConsumerMixin, JsonWebsocketConsumer):
    recovery_topics = ("lv:counter", "room:*")
    recovery_fields = ("count", "items")

    def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.count = params.get("start", 0)
        self.items: list[Any] = []
        if "group" in params:
            self.join_group(params["group"])
        self._join_everyone()
        return {"mounted": topic, "params": params}

    def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if params.get("refuse"):
            raise JoinRefused("not today")

    def after_recover(self, takeover: Any) -> dict[str, Any]:
        self._join_everyone()
        return {"count": self.count}

    def handle_event(self, event: str, payload: Any) -> dict[str, Any] | None:
        if event == "add":
            self.count += payload.get("by", 1)
        elif event == "keep":
            self.items.append(payload["item"])
        elif event == "put":
            self.items = payload["items"]
        elif event == "break":
            self.count += 1000
            raise RuntimeError("a handler that fails")
        elif event == "odd":
            self.count += 1000
            self.items = [object()]
        elif event == "bytes":
            self.items.append(payload)
        elif event == "wrong":
            self.count += 1000
            return ["not a dictionary"]  # type: ignore[return-value]
        elif event == "push":
            self.push("pushed", {"count": self.count})
        elif event == "quiet":
            return None
        elif event == "renew":
            self.renew_recovery()
        elif event == "tell":
            async_to_sync(self.channel_layer.group_send)("everyone", payload)
        return {"count": self.count, "items": len(self.items), "payload": str(payload)}

    def someone_added(self, message: dict[str, Any]) -> None:
        self.count += message["by"]
        self.push("added", {"count": self.count})

    def someone_failed(self, message: dict[str, Any]) -> None:
        self.count += 1000
        raise RuntimeError("a group handler that fails")

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        if content == "fail":
            raise RuntimeError("a receiver that fails")
        self.send_json({"own": content})

    def _join_everyone(self) -> None:
        async_to_sync(self.channel_layer.group_add)("everyone", self.channel_name)


COUNTERS = (Counter, SyncCounter)
