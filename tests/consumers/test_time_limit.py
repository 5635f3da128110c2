"""Code of the application that never ends keeps nothing else waiting for ever."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core.exceptions import ImproperlyConfigured

from recovery_app import RecoveryManager
from recovery_app.consumers import RecoveryConsumerMixin
from recovery_app.consumers.hooks import limit_of
from recovery_app.consumers.time_limit import TimeLimit
from tests.consumers.test_groups import tell
from tests.consumers.wire import connected, recovery_of


class Stuck(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
    """A counter whose handlers never end when they are told so."""

    recovery_fields = ("count",)
    recovery_handler_timeout = 0.1

    count: int
    sticks = False

    async def mount(self, topic: str, params: Any) -> dict[str, Any]:
        if "stick" in params:
            await asyncio.Event().wait()
        self.count = 0
        await self.channel_layer.group_add("everyone", self.channel_name)
        return {"count": 0}

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        if self.sticks:
            await asyncio.Event().wait()
        return {"count": self.count}

    async def handle_event(self, event: str, payload: Any) -> dict[str, Any]:
        self.count += 1
        if event == "stick":
            await asyncio.Event().wait()
        return {"count": self.count}

    async def someone_stuck(self, message: dict[str, Any]) -> None:
        self.count += 10
        await asyncio.Event().wait()


async def test_an_event_that_never_ends_is_rolled_back_and_the_next_go_on(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Stuck, manager) as client:
        await client.join()
        await client.cast("stick", {"_seq": 1, "_ack": 0})
        await client.cast("add", {"_seq": 2, "_ack": 0})
        failed, applied = await client.reply(), await client.reply()
        assert failed["response"] == {"reason": "event crashed", "_recovery": {"seq": 1}}
        assert applied["response"] == {"count": 1, "_recovery": {"seq": 2}}
    assert "handle_event took longer than 0.1 s." in caplog.text


async def test_a_group_message_whose_handler_never_ends_changes_nothing(
    manager: RecoveryManager,
) -> None:
    async with connected(Stuck, manager) as client:
        await client.join()
        await tell({"type": "someone.stuck"})
        assert (await client.push("add"))["response"]["count"] == 1


async def test_a_page_works_though_a_hook_that_restores_never_ends(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(Stuck, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    monkeypatch.setattr(Stuck, "sticks", True)
    async with connected(Stuck, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "failed"
        await client.cast("add")
        assert (await client.hear())["event"] == "recovery:token"
        assert (await client.reply())["response"]["count"] == 1
    monkeypatch.setattr(Stuck, "sticks", False)
    async with connected(Stuck, manager) as client:
        recovered = await client.join(token=token)
        assert (recovery_of(recovered)["outcome"], recovered["response"]["count"]) == (
            "recovered",
            1,
        )


async def test_a_join_that_never_ends_is_refused(manager: RecoveryManager) -> None:
    async with connected(Stuck, manager) as client:
        refused = await client.join(stick=True)
        assert refused == {"status": "error", "response": {"reason": "join crashed"}}
        assert (await client.join())["status"] == "ok"


def test_what_a_join_calls_has_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("handle_event", "someone_stuck", "mount", "after_recover")
    assert [limit_of(Stuck, name) for name in names] == [0.1, 0.1, 0.05, 0.05]
    monkeypatch.setattr(Stuck, "recovery_handler_timeout", None)
    assert [limit_of(Stuck, name) for name in names] == [None] * 4


async def test_a_limit_takes_no_cancellation_of_others_for_its_own() -> None:
    async def wait() -> None:
        with TimeLimit(60, "it"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.skipif(sys.version_info < (3, 11), reason="nothing counts cancellations")
async def test_who_is_cancelled_by_others_too_when_the_time_is_over_ends() -> None:
    async def wait() -> None:
        with TimeLimit(0, "too long"):
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

    task = asyncio.create_task(wait())
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_limit_of_no_time_is_a_mistake(seconds: float) -> None:
    with pytest.raises(ImproperlyConfigured, match="recovery_handler_timeout"):
        type("Hasty", (Stuck,), {"recovery_handler_timeout": seconds})


async def ends_after(seconds: float) -> str:
    """Wait for ever within a limit, and return what the limit says."""
    with pytest.raises(TimeoutError) as caught, TimeLimit(seconds, "waiting"):
        await asyncio.Event().wait()
    return str(caught.value)


async def test_each_of_several_limits_ends_its_own_block() -> None:
    # The one that ends first begins in the midst of longer ones, and others when it has ended.
    loop = asyncio.get_running_loop()
    long = loop.create_task(ends_after(60))
    middle = loop.create_task(ends_after(0.2))
    await asyncio.sleep(0)
    assert await ends_after(0.05) == "waiting took longer than 0.05 s."
    assert not middle.done()
    assert await ends_after(0.05) == "waiting took longer than 0.05 s."
    assert await middle == "waiting took longer than 0.2 s."
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_a_limit_after_a_pause_ends_too() -> None:
    await ends_after(0.01)
    with TimeLimit(0.01, "something"):
        pass
    await asyncio.sleep(0.03)
    assert await ends_after(0.01) == "waiting took longer than 0.01 s."


def test_the_limits_keep_no_event_loop() -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(ends_after(0.01))
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
