"""A state outlives the code that wrote it: migrated, left for newer code, or started afresh."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app.exceptions import JoinRefused
from recovery_app.signals import recovery_failed, state_recovered
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import connected, recovery_of


def at_version(number: int, base: type = Counter) -> Any:
    """Make the same consumer as a later version of the code has it."""

    def migrate_state(self: Any, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {**state, "count": state["count"] + 100 * (number - version)}

    members = {"recovery_version": number, "migrate_state": migrate_state}
    made = type(base.__name__, (base,), members)
    made.__qualname__ = base.__qualname__
    made.__module__ = base.__module__
    return made


@pytest.mark.parametrize("counter", COUNTERS)
async def test_an_older_state_is_migrated(manager: RecoveryManager, counter: Any) -> None:
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
    async with connected(at_version(3, counter), manager) as client:
        reply = await client.join(token=token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 301)
    assert manager.snapshots().items[0].version == 3


async def test_a_newer_state_is_left_for_newer_code(manager: RecoveryManager) -> None:
    newer = at_version(2)
    async with connected(newer, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
    key = manager.snapshots().items[0].socket_hash
    before = manager.storage.load(key)
    async with connected(Counter, manager) as client:
        reply = recovery_of(await client.join(token=token, start=50))
        assert (reply["outcome"], reply["token"]) == ("version", None)
        assert manager.storage.load(key) == before
        assert (await client.push("quiet"))["status"] == "ok"
        assert manager.count() == 1
        await client.cast("add")
        own = await told_token(client)
        await client.reply()
    async with connected(newer, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1
    async with connected(Counter, manager) as client:
        assert (await client.join(token=own))["response"]["count"] == 51


async def test_a_state_that_cannot_be_restored_fails_no_join(manager: RecoveryManager) -> None:
    class Fragile(Counter):
        broken = False

        async def restore_state(self, state: dict[str, Any]) -> None:
            self.left_over = True
            if self.broken:
                raise KeyError("a field that is gone")
            await super().restore_state(state)

        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            assert not hasattr(self, "left_over")
            return await super().mount(topic, params)

    outcomes: list[str] = []

    def hear_failure(**_kwargs: Any) -> None:
        outcomes.append("failed")

    def hear_recovery(**_kwargs: Any) -> None:
        outcomes.append("recovered")

    async with connected(Fragile, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
        await client.push("add")
    recovery_failed.connect(hear_failure)
    state_recovered.connect(hear_recovery)
    try:
        Fragile.broken = True
        async with connected(Fragile, manager) as client:
            reply = await client.join(token=token)
            assert (recovery_of(reply)["outcome"], recovery_of(reply)["token"]) == ("failed", None)
            assert (await client.push("quiet"))["status"] == "ok"
        Fragile.broken = False
        async with connected(Fragile, manager) as client:
            assert (await client.join(token=token))["response"]["count"] == 2
    finally:
        recovery_failed.disconnect(hear_failure)
        state_recovered.disconnect(hear_recovery)
    assert outcomes == ["failed", "recovered"]


async def test_a_token_may_be_set_aside(manager: RecoveryManager) -> None:
    class Choosy(Counter):
        async def should_recover(self, topic: str, params: dict[str, Any]) -> bool:
            return not params.get("anew")

    async with connected(Choosy, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
    async with connected(Choosy, manager) as client:
        assert recovery_of(await client.join(token=token, anew=True))["outcome"] == "new"
    async with connected(Choosy, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "recovered"


async def test_a_mount_that_fails_is_a_join_that_crashed(manager: RecoveryManager) -> None:
    class Crashing(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            if params.get("crash"):
                raise RuntimeError("a mount that fails")
            return await super().mount(topic, params)

    async with connected(Crashing, manager) as client:
        reply = await client.join(crash=True)
        assert reply == {"status": "error", "response": {"reason": "join crashed"}}
        assert recovery_of(await client.join())["outcome"] == "new"


async def test_a_first_state_that_cannot_be_kept_fails_no_join(manager: RecoveryManager) -> None:
    class Odd(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            self.count, self.items = 0, [object()]
            return {}

    async with connected(Odd, manager) as client:
        reply = recovery_of(await client.join())
        assert (reply["outcome"], reply["token"]) == ("new", None)
        assert (await client.push("break"))["status"] == "error"
        await client.cast("put", {"items": []})
        assert len(await told_token(client)) == 64
        assert (await client.reply())["status"] == "ok"


async def test_a_hook_that_decides_on_recovery_and_raises_fails_no_join(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Undecided(Counter):
        async def should_recover(self, topic: str, params: dict[str, Any]) -> bool:
            return bool(params["recover"])

    async with connected(Undecided, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
    async with connected(Undecided, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("failed", None)
        assert (await client.push("quiet"))["status"] == "ok"
    assert "A state couldn't be restored." in caplog.text
    async with connected(Undecided, manager) as client:
        reply = recovery_of(await client.join(token=token, recover=1))
        assert reply["outcome"] == "recovered"


async def test_a_hook_that_refuses_to_decide_on_recovery_refuses_the_join(
    manager: RecoveryManager,
) -> None:
    class Strict(Counter):
        async def should_recover(self, topic: str, params: dict[str, Any]) -> bool:
            raise JoinRefused("not with a token")

    async with connected(Strict, manager) as client:
        token = recovery_of(await client.join())["token"]
    async with connected(Strict, manager) as client:
        refused = await client.join(token=token)
        assert refused == {"status": "error", "response": {"reason": "not with a token"}}


async def test_a_hook_that_cannot_tell_the_state_fails_no_join(manager: RecoveryManager) -> None:
    class Wordless(Counter):
        wordless = False

        async def get_recoverable_state(self) -> dict[str, Any]:
            if self.wordless:
                raise RuntimeError("a state that nothing can tell")
            return await super().get_recoverable_state()

    async with connected(Wordless, manager) as client:
        token = recovery_of(await client.join(start=1))["token"]
    Wordless.wordless = True
    async with connected(Wordless, manager) as client:
        reply = recovery_of(await client.join())
        assert (reply["outcome"], reply["token"]) == ("new", None)
    async with connected(Wordless, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("failed", None)
        Wordless.wordless = False
        await client.cast("add")
        assert len(await told_token(client)) == 64
        assert (await client.reply())["response"]["count"] == 1
    async with connected(Wordless, manager) as client:
        assert (await client.join(token=token))["response"]["count"] == 1


async def test_a_failed_restore_names_its_socket(manager: RecoveryManager) -> None:
    class Fragile(Counter):
        async def restore_state(self, state: dict[str, Any]) -> None:
            raise KeyError("a field that is gone")

    heard: list[Any] = []

    def hear(socket_id: Any, **_kwargs: Any) -> None:
        heard.append(socket_id)

    async with connected(Fragile, manager) as client:
        token = recovery_of(await client.join())["token"]
    (item,) = manager.snapshots().items
    recovery_failed.connect(hear)
    try:
        async with connected(Fragile, manager) as client:
            assert recovery_of(await client.join(token=token))["outcome"] == "failed"
    finally:
        recovery_failed.disconnect(hear)
    assert heard == [item.socket_id]


async def test_extras_that_cannot_be_sent_fail_no_join(manager: RecoveryManager) -> None:
    class Odd(Counter):
        async def after_recover(self, takeover: Any) -> dict[str, Any]:
            return {"odd": object()}

    async with connected(Odd, manager) as client:
        token = recovery_of(await client.join())["token"]
    async with connected(Odd, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "failed"


class Broken(Counter):
    """A consumer with a bug in the hook called ``broken``."""

    broken = ""

    async def migrate_state(self, state: dict[str, Any], version: int) -> dict[str, Any]:
        self.fail_in("migrate_state")
        return state

    async def restore_state(self, state: dict[str, Any]) -> None:
        self.fail_in("restore_state")
        self._write_recovery_fields(state)

    async def after_recover(self, takeover: Any) -> dict[str, Any]:
        self.fail_in("after_recover")
        return {"count": self.count}

    def fail_in(self, hook: str) -> None:
        if hook == self.broken:
            raise RuntimeError("a bug")


HOOKS = ("migrate_state", "restore_state", "after_recover")


@pytest.mark.parametrize("hook", HOOKS)
async def test_with_a_bug_in_a_hook_the_page_works_on_a_fresh_mount(
    manager: RecoveryManager, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(Broken, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    (item,) = manager.snapshots().items
    stored = manager.inspect(item.socket_hash)
    monkeypatch.setattr(Broken, "recovery_version", 1)
    monkeypatch.setattr(Broken, "broken", hook)
    async with connected(Broken, manager) as client:
        reply = recovery_of(await client.join(token=token))
        assert (reply["outcome"], reply["token"], reply["seq"]) == ("failed", None, 0)
        await client.cast("add", {"_seq": 1, "_ack": 0})
        own = await told_token(client)
        answer = (await client.reply())["response"]
        assert (answer["count"], answer["_recovery"]["seq"]) == (1, 1)
    found = manager.inspect(item.socket_hash)
    assert stored is not None
    assert found is not None
    assert found.state == stored.state
    monkeypatch.setattr(Broken, "broken", "")
    for shown, count in ((token, 5), (own, 1)):
        async with connected(Broken, manager) as client:
            reply = await client.join(token=shown)
            assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == (
                "recovered",
                count,
            )


async def test_a_field_that_is_new_and_has_no_default_is_no_dead_end(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]

    async def after_recover(self: Any, takeover: Any) -> dict[str, Any]:
        return {"currency": self.currency}

    async def mount(self: Any, topic: str, params: dict[str, Any]) -> dict[str, Any]:
        self.count, self.items, self.currency = 0, [], "EUR"
        return {}

    monkeypatch.setattr(Counter, "recovery_fields", ("count", "items", "currency"))
    monkeypatch.setattr(Counter, "after_recover", after_recover)
    monkeypatch.setattr(Counter, "mount", mount)
    async with connected(Counter, manager) as client:
        assert recovery_of(await client.join(token=token))["outcome"] == "failed"
        await client.cast("add")
        assert len(await told_token(client)) == 64
        assert (await client.reply())["response"]["count"] == 1


async def test_a_state_that_waits_for_a_fix_is_kept_alive_by_an_open_page(
    make_manager: Any,
) -> None:
    storage, clock = FlakyStorage(), FakeClock()
    storage.clock = clock
    manager = make_manager(ttl=0.4, storage=storage, clock=clock)
    async with connected(Broken, manager) as client:
        token = recovery_of(await client.join(start=5))["token"]
    Broken.broken = "after_recover"
    try:
        async with connected(Broken, manager) as client:
            assert recovery_of(await client.join(token=token))["outcome"] == "failed"
            for _ in range(4):
                clock.advance(seconds=0.3)
                await storage.next_call()
            assert manager.count() == 1
    finally:
        Broken.broken = ""
