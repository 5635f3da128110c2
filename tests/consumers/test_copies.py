"""A page that comes back with older memory gets a copy; the newer connection isn't disturbed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app._live import started
from recovery_app.signals import recovery_failed, state_recovered
from tests.clock import FakeClock
from tests.consumers.apps import COUNTERS, Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.test_outages import ReadOnlyStorage
from tests.consumers.test_takeovers import told_token
from tests.consumers.wire import Client, connected, recovery_of, rejoin


async def overtake(manager: RecoveryManager, newer: Client, counter: Any = Counter) -> str:
    """Have ``newer`` continue a page's state; return the page's own token, which is older."""
    async with connected(counter, manager) as page:
        token: str = recovery_of(await page.join(start=1))["token"]
        await page.push("add", {"_seq": 1, "_ack": 0, "_line": "page"})
    assert recovery_of(await newer.join(token=token))["outcome"] == "recovered"
    await newer.push("break", {"_seq": 2, "_ack": 1, "_line": "newer"})
    return token


@pytest.mark.parametrize("counter", COUNTERS)
async def test_an_older_token_gets_a_copy_under_a_socket_of_its_own(
    manager: RecoveryManager, counter: Any
) -> None:
    async with connected(counter, manager) as newer, connected(counter, manager) as old:
        token = await overtake(manager, newer, counter)
        (before,) = manager.snapshots().items
        reply = await old.join(token=token, _line="old")
        told = recovery_of(reply)
        assert (told["outcome"], told["seq"], reply["response"]["count"]) == ("copied", 0, 2)
        assert told["original"] == {
            "seq": 2,
            "lines": [["page", 1], ["newer", 2]],
            "errors": [2],
        }
        assert {each.socket_id for each in manager.snapshots().items} > {before.socket_id}
        assert manager.count() == 2
        # Each goes on by itself, and nobody is pushed a token.
        assert (await old.push("add", {"_seq": 1, "_ack": 0}))["response"]["count"] == 3
        assert (await newer.push("add", {"by": 10}))["response"]["count"] == 12
        assert await newer.hears_nothing()
    async with connected(counter, manager) as again:
        reply = await again.join(token=told["token"])
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 3)


async def test_a_copy_is_announced_as_a_recovery(manager: RecoveryManager) -> None:
    heard: list[Any] = []

    def hear(**facts: Any) -> None:
        heard.append((facts.get("state"), facts["socket_id"]))

    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        (before,) = manager.snapshots().items
        state_recovered.connect(hear)
        recovery_failed.connect(hear)
        try:
            await old.join(token=token)
        finally:
            state_recovered.disconnect(hear)
            recovery_failed.disconnect(hear)
    ((state, socket_id),) = heard
    assert state == {"count": 2, "items": []}
    assert socket_id != before.socket_id


async def test_a_copy_whose_reply_is_lost_can_be_had_again(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as newer:
        token = await overtake(manager, newer)
        for _ in range(3):
            async with connected(Counter, manager) as old:
                reply = await old.join(token=token)
                assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("copied", 2)


async def test_a_revoked_state_is_not_copied(manager: RecoveryManager) -> None:
    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        (item,) = manager.snapshots().items
        manager.revoke_socket(item.socket_hash)
        reply = recovery_of(await old.join(token=token))
        assert reply["outcome"] in ("not_found", "superseded")
        assert "original" not in reply


class RevokedMeanwhile(FlakyStorage):
    """A storage in which the snapshot is revoked before it can be read for a copy."""

    manager: RecoveryManager

    async def aload(self, key: str) -> bytes | None:
        self.manager.revoke_socket(key)
        return await super().aload(key)


async def test_a_state_that_is_revoked_meanwhile_is_not_copied(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = RevokedMeanwhile()
    manager = storage.manager = make_manager(storage=storage)
    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        assert recovery_of(await old.join(token=token))["outcome"] == "rejected"


async def test_a_newer_version_is_not_copied(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        monkeypatch.setattr(Counter, "recovery_version", 1)
        token = await overtake(manager, newer)
        monkeypatch.setattr(Counter, "recovery_version", 0)
        reply = recovery_of(await old.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("version", None)


async def test_a_hook_that_raises_over_a_copy_leaves_the_page_its_token(
    manager: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def after_recover(self: Any, takeover: Any) -> None:
        raise RuntimeError("a bug")

    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        monkeypatch.setattr(Counter, "after_recover", after_recover)
        reply = recovery_of(await old.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("failed", None)
        assert manager.count() == 1
        await old.cast("add")
        assert len(await told_token(old)) == 64
        assert (await old.reply())["response"]["count"] == 1


async def test_a_copy_that_cannot_be_stored_costs_no_token(
    make_manager: Callable[..., RecoveryManager],
) -> None:
    storage = ReadOnlyStorage()
    manager = make_manager(storage=storage)
    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        storage.is_read_only = True
        reply = recovery_of(await old.join(token=token))
        assert (reply["outcome"], reply["token"]) == ("unavailable", None)
        storage.is_read_only = False
        assert recovery_of(await rejoin(old, token))["outcome"] == "copied"


async def test_copies_count_as_snapshots_that_a_connection_has_started(
    make_manager: Callable[..., RecoveryManager],
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(started, "KEPT_AT_LEAST", 3)
    monkeypatch.setattr(Counter, "recovery_max_topics", 1)
    storage = FlakyStorage()
    storage.clock = clock
    manager = make_manager(storage=storage, clock=clock, join_rate=None)
    async with connected(Counter, manager) as newer, connected(Counter, manager) as old:
        token = await overtake(manager, newer)
        for _ in range(10):
            assert recovery_of(await rejoin(old, token))["outcome"] == "copied"
        clock.advance(seconds=started.LAST_SECONDS + 1)
        assert manager.count() <= 1 + 3
